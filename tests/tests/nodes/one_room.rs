//! Users on different nodes and adapters, in one room of one chat, receive the same messages.

use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, ensure};
use chat_core::{Chat, Limits, RateLimits};
use chat_tests::{ADAPTERS, ChatNodes, Server, eventually, history, plan, run_plan, runner, seeds};
use proptest::strategy::{Strategy, ValueTree};

/// The default number of plans.
const PLANS: u64 = 2;

const NODES: usize = 3;

/// The number of messages that the room retains. Some readers miss more than that.
const RETAINED: usize = 200;

/// A time limit that no plan reaches.
const HOUR: Duration = Duration::from_secs(60 * 60);

pub(crate) async fn participants_on_all_nodes_see_one_history(nats: &str) -> Result<()> {
    for seed in seeds("CHAT_PLANS", PLANS)? {
        one_history(seed, nats).await.with_context(|| {
            format!("run CHAT_SEED={seed} cargo test -p chat-tests --test nodes one_room")
        })?;
    }
    Ok(())
}

async fn one_history(seed: u64, nats: &str) -> Result<()> {
    let limits = Limits::default().with(|limits| {
        limits.rooms.log_messages = RETAINED;
        limits.wire.default_page_messages = RETAINED;
        limits.wire.max_page_messages = 400;
        limits.rooms.tail_events = 32;
        limits.wire.max_batch_bytes = 8 * 1024;
        limits.connection.ping_interval = HOUR;
        limits.connection.write_timeout = HOUR;
        limits.rates = RateLimits::unlimited();
    });
    let shared = ChatNodes::open(nats, NODES, &limits).await?;
    let builders = shared.builders(|bus| bus)?.into_iter();
    let chats: Vec<Chat> = builders.map(|builder| builder.limits(limits.clone()).build()).collect();
    shared.know_each_other().await?;
    let mut servers = Vec::new();
    for (adapter, chat) in ADAPTERS.into_iter().zip(chats.iter().cycle()) {
        servers.push(Server::start(adapter, chat).await?);
    }
    let addresses: Vec<_> = servers.iter().map(Server::address).collect();
    let plan = plan(servers.len()).new_tree(&mut runner(seed)).map_err(Error::msg)?.current();
    let histories = run_plan(plan, &addresses).await?;
    let head = history::check(&histories, RETAINED as u64).map_err(|violation| anyhow!("{violation:?}"))?;
    ensure!(head > 100, "only {head} messages");
    let is_empty = |chat: &Chat| chat.counts().connections == 0 && chat.counts().sessions == 0;
    eventually(|| async { Ok(chats.iter().all(is_empty)) }).await?;
    shared.close().await
}
