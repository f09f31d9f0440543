//! Users on different adapters, in one room of one chat, see one order.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use chat_core::{Chat, Counts, Limits, RoomName, Text, User};
use chat_tests::{ADAPTERS, Client, Server, within};
use serde_json::{Value, json};

const MESSAGES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn users_on_all_adapters_see_one_order() -> Result<()> {
    // Who joins last still wants the first message.
    let limits = Limits { log_messages: ADAPTERS.len() * MESSAGES, ..Limits::default() };
    let chat: Chat = Chat::builder().limits(limits).build();
    let servers = start_all(&chat).await?;
    let mut users = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        users.push(tokio::spawn(talk(server.address(), number)));
    }
    let mut seen = Vec::new();
    for user in users {
        seen.push(within(user).await???);
    }
    let first = &seen[0];
    ensure!(first.len() == servers.len() * MESSAGES, "{} messages", first.len());
    ensure!(first.iter().enumerate().all(|(index, message)| message["seq"] == index + 1), "a hole");
    for other in &seen {
        ensure!(other == first, "users of two adapters saw different things");
    }
    for sender in 0..servers.len() {
        let own: Vec<_> =
            first.iter().filter(|message| message["user"]["id"] == format!("user-{sender}")).collect();
        let in_order = own.iter().enumerate().all(|(n, message)| number(message) == Some(n as u64));
        ensure!(own.len() == MESSAGES && in_order, "messages of user-{sender} lost or out of order");
    }
    gone(&chat).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_host_posts_reaches_users_on_all_adapters() -> Result<()> {
    let chat = Chat::default();
    let servers = start_all(&chat).await?;
    let mut users = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        let mut user = Client::connect(server.address(), &format!("user-{number}")).await?;
        user.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
        users.push(user);
    }
    let lobby: RoomName = "lobby".parse()?;
    let posted = chat.post(&lobby, &User::new("bot", "Bot")?, &Text::new("It is noon."), None).await?;
    for user in &mut users {
        let message = user.until("message").await?;
        ensure!(message["seq"] == posted.seq && message["user"]["name"] == "Bot", "{message}");
    }
    let members = chat.members(&lobby);
    ensure!(members.len() == servers.len(), "{members:?}");
    for user in users {
        user.vanish();
    }
    gone(&chat).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_comes_back_on_another_adapter_misses_nothing() -> Result<()> {
    let chat = Chat::default();
    let servers = start_all(&chat).await?;
    let mut writer = Client::connect(servers[0].address(), "writer").await?;
    writer.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    let (mut sent, mut seen, mut epoch) = (0_u64, 0_u64, Value::Null);
    for server in servers.iter().cycle().take(servers.len() * 3) {
        let mut reader = Client::connect(server.address(), "reader").await?;
        let mut join = json!({"type": "join", "room": "lobby"});
        if seen > 0 {
            join["after"] = json!({"epoch": epoch, "seq": seen});
        }
        let joined = reader.ask(join, "j").await?;
        ensure!(joined["recovered"] == true, "{joined}");
        epoch = joined["epoch"].clone();
        // One message that the reader is there for, and one below that it is not.
        sent += 1;
        write(&mut writer, sent).await?;
        while seen < sent {
            let message = reader.until("message").await?;
            seen += 1;
            ensure!(message["seq"] == seen && number(&message) == Some(seen), "{message}");
        }
        reader.vanish();
        sent += 1;
        write(&mut writer, sent).await?;
    }
    Ok(())
}

async fn write(writer: &mut Client, number: u64) -> Result<()> {
    let text = number.to_string();
    let sent = writer.ask(json!({"type": "send", "room": "lobby", "body": {"text": text}}), "s").await?;
    ensure!(sent["seq"] == number, "{sent}");
    Ok(())
}

/// The number that a message's text is.
fn number(message: &Value) -> Option<u64> {
    message["body"]["text"].as_str()?.parse().ok()
}

async fn start_all(chat: &Chat) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for adapter in ADAPTERS {
        servers.push(Server::start(adapter, chat).await?);
    }
    Ok(servers)
}

/// Joins, sends while others do, and returns the messages seen, in the order they came.
async fn talk(address: SocketAddr, number: usize) -> Result<Vec<Value>> {
    let mut client = Client::connect(address, &format!("user-{number}")).await?;
    client.ask(json!({"type": "join", "room": "lobby", "last": 1_000_000}), "join").await?;
    for n in 0..MESSAGES {
        client.send(json!({"type": "send", "room": "lobby", "body": {"text": n.to_string()}})).await?;
    }
    let mut seen = Vec::new();
    while seen.len() < ADAPTERS.len() * MESSAGES {
        let mut event = client.next().await?;
        ensure!(event["type"] != "gap", "{event}");
        if event["type"] == "message" {
            event["at"].take();
            seen.push(event);
        }
    }
    client.close(1000).await?;
    Ok(seen)
}

/// Waits until every connection is gone, and with it every session.
async fn gone(chat: &Chat) -> Result<()> {
    within(async {
        while !matches!(chat.counts(), Counts { connections: 0, sessions: 0, .. }) {
            tokio::task::yield_now().await;
        }
    })
    .await
}
