use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_core::{Chat, Limits, Range, RoomName, Text, UpgradeMode, User};
use chat_sqlite::{Options, SqliteStore};
use chat_tests::{Adapter, Client, Server};
use serde_json::Value;
use tempfile::TempDir;

/// An adapter that owns its sockets, and one whose framework does.
const SOCKET_OWNERS: [Adapter; 2] = [Adapter::Tungstenite, Adapter::Actix(UpgradeMode::Framework)];

/// The number of messages. With [`LENGTH`] characters each they exceed the socket buffers by far.
const MESSAGES: u64 = 2_000;

const LENGTH: usize = 4_000;

/// The number of messages that retention leaves.
const RETAINED: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_receives_all_messages_in_order_from_disk() -> Result<()> {
    for adapter in SOCKET_OWNERS {
        let home = TempDir::new()?;
        let chat = chat(&home, Options::default())?;
        let server = Server::start(adapter, &chat).await?;
        let mut reader = Client::member(server.address(), "reader").await?;
        post_all(&chat).await?;
        for seq in 1..=MESSAGES {
            ensure!(next_event(&mut reader).await?["seq"] == seq, "{adapter:?}: not {seq}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_overtaken_by_retention_gets_exact_gaps() -> Result<()> {
    for adapter in SOCKET_OWNERS {
        let home = TempDir::new()?;
        let sweep_interval = Duration::from_millis(10);
        let chat = chat(
            &home,
            Options::default().with(|options| {
                options.retain_messages = Some(RETAINED);
                options.sweep_interval = sweep_interval;
            }),
        )?;
        let server = Server::start(adapter, &chat).await?;
        let mut reader = Client::member(server.address(), "reader").await?;
        post_all(&chat).await?;
        let oldest = MESSAGES - RETAINED + 1;
        while first(&chat).await? != oldest {
            tokio::time::sleep(sweep_interval).await;
        }
        let (mut seq, mut gaps) = (0, Vec::new());
        while seq < MESSAGES {
            let event = next_event(&mut reader).await?;
            if event["type"] == "gap" {
                ensure!(event["from"] == seq + 1, "{adapter:?}: {event} after {seq}");
                seq = event["to"].as_u64().context("no end")?;
                gaps.push(seq);
            } else {
                ensure!(event["seq"] == seq + 1, "{adapter:?}: {event} after {seq}");
                seq += 1;
            }
        }
        // The reader may have received some of the removed messages: its socket buffer held them.
        ensure!(gaps.last() == Some(&(oldest - 1)), "{adapter:?}: {gaps:?}");
    }
    Ok(())
}

fn chat(home: &TempDir, options: Options) -> Result<Chat> {
    let store = SqliteStore::open(home.path().join("store"), options)?;
    let no_limit = Duration::from_secs(600);
    let limits = Limits::default().with(|limits| {
        // The tail must be shorter than the retained log: this test is not about the tail.
        limits.rooms.tail_events = 16;
        limits.rooms.call_timeout = no_limit;
        limits.connection.write_timeout = no_limit;
        limits.connection.ping_interval = no_limit;
    });
    Ok(chat_with_store(store, limits))
}

/// Returns a chat whose rooms are in a store.
pub(crate) fn chat_with_store(store: SqliteStore, limits: Limits) -> Chat {
    Chat::builder().limits(limits).store(store).build()
}

/// Posts all messages, in batches, while the reader reads nothing.
async fn post_all(chat: &Chat) -> Result<()> {
    let lobby: RoomName = "lobby".parse()?;
    let text = Text::new("x".repeat(LENGTH));
    let host = User::new("service:host", "Host")?;
    for _ in 0..MESSAGES / 100 {
        let posts = (0..100).map(|_| chat.post(&lobby, &host, &text));
        futures_util::future::try_join_all(posts).await?;
    }
    Ok(())
}

/// Returns the oldest message of the log.
async fn first(chat: &Chat) -> Result<u64> {
    let page = chat.history(&"lobby".parse()?, Range::After { seq: 0, limit: 1 }).await?;
    Ok(page.messages.first().context("an empty log")?.seq)
}

/// Returns the next message or gap.
async fn next_event(reader: &mut Client) -> Result<Value> {
    loop {
        let event = reader.event().await?;
        if event["type"] != "presence" {
            return Ok(event);
        }
    }
}
