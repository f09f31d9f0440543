use serde_json::{Value, json};

use super::{check, concurrently, same};
use crate::{Case, Failure, Frame, Stage, TestChat, Verdict};

chat_suite::cases!(
    /// The subscribers and members of a chat get the messages of eight concurrent writers as 1, 2, 3, each once.
    #[source = "chat_core::Room, Commits"]
    async fn concurrent_messages_reach_members_in_order(stage: Stage, chat: TestChat) -> Verdict {
        let mut subscribers = [chat.subscribe("lobby").await?, chat.subscribe("lobby").await?];
        let (mut member, _) = chat.join("Bo", "lobby", &json!({})).await?;
        post_concurrently(&chat, 8, 25).await?;
        for subscriber in &mut subscribers {
            same(&seqs_of(&subscriber.messages(200).await?), &(1..=200).collect())?;
        }
        same(&seqs_of(&messages(&mut member, 200).await?), &(1..=200).collect())
    }

    /// A member gets the same bytes as a reader of the log.
    #[source = "chat_core::Room, Bodies"]
    async fn members_get_what_the_log_has(stage: Stage, chat: TestChat) -> Verdict {
        let mut subscriber = chat.subscribe("lobby").await?;
        post_concurrently(&chat, 4, 10).await?;
        let mut delivered = Vec::new();
        while delivered.len() < 40 {
            let frame = subscriber.next_frame().await?;
            delivered.push(frame.ok_or_else(|| Failure::new("a log that goes on", "another life"))?);
        }
        same(&delivered, &chat.history("lobby").await?)
    }

    /// A member that joins after a position, during appends, gets each later message once and in order.
    #[source = "chat_core::Room, Pages"]
    async fn a_join_during_appends_gets_each_message_once(stage: Stage, chat: TestChat) -> Verdict {
        // The room stays open, and with it a log that does not outlive its last opening.
        let (_keeper, joined) = chat.join("Bo", "lobby", &json!({})).await?;
        chat.post_all("lobby", 10).await?;
        let writer = chat.clone();
        let writing = tokio::spawn(async move { post_concurrently(&writer, 4, 40).await });
        for name in ["Cy", "Di", "Ed"] {
            let from = json!({"after": {"epoch": joined["epoch"], "seq": 4}});
            let (mut member, joined) = chat.join(name, "lobby", &from).await?;
            check(joined["recovered"] == true, "a position that is recovered", &joined)?;
            same(&seqs_of(&messages(&mut member, 166).await?), &(5..=170).collect())?;
        }
        writing.await.map_err(|panic| Failure::new("writers that do not fail", panic))?
    }

    /// A message that is acknowledged to its sender reaches each member within the limit, one message at a time.
    #[source = "chat_core::Room, Commits"]
    async fn each_acknowledged_message_reaches_a_member(stage: Stage, chat: TestChat) -> Verdict {
        let mut subscriber = chat.subscribe("lobby").await?;
        for number in 1..=20 {
            let seq = chat.post("lobby", "hi").await?;
            same(&seq, &number)?;
            same(&seqs_of(&subscriber.messages(1).await?), &vec![seq])?;
        }
        Ok(())
    }
);

/// Posts `count` messages for each of the writers, concurrently.
pub(super) async fn post_concurrently(chat: &TestChat, writers: usize, count: u64) -> Verdict {
    concurrently(writers, chat.clone(), |chat, _| async move { chat.post_all("lobby", count).await }).await
}

/// Waits until a member has got this number of messages.
async fn messages(member: &mut crate::Peer, count: usize) -> Result<Vec<Value>, Failure> {
    let mut messages = Vec::new();
    while messages.len() < count {
        match member.next().await? {
            Frame::Event(event) if event["type"] == "message" => messages.push(event),
            Frame::Event(event) if event["type"] != "gap" => {}
            frame => return Err(Failure::new(format!("{count} messages"), format!("{frame:?}"))),
        }
    }
    Ok(messages)
}

/// The `seq`s of message events.
pub(super) fn seqs_of(messages: &[Value]) -> Vec<u64> {
    messages.iter().filter_map(|event| event["seq"].as_u64()).collect()
}
