use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_core::{Chat, Limits, RateLimits, RoomName, Text, UpgradeMode, User};
use chat_sqlite::{Options, SqliteStore};
use chat_tests::{Adapter, Client, Server};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::slow_readers::chat_with_store;

/// The number of messages that retention leaves.
const RETAINED: u64 = 40;

const READERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// The host posts this number of messages.
    Post(u64),
    /// A reader joins at its cursor or, for the first time, with the `last` messages.
    Join { reader: usize, last: u64 },
    /// A reader reads a part of the remaining messages, in percent, and disconnects.
    ReadAndLeave { reader: usize, part: u64 },
    /// Retention removes old messages.
    Sweep,
    /// The server restarts.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..25u64).prop_map(Step::Post),
        4 => (0..READERS, 0..60u64).prop_map(|(reader, last)| Step::Join { reader, last }),
        3 => (0..READERS, 0..=100u64).prop_map(|(reader, part)| Step::ReadAndLeave { reader, part }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

/// A server with a store on disk.
struct Running {
    chat: Chat,
    server: Server,
}

impl Running {
    async fn start(dir: &Path) -> Result<Self> {
        let sweep_interval = Duration::from_millis(5);
        let store = SqliteStore::open(
            dir,
            Options::default().with(|options| {
                options.retain_messages = Some(RETAINED);
                options.sweep_interval = sweep_interval;
            }),
        )?;
        // Each wait for a sweep joins often.
        let limits = Limits::default().with(|limits| limits.rates = RateLimits::unlimited());
        let chat = chat_with_store(store, limits);
        let server = Server::start(Adapter::Axum(UpgradeMode::Hijack), &chat).await?;
        Ok(Self { chat, server })
    }

    async fn stop(self) {
        self.chat.drain(Duration::from_secs(10)).await;
        drop(self.server);
    }
}

/// A reader that joins with history, and disconnects and resumes at times.
#[derive(Default)]
struct Reader {
    client: Option<Client>,
    /// The epoch and the last known position.
    cursor: Option<(String, u64)>,
    /// The position before the first message that it asked for.
    since: u64,
    /// The received messages, by position.
    messages: BTreeMap<u64, Value>,
}

impl Reader {
    async fn join(&mut self, address: SocketAddr, last: u64) -> Result<()> {
        if self.client.is_some() {
            return Ok(());
        }
        let mut client = Client::connect(address, "reader").await?;
        let mut command = json!({"type": "join", "room": "lobby"});
        match &self.cursor {
            Some((epoch, seq)) => command["after"] = json!({"epoch": epoch, "seq": seq}),
            None => command["last"] = last.into(),
        }
        let joined = client.ask(command).await?;
        let number = |field: &str| joined[field].as_u64().context("no number");
        let (head, oldest) = (number("seq")?, number("first")? - 1);
        let epoch = joined["epoch"].as_str().context("no epoch")?.to_owned();
        match &mut self.cursor {
            Some((before, seq)) => {
                ensure!(*before == epoch, "another epoch");
                ensure!(joined["recovered"] == (*seq >= oldest), "{joined} after {seq}");
            }
            None => {
                self.since = head.saturating_sub(last).max(oldest);
                self.cursor = Some((epoch, self.since));
            }
        }
        self.client = Some(client);
        Ok(())
    }

    /// Reads up to a position, if it is connected.
    async fn read(&mut self, up_to: u64) -> Result<()> {
        let (Some(client), Some((_, last))) = (&mut self.client, &mut self.cursor) else { return Ok(()) };
        while *last < up_to {
            let event = client.event().await?;
            match event["type"].as_str() {
                Some("message") => {
                    ensure!(event["seq"] == *last + 1, "{event} after {last}");
                    *last += 1;
                    self.messages.insert(*last, event);
                }
                Some("gap") => {
                    ensure!(event["from"] == *last + 1, "{event} after {last}");
                    *last = event["to"].as_u64().context("no end")?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a part of the remaining messages and disconnects.
    async fn read_and_leave(&mut self, head: u64, part: u64) -> Result<()> {
        let last = self.cursor.as_ref().map_or(0, |(_, last)| *last);
        self.read(last + head.saturating_sub(last) * part / 100).await?;
        self.client = None;
        Ok(())
    }
}

async fn run_steps(steps: Vec<Step>) -> Result<()> {
    let home = TempDir::new()?;
    let dir = home.path().join("store");
    let mut running = Running::start(&dir).await?;
    let lobby: RoomName = "lobby".parse()?;
    let host = User::new("service:host", "Host")?;
    let mut readers: [Reader; READERS] = Default::default();
    let mut head = 0;
    for step in steps {
        match step {
            Step::Post(count) => {
                for _ in 0..count {
                    head += 1;
                    let text = Text::new(head.to_string());
                    let posted = running.chat.post(&lobby, &host, &text).await?;
                    ensure!(posted.seq == head, "{} is not {head}", posted.seq);
                }
            }
            Step::Join { reader, last } => readers[reader].join(running.server.address(), last).await?,
            Step::ReadAndLeave { reader, part } => readers[reader].read_and_leave(head, part).await?,
            Step::Sweep => {
                sweep(&running, head).await?;
            }
            Step::Restart => {
                for reader in &mut readers {
                    reader.client = None;
                }
                running.stop().await;
                running = Running::start(&dir).await?;
            }
        }
    }
    let stored = sweep(&running, head).await?;
    for (number, reader) in readers.iter_mut().enumerate() {
        reader.join(running.server.address(), head).await?;
        reader.read(head).await?;
        let oldest = stored.first().and_then(|message| message["seq"].as_u64()).unwrap_or_default();
        let kept: Vec<_> = reader.messages.range(oldest..).map(|(_, message)| message).collect();
        // A reader does not have messages from before its first join.
        let expected: Vec<_> =
            stored.iter().filter(|message| message["seq"].as_u64() > Some(reader.since)).collect();
        ensure!(kept == expected, "reader {number} has {kept:?} instead of {expected:?}");
        for (seq, message) in &reader.messages {
            let text = seq.to_string();
            ensure!(message["body"]["text"] == text.as_str(), "{message}");
        }
    }
    running.stop().await;
    Ok(())
}

/// Waits until retention has removed old messages. Returns the messages that a new client reads.
async fn sweep(running: &Running, head: u64) -> Result<Vec<Value>> {
    let mut client = Client::connect(running.server.address(), "newcomer").await?;
    loop {
        let joined = client.join(None).await?;
        if joined["first"].as_u64() >= Some(head.saturating_sub(RETAINED) + 1) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let page = client.ask(json!({"type": "history", "room": "lobby", "after": 0, "limit": 200})).await?;
    client.close(1000).await?;
    Ok(page["messages"].as_array().context("no page")?.clone())
}

proptest! {
    // `PROPTEST_CASES` sets the number of cases.
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16),
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn resuming_readers_end_with_the_messages_of_a_new_reader(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        if let Err(problem) = runtime.block_on(run_steps(steps)) {
            return Err(TestCaseError::fail(format!("{problem:#}")));
        }
    }
}
