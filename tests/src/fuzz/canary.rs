use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::Client;

/// The time in which each command of a canary is answered, and its message has arrived.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The pause between two commands. It keeps the canary below the rates of one client.
const PAUSE: Duration = Duration::from_millis(60);

/// Messages after which the canary also sends the other commands, and joins again.
const ROUND: u64 = 16;

/// A well-behaved member of a room. It sends and receives all the time, and checks what it receives.
#[derive(Debug)]
pub(super) struct Canary {
    client: Client,
    room: String,
    name: String,
    epoch: String,
    /// The newest entry that has arrived.
    seq: u64,
    /// The `seq` and the text of each own message that has arrived.
    own: BTreeMap<u64, String>,
    references: u64,
    slowest: Duration,
}

/// The connection between a canary and the fuzzer.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// True if the canary stops.
    pub(super) stopped: AtomicBool,
    /// The number of messages that the canary has sent and received.
    pub(super) rounds: AtomicU64,
}

/// The result of a canary.
#[derive(Debug)]
pub(super) struct CanaryReport {
    /// The room.
    pub(super) room: String,
    /// The `seq` and the text of each acknowledged message.
    pub(super) acknowledged: BTreeMap<u64, String>,
    /// The longest time of a command.
    pub(super) slowest: Duration,
}

impl Canary {
    /// Connects as a guest and joins a room.
    pub(super) async fn start(address: SocketAddr, name: &str, room: &str) -> Result<Self> {
        let client = Client::connect(address, name).await?;
        let mut canary = Self {
            client,
            room: room.to_owned(),
            name: name.to_owned(),
            epoch: String::new(),
            seq: 0,
            own: BTreeMap::new(),
            references: 0,
            slowest: Duration::ZERO,
        };
        let joined = canary.ask("joined", json!({"type": "join"})).await?;
        canary.epoch = joined["epoch"].as_str().context("no epoch")?.to_owned();
        canary.seq = joined["seq"].as_u64().context("no seq")?;
        Ok(canary)
    }

    /// Sends and receives until `signals` say that it stops, then sends a last message.
    pub(super) async fn run(mut self, signals: &Signals) -> Result<CanaryReport> {
        let mut is_last = false;
        while !is_last {
            is_last = signals.stopped.load(Ordering::Relaxed);
            let place = format!("the canary in {} after seq {}", self.room, self.seq);
            self.say().await.context(place.clone())?;
            if self.references.is_multiple_of(ROUND) {
                self.read_back().await.context(place)?;
            }
            signals.rounds.fetch_add(1, Ordering::Relaxed);
            self.receive_for(PAUSE).await?;
        }
        let Self { client, room, own, slowest, .. } = self;
        let closed = client.close(1000).await?;
        ensure!(closed == Some(1000), "the canary's close is answered with {closed:?}");
        Ok(CanaryReport { room, acknowledged: own, slowest })
    }

    /// Sends a message, and waits for its `sent` and for the message itself.
    async fn say(&mut self) -> Result<()> {
        let text = format!("{} {} from {}", self.room, self.references, self.name);
        let send = json!({"type": "send", "key": text, "body": {"text": text}});
        let sent = self.ask("sent", send).await?;
        let seq = sent["seq"].as_u64().context("no seq")?;
        let start = Instant::now();
        while self.seq < seq {
            let left = ANSWER_TIMEOUT.saturating_sub(start.elapsed());
            let event = timeout(left, self.client.event()).await;
            self.observe(&event.with_context(|| format!("message {seq} does not arrive"))??)?;
        }
        ensure!(self.own.get(&seq) == Some(&text), "message {seq} is not {text}");
        Ok(())
    }

    /// Sends each other command, then leaves the room and joins it again after its cursor.
    async fn read_back(&mut self) -> Result<()> {
        self.ask("pong", json!({"type": "ping"})).await?;
        let history = self.ask("history", json!({"type": "history", "limit": 5})).await?;
        let messages = history["messages"].as_array().context("no messages")?;
        let seqs: Vec<_> = messages.iter().filter_map(|message| message["seq"].as_u64()).collect();
        ensure!(!seqs.is_empty() && seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{history}");
        let members = self.ask("members", json!({"type": "members", "limit": 1})).await?;
        ensure!(members["total"].as_u64() > Some(0), "{members}");
        let text = self.own.values().next_back().cloned().unwrap_or_default();
        let found = self.ask("found", json!({"type": "search", "query": text})).await?;
        ensure!(!found["messages"].as_array().context("no messages")?.is_empty(), "{text}: {found}");
        self.ask("left", json!({"type": "leave"})).await?;
        let after = json!({"epoch": self.epoch, "seq": self.seq});
        let joined = self.ask("joined", json!({"type": "join", "after": after})).await?;
        ensure!(joined["recovered"] == true, "{joined}");
        Ok(())
    }

    /// Sends a command for the room and returns its reply, which must have this type. The command is sent again while
    /// the room is unavailable.
    async fn ask(&mut self, reply: &str, mut command: Value) -> Result<Value> {
        self.references += 1;
        command["ref"] = json!(self.references.to_string());
        if command["type"] != "ping" {
            command["room"] = json!(self.room);
        }
        let start = Instant::now();
        self.client.send(command.clone()).await?;
        loop {
            let left = ANSWER_TIMEOUT.saturating_sub(start.elapsed());
            let event = timeout(left, self.client.event()).await;
            let event = event.with_context(|| format!("no answer to {command}"))??;
            if event["ref"] == command["ref"] {
                // A server on a busy machine says so. A search then takes longer than it may.
                let is_slow_search = event["code"] == "bad_query" && command["type"] == "search";
                if event["code"] == "unavailable" || event["code"] == "rate_limited" || is_slow_search {
                    sleep(PAUSE.max(Duration::from_millis(event["retry_after_ms"].as_u64().unwrap_or(0))))
                        .await;
                    self.client.send(command.clone()).await?;
                    continue;
                }
                ensure!(event["type"] == reply, "{event} answers {command}");
                self.slowest = self.slowest.max(start.elapsed());
                return Ok(event);
            }
            self.observe(&event)?;
        }
    }

    async fn receive_for(&mut self, time: Duration) -> Result<()> {
        let over = sleep(time);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Ok(()),
                event = self.client.event() => self.observe(&event?)?,
            }
        }
    }

    /// Checks an event. The messages of the room come without holes and duplicates.
    fn observe(&mut self, event: &Value) -> Result<()> {
        match event["type"].as_str() {
            Some("message") => {
                let seq = event["seq"].as_u64().context("no seq")?;
                ensure!(seq == self.seq + 1, "{seq} follows {}: {event}", self.seq);
                if event["user"]["id"] == self.name.as_str() {
                    let text = event["body"]["text"].as_str().context("no text")?;
                    self.own.insert(seq, text.to_owned());
                }
                self.seq = seq;
            }
            Some("presence" | "occupancy" | "typing") => {}
            _ => bail!("the canary gets {event}"),
        }
        Ok(())
    }
}
