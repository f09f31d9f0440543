use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_core::{Chat, Mechanism, RoomName, Text, User};
use chat_sqlite::{Options, SqliteStore};
use chat_tests::{Adapter, Client, Server};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What retention leaves of the room.
const KEPT: u64 = 40;

const READERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// So many messages are posted.
    Say(u64),
    /// A reader joins: where it was, or with so many of the newest if it never was there.
    Come { reader: usize, last: u64 },
    /// A reader reads part of what is to come, in percent, and is gone.
    Go { reader: usize, part: u64 },
    /// What is old is forgotten.
    Sweep,
    /// The server stops and starts.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..25u64).prop_map(Step::Say),
        4 => (0..READERS, 0..60u64).prop_map(|(reader, last)| Step::Come { reader, last }),
        3 => (0..READERS, 0..=100u64).prop_map(|(reader, part)| Step::Go { reader, part }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

/// The server, with all that it keeps on disk.
struct Running {
    store: SqliteStore,
    chat: Chat,
    server: Server,
}

impl Running {
    async fn start(dir: &Path) -> Result<Self> {
        let sweep_interval = Duration::from_millis(5);
        let options = Options::default().with(|options| {
            options.retain_messages = Some(KEPT);
            options.sweep_interval = sweep_interval;
        });
        let store = SqliteStore::open(dir, options)?;
        let rooms = store.clone();
        let chat: Chat =
            Chat::builder().rooms(move |name, limits, outlet| rooms.room(name, limits, outlet)).build();
        let server = Server::start(Adapter::Axum(Mechanism::Hijack), &chat).await?;
        Ok(Self { store, chat, server })
    }

    async fn stop(self) {
        self.chat.drain(Duration::from_secs(10)).await;
        drop(self.server);
        self.store.close();
    }
}

/// Somebody who joins with history, comes and goes.
#[derive(Default)]
struct Reader {
    client: Option<Client>,
    /// The epoch and the last position that it knows of.
    place: Option<(String, u64)>,
    /// The last position before those that it first asked for.
    since: u64,
    /// What it has of the room.
    messages: BTreeMap<u64, Value>,
}

impl Reader {
    async fn come(&mut self, address: SocketAddr, last: u64) -> Result<()> {
        if self.client.is_some() {
            return Ok(());
        }
        let mut client = Client::connect(address, "reader").await?;
        let mut command = json!({"type": "join", "room": "lobby"});
        match &self.place {
            Some((epoch, seq)) => command["after"] = json!({"epoch": epoch, "seq": seq}),
            None => command["last"] = last.into(),
        }
        let joined = client.ask(command, "j").await?;
        let number = |field: &str| joined[field].as_u64().context("no number");
        let (head, oldest) = (number("seq")?, number("first")? - 1);
        let epoch = joined["epoch"].as_str().context("no epoch")?.to_owned();
        match &mut self.place {
            Some((before, seq)) => {
                ensure!(*before == epoch, "another epoch");
                ensure!(joined["recovered"] == (*seq >= oldest), "{joined} after {seq}");
            }
            None => {
                self.since = head.saturating_sub(last).max(oldest);
                self.place = Some((epoch, self.since));
            }
        }
        self.client = Some(client);
        Ok(())
    }

    /// Reads, if it is there, until it knows of everything up to a position.
    async fn read(&mut self, upto: u64) -> Result<()> {
        let (Some(client), Some((_, last))) = (&mut self.client, &mut self.place) else { return Ok(()) };
        while *last < upto {
            let event = client.next().await?;
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

    /// Reads part of what there is, and vanishes.
    async fn go(&mut self, head: u64, part: u64) -> Result<()> {
        let last = self.place.as_ref().map_or(0, |(_, last)| *last);
        self.read(last + head.saturating_sub(last) * part / 100).await?;
        self.client = None;
        Ok(())
    }
}

async fn history(steps: Vec<Step>) -> Result<()> {
    let home = TempDir::new()?;
    let dir = home.path().join("store");
    let mut running = Running::start(&dir).await?;
    let (lobby, clerk): (RoomName, User) = ("lobby".parse()?, User::new("service:clerk", "Clerk")?);
    let mut readers: [Reader; READERS] = Default::default();
    let mut head = 0;
    for step in steps {
        match step {
            Step::Say(count) => {
                for _ in 0..count {
                    head += 1;
                    let text = Text::new(head.to_string());
                    let posted = running.chat.post(&lobby, &clerk, &text, None).await?;
                    ensure!(posted.seq == head, "{} is not {head}", posted.seq);
                }
            }
            Step::Come { reader, last } => readers[reader].come(running.server.address(), last).await?,
            Step::Go { reader, part } => readers[reader].go(head, part).await?,
            Step::Sweep => {
                swept(&running, head).await?;
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
    let afresh = swept(&running, head).await?;
    for (number, reader) in readers.iter_mut().enumerate() {
        reader.come(running.server.address(), head).await?;
        reader.read(head).await?;
        let oldest = afresh.first().and_then(|message| message["seq"].as_u64()).unwrap_or_default();
        let kept: Vec<_> = reader.messages.range(oldest..).map(|(_, message)| message).collect();
        // What came before it asked for anything is not its own.
        let expected: Vec<_> =
            afresh.iter().filter(|message| message["seq"].as_u64() > Some(reader.since)).collect();
        ensure!(kept == expected, "reader {number} has {kept:?}, not {expected:?}");
        for (seq, message) in &reader.messages {
            let text = seq.to_string();
            ensure!(message["body"]["text"] == text.as_str(), "{message}");
        }
    }
    running.stop().await;
    Ok(())
}

/// What a newcomer reads, once what is old is gone.
async fn swept(running: &Running, head: u64) -> Result<Vec<Value>> {
    let mut client = Client::connect(running.server.address(), "newcomer").await?;
    loop {
        let joined = client.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
        if joined["first"].as_u64() >= Some(head.saturating_sub(KEPT) + 1) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let page = client.ask(json!({"type": "history", "room": "lobby", "after": 0, "limit": 200}), "h").await?;
    client.close(1000).await?;
    Ok(page["messages"].as_array().context("no page")?.clone())
}

proptest! {
    // `PROPTEST_CASES` asks for more.
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16),
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn who_joins_with_history_ends_where_a_newcomer_does(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        if let Err(problem) = runtime.block_on(history(steps)) {
            return Err(TestCaseError::fail(format!("{problem:#}")));
        }
    }
}
