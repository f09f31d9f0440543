//! Users on different adapters, in one room of one chat, see one history.
//!
//! What a crowd does grows from a seed. A failure prints it; `CHAT_SEED=<seed> cargo test -p chat-tests --test one_room`
//! lets the same crowd do the same again, though not in the same order: that is up to the scheduler. `CHAT_CROWDS=<count>`
//! makes more crowds than are made by default.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_core::{Chat, Counts, Limits, RoomName, Text, User};
use chat_tests::{ADAPTERS, Client, Server, crowd, gather, history, runner, seeds, within};
use proptest::strategy::{Strategy, ValueTree};
use serde_json::json;

/// Crowds that are made by default.
const CROWDS: u64 = 5;

/// Messages that the room keeps: fewer than some of its readers miss.
const KEPT: usize = 200;

/// Longer than any crowd stays.
const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_on_all_adapters_sees_one_history() -> Result<()> {
    for seed in seeds("CHAT_CROWDS", CROWDS)? {
        one_history(seed)
            .await
            .with_context(|| format!("again: CHAT_SEED={seed} cargo test -p chat-tests --test one_room"))?;
    }
    Ok(())
}

async fn one_history(seed: u64) -> Result<()> {
    let limits = Limits::default().with(|limits| {
        limits.rooms.log_messages = KEPT;
        limits.wire.default_page_messages = KEPT;
        limits.wire.max_page_messages = 50;
        limits.rooms.tail_events = 32;
        limits.wire.max_batch_bytes = 8 * 1024;
        limits.connection.ping_interval = HOUR;
        limits.connection.write_timeout = HOUR;
    });
    let chat = Chat::builder().limits(limits).build();
    let servers = start_all(&chat).await?;
    let addresses: Vec<_> = servers.iter().map(Server::address).collect();
    let plan = crowd(servers.len()).new_tree(&mut runner(seed)).map_err(anyhow::Error::msg)?.current();
    let histories = gather(plan, &addresses).await?;
    let head = history::check(&histories, KEPT as u64).map_err(|flaw| anyhow::anyhow!("{flaw:?}"))?;
    ensure!(head > 100, "a crowd that says next to nothing");
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

async fn start_all(chat: &Chat) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for adapter in ADAPTERS {
        servers.push(Server::start(adapter, chat).await?);
    }
    Ok(servers)
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
