use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_core::{Chat, Limits, Mechanism, Range, RoomName, Text, User};
use chat_sqlite::{Options, SqliteStore};
use chat_tests::{Adapter, Client, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

/// One with a socket of its own, one in the hands of its framework.
const SLOW: [Adapter; 2] = [Adapter::Tungstenite, Adapter::Actix(Mechanism::Context)];

/// Far more, of [`LONG`] characters each, than sockets hold.
const MESSAGES: u64 = 2_000;

const LONG: usize = 4_000;

/// What retention leaves.
const KEPT: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_served_from_the_disk_in_order() -> Result<()> {
    for adapter in SLOW {
        let home = TempDir::new()?;
        let chat = chat(&home, Options::default())?;
        let server = Server::start(adapter, &chat).await?;
        let mut reader = reader(server.address()).await?;
        write(&chat).await?;
        for seq in 1..=MESSAGES {
            ensure!(next(&mut reader).await?["seq"] == seq, "{adapter:?}: not {seq}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_that_retention_overtakes_is_told_of_exactly_what_it_misses() -> Result<()> {
    for adapter in SLOW {
        let home = TempDir::new()?;
        let sweep_interval = Duration::from_millis(10);
        let options = Options::default().with(|options| {
            options.retain_messages = Some(KEPT);
            options.sweep_interval = sweep_interval;
        });
        let chat = chat(&home, options)?;
        let server = Server::start(adapter, &chat).await?;
        let mut reader = reader(server.address()).await?;
        write(&chat).await?;
        let oldest = MESSAGES - KEPT + 1;
        while first(&chat).await? != oldest {
            tokio::time::sleep(sweep_interval).await;
        }
        let (mut seq, mut gaps) = (0, Vec::new());
        while seq < MESSAGES {
            let event = next(&mut reader).await?;
            if event["type"] == "gap" {
                ensure!(event["from"] == seq + 1, "{adapter:?}: {event} after {seq}");
                seq = event["to"].as_u64().context("no end")?;
                gaps.push(seq);
            } else {
                ensure!(event["seq"] == seq + 1, "{adapter:?}: {event} after {seq}");
                seq += 1;
            }
        }
        // While it took what was on its way to it, some may have been read before they went.
        ensure!(gaps.last() == Some(&(oldest - 1)), "{adapter:?}: {gaps:?}");
    }
    Ok(())
}

fn chat(home: &TempDir, options: Options) -> Result<Chat> {
    let store = SqliteStore::open(home.path().join("store"), options)?;
    let patience = Duration::from_secs(600);
    let limits = Limits::default().with(|limits| {
        // Shorter than what retention leaves: this test is not about the tail.
        limits.rooms.tail_events = 16;
        limits.rooms.call_timeout = patience;
        limits.connection.write_timeout = patience;
        limits.connection.ping_interval = patience;
    });
    let open = move |name, limits: Arc<Limits>, outlet| store.room(name, limits, outlet);
    Ok(Chat::builder().limits(limits).rooms(open).build())
}

async fn reader(address: SocketAddr) -> Result<Client> {
    let mut reader = Client::connect(address, "reader").await?;
    reader.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    Ok(reader)
}

/// Writes all while the reader reads nothing, many at a time.
async fn write(chat: &Chat) -> Result<()> {
    let lobby: RoomName = "lobby".parse()?;
    let text = Text::new("x".repeat(LONG));
    let clerk = User::new("service:clerk", "Clerk")?;
    for _ in 0..MESSAGES / 100 {
        let posts = (0..100).map(|_| chat.post(&lobby, &clerk, &text, None));
        futures_util::future::try_join_all(posts).await?;
    }
    Ok(())
}

/// The oldest message that the log still has.
async fn first(chat: &Chat) -> Result<u64> {
    let page = chat.history(&"lobby".parse()?, Range::After { seq: 0, limit: 1 }).await?;
    Ok(page.messages.first().context("nothing is left")?.seq)
}

/// The next event that is a message or stands for some.
async fn next(reader: &mut Client) -> Result<Value> {
    loop {
        let event = reader.next().await?;
        if event["type"] != "presence" {
            return Ok(event);
        }
    }
}
