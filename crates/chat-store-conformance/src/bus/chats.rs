//! Chats that use the bus.

use std::time::Duration;

use chat_core::{NodeId, NodeLimits, Notice, UserKey};
use serde_json::{Value, json};

use super::{Case, Heard, Stage};
use crate::cases::{eventually, same};
use crate::{Failure, Peer, TIME_LIMIT, TestChat, Verdict};

/// A grace that does not end within a case.
const LONG: Duration = Duration::from_secs(600);

/// No grace.
const NONE: Duration = Duration::ZERO;

chat_suite::cases!(
    /// The users of other nodes are members of a room from the first join on.
    #[source = "chat_core::Bus, Loss"]
    async fn a_room_that_opens_has_the_users_of_other_nodes(stage: Stage) -> Verdict {
        let (a, b) = both(&stage, LONG).await?;
        let (_ann, _) = a.join("ann", "lobby", &json!({})).await?;
        let (_bob, joined) = b.join("bob", "lobby", &json!({})).await?;
        same(&joined["members"], &json!(2))
    }

    /// A user is present from the first connection on any node to the last one.
    #[source = "chat_core::Bus, Order"]
    async fn presence_counts_the_connections_on_all_nodes(stage: Stage) -> Verdict {
        let (a, b) = both(&stage, NONE).await?;
        let (_open, mut watcher) = (a.subscribe("lobby").await?, b.subscribe("lobby").await?);
        for _ in 0..20 {
            let (on_a, _) = a.join("ann", "lobby", &json!({})).await?;
            same(&presence(watcher.next().await?)?, &("ann".to_owned(), "joined".to_owned()))?;
            let (on_b, _) = b.join("ann", "lobby", &json!({})).await?;
            drop(on_a);
            members_are(&a, &["ann"]).await?;
            drop(on_b);
            same(&presence(watcher.next().await?)?, &("ann".to_owned(), "left".to_owned()))?;
            members_are(&a, &[]).await?;
        }
        Ok(())
    }

    /// A user who moves to another node within the grace neither leaves nor joins.
    #[source = "chat_core::Bus, Order"]
    async fn a_user_who_moves_between_nodes_stays(stage: Stage) -> Verdict {
        let (a, b) = both(&stage, LONG).await?;
        let mut watcher = b.subscribe("lobby").await?;
        let (ann, _) = a.join("ann", "lobby", &json!({})).await?;
        same(&presence(watcher.next().await?)?.1, &"joined".to_owned())?;
        drop(ann);
        let (_ann, _) = b.join("ann", "lobby", &json!({})).await?;
        let (_bob, _) = a.join("bob", "lobby", &json!({})).await?;
        same(&presence(watcher.next().await?)?, &("bob".to_owned(), "joined".to_owned()))
    }

    /// A kick closes the connections of a user on all nodes, and no other.
    #[source = "chat_core::Bus, Loss"]
    async fn a_kick_reaches_all_nodes(stage: Stage) -> Verdict {
        let (a, b) = both(&stage, LONG).await?;
        let c = stage.chat("c", limits(LONG)).await;
        know_each_other(&[&a, &b, &c]).await?;
        let (mut on_b, _) = b.join("ann", "lobby", &json!({})).await?;
        let (mut on_c, _) = c.join("ann", "lobby", &json!({})).await?;
        let (mut bob, _) = c.join("bob", "lobby", &json!({})).await?;
        same(&a.kick("ann"), &0)?;
        for peer in [&mut on_b, &mut on_c] {
            same(&peer.closed().await?, &4503)?;
        }
        bob.send(&json!({"type": "ping"}))?;
        bob.event("pong").await.map(drop)
    }

    /// A repeated kick closes nothing: the user may have connected again. A later kick does.
    #[source = "chat_core::Bus, Order"]
    async fn a_repeated_kick_closes_nothing(stage: Stage) -> Verdict {
        let (node, chat) = (stage.node("a").await, stage.chat("b", limits(LONG)).await);
        node.hears(&Heard::Joined("b".parse().map_err(|error| Failure::new("a name", error))?)).await?;
        let kick = |name, version| {
            let user = UserKey::guest(name).map_err(|error| Failure::new("a name", error))?;
            node.publish(&Notice::Kick { user, version });
            Ok::<_, Failure>(())
        };
        let mut ann = chat.connect("ann")?;
        kick("ann", 3)?;
        same(&ann.closed().await?, &4503)?;
        let mut ann = chat.connect("ann")?;
        // The notices may change places, so each kick of bob follows a repeated one of ann.
        for version in [2, 4] {
            let mut bob = chat.connect("bob")?;
            kick("ann", 3)?;
            kick("bob", version)?;
            same(&bob.closed().await?, &4503)?;
        }
        ann.send(&json!({"type": "ping"}))?;
        ann.event("pong").await?;
        kick("ann", 5)?;
        same(&ann.closed().await?, &4503)
    }

    /// A marker that has moved reaches the connections of the user on other nodes.
    #[source = "chat_core::Bus, Loss"]
    async fn a_read_reaches_the_user_on_all_nodes(stage: Stage) -> Verdict {
        let (a, b) = both(&stage, LONG).await?;
        let mut on_b = follower(&b, "ann").await?;
        a.post("lobby", "hi").await?;
        let (on_a, _) = a.join("ann", "lobby", &json!({})).await?;
        on_a.send(&json!({"type": "read", "room": "lobby", "seq": 1}))?;
        let read = on_b.event("read").await?;
        same(&(&read["seq"], &read["user"]["name"]), &(&json!(1), &json!("ann")))
    }

    /// A user who follows a room gets its activity, although the entry was stored on another node.
    #[source = "chat_core::Bus, Loss"]
    async fn a_follower_on_another_node_gets_activity(stage: Stage) -> Verdict {
        let (a, b) = both(&stage, LONG).await?;
        let mut on_b = follower(&b, "ann").await?;
        a.post("lobby", "hi").await?;
        same(&on_b.event("activity").await?["room"], &json!("lobby"))
    }

    /// The users of a node that is lost leave, and are there again when it comes back.
    #[source = "chat_core::Bus, Nodes"]
    async fn the_users_of_a_lost_node_leave_and_return(stage: Stage) -> Verdict {
        let (a, b) = both(&stage, NONE).await?;
        let mut watcher = b.subscribe("lobby").await?;
        let (_ann, _) = a.join("ann", "lobby", &json!({})).await?;
        same(&presence(watcher.next().await?)?.1, &"joined".to_owned())?;
        stage.lose("a").await;
        same(&presence(watcher.next().await?)?, &("ann".to_owned(), "left".to_owned()))?;
        stage.restore("a").await;
        same(&presence(watcher.next().await?)?, &("ann".to_owned(), "joined".to_owned()))
    }

    /// After a loss all nodes see the users who are there, with those who came and went meanwhile.
    #[source = "chat_core::Bus, Nodes"]
    async fn nodes_agree_after_a_loss(stage: Stage) -> Verdict {
        let (a, b) = both(&stage, NONE).await?;
        let (_ann, _) = a.join("ann", "lobby", &json!({})).await?;
        let (bob, _) = a.join("bob", "lobby", &json!({})).await?;
        let (_eve, _) = b.join("eve", "lobby", &json!({})).await?;
        members_are(&b, &["ann", "bob", "eve"]).await?;
        stage.lose("a").await;
        members_are(&b, &["eve"]).await?;
        drop(bob);
        let (_cid, _) = a.join("cid", "lobby", &json!({})).await?;
        let (_dan, _) = b.join("dan", "lobby", &json!({})).await?;
        stage.restore("a").await;
        for chat in [&a, &b] {
            members_are(chat, &["ann", "cid", "dan", "eve"]).await?;
        }
        Ok(())
    }

    /// The node of a chat that drains leaves, although its process goes on.
    #[source = "chat_core::Bus, End"]
    async fn a_chat_that_drains_leaves(stage: Stage) -> Verdict {
        let (node, chat) = (stage.node("a").await, stage.chat("b", limits(LONG)).await);
        let b: NodeId = "b".parse().map_err(|error| Failure::new("a name", error))?;
        node.hears(&Heard::Joined(b.clone())).await?;
        chat.drain().await;
        node.hears(&Heard::Left(b)).await
    }

    /// A chat that has ended disturbs no other.
    #[source = "chat_core::Bus, Publish"]
    async fn a_chat_that_has_ended_is_harmless(stage: Stage) -> Verdict {
        let a = stage.chat("a", NodeLimits::default()).await;
        let b = stage.chat("b", NodeLimits::default()).await;
        let c = stage.chat("c", NodeLimits::default()).await;
        know_each_other(&[&a, &b, &c]).await?;
        drop(c);
        let (_ann, _) = a.join("ann", "lobby", &json!({})).await?;
        let (_bob, _) = b.join("bob", "lobby", &json!({})).await?;
        for chat in [&a, &b] {
            members_are(chat, &["ann", "bob"]).await?;
        }
        Ok(())
    }
);

/// Returns chats on two nodes that know each other.
async fn both(stage: &Stage, grace: Duration) -> Result<(TestChat, TestChat), Failure> {
    let (a, b) = (stage.chat("a", limits(grace)).await, stage.chat("b", limits(grace)).await);
    know_each_other(&[&a, &b]).await?;
    Ok((a, b))
}

/// Connects a user who follows the lobby, and is not in it.
async fn follower(chat: &TestChat, name: &str) -> Result<Peer, Failure> {
    let mut peer = chat.connect(name)?;
    peer.send(&json!({"type": "follow", "room": "lobby", "on": true}))?;
    peer.event("done").await?;
    Ok(peer)
}

/// Returns limits with this grace. A room waits for the users of other nodes as long as the suite does.
fn limits(grace: Duration) -> NodeLimits {
    let mut limits = NodeLimits::default();
    (limits.leave_grace, limits.roster_timeout) = (grace, TIME_LIMIT);
    limits
}

/// Waits until all chats see the users of all others in one room.
async fn know_each_other(chats: &[&TestChat]) -> Verdict {
    let names = &["p0", "p1", "p2"][..chats.len()];
    let mut peers = Vec::new();
    for (chat, name) in chats.iter().zip(names) {
        peers.push(chat.join(name, "probe", &json!({})).await?);
    }
    for chat in chats {
        eventually("nodes that know each other", || async { Ok(chat.members("probe")? == names) }).await?;
    }
    Ok(())
}

async fn members_are(chat: &TestChat, names: &[&str]) -> Verdict {
    let what = format!("the members {names:?}");
    eventually(&what, || async { Ok(chat.members("lobby")? == names) }).await
}

/// Returns the user and the state of a presence event.
fn presence(event: Option<Value>) -> Result<(String, String), Failure> {
    let event = event.unwrap_or_default();
    let (name, state) = (event["user"]["name"].as_str(), event["state"].as_str());
    let both = name.zip(state).map(|(name, state)| (name.to_owned(), state.to_owned()));
    both.ok_or_else(|| Failure::new("a presence event", event))
}
