//! Users on different adapters, in one room of one chat, receive the same messages.
//!
//! Each plan is generated from a seed, which a failure prints. `CHAT_SEED=<seed> cargo test -p chat-tests --test
//! one_room` runs the same plan again, possibly in another order of events. `CHAT_PLANS=<count>` sets the number of
//! plans.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_core::{Chat, Counts, Limits, RateLimits, RoomName, Text, User};
use chat_tests::{ADAPTERS, Client, Server, eventually, history, plan, run_plan, runner, seeds};
use proptest::strategy::{Strategy, ValueTree};

/// The default number of plans.
const PLANS: u64 = 5;

/// The number of messages that the room retains. Some readers miss more than that.
const RETAINED: usize = 200;

/// A time limit that no plan reaches.
const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn participants_on_all_adapters_see_one_history() -> Result<()> {
    for seed in seeds("CHAT_PLANS", PLANS)? {
        one_history(seed)
            .await
            .with_context(|| format!("run CHAT_SEED={seed} cargo test -p chat-tests --test one_room"))?;
    }
    Ok(())
}

async fn one_history(seed: u64) -> Result<()> {
    let limits = Limits::default().with(|limits| {
        limits.rooms.log_messages = RETAINED;
        limits.wire.default_page_messages = RETAINED;
        // A join reads at most a page, and the plans ask for up to 400 messages. The bytes of a page are what limits it.
        limits.wire.max_page_messages = 400;
        limits.rooms.tail_events = 32;
        limits.wire.max_batch_bytes = 8 * 1024;
        limits.connection.ping_interval = HOUR;
        limits.connection.write_timeout = HOUR;
        limits.rates = RateLimits::unlimited();
    });
    let chat = Chat::builder().limits(limits).build();
    let servers = start_all(&chat).await?;
    let addresses: Vec<_> = servers.iter().map(Server::address).collect();
    let plan = plan(servers.len()).new_tree(&mut runner(seed)).map_err(anyhow::Error::msg)?.current();
    let histories = run_plan(plan, &addresses).await?;
    let head =
        history::check(&histories, RETAINED as u64).map_err(|violation| anyhow::anyhow!("{violation:?}"))?;
    ensure!(head > 100, "only {head} messages");
    wait_until_empty(&chat).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_posted_by_the_host_reaches_users_on_all_adapters() -> Result<()> {
    let chat = Chat::default();
    let servers = start_all(&chat).await?;
    let mut users = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        users.push(Client::member(server.address(), &format!("user-{number}")).await?);
    }
    let lobby: RoomName = "lobby".parse()?;
    let posted = chat.post(&lobby, &User::new("bot", "Bot")?, &Text::new("It is noon.")).await?;
    for user in &mut users {
        let message = user.until("message").await?;
        ensure!(message["seq"] == posted.seq && message["user"]["name"] == "Bot", "{message}");
    }
    let members = chat.members(&lobby);
    ensure!(members.len() == servers.len(), "{members:?}");
    drop(users);
    wait_until_empty(&chat).await
}

async fn start_all(chat: &Chat) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for adapter in ADAPTERS {
        servers.push(Server::start(adapter, chat).await?);
    }
    Ok(servers)
}

/// Waits until no connection and no session is left.
async fn wait_until_empty(chat: &Chat) -> Result<()> {
    eventually(|| async { Ok(matches!(chat.counts(), Counts { connections: 0, sessions: 0, .. })) }).await
}
