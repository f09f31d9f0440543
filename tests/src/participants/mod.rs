//! Concurrent writers and readers of one room. They connect, disconnect and resume as planned, and record their
//! histories.

mod plan;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use chat_conformance::client::Frame;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use plan::{Disconnect, ReaderConnection, WriterConnection};
pub use plan::{Plan, plan};

use crate::history::{History, JoinFrom, Message, Record};
use crate::{Client, Incoming, within};

/// The limit of unacknowledged messages before a writer writes on.
const MAX_UNACKNOWLEDGED: usize = 6;

/// Runs a plan in the room `lobby` of these servers until every participant has seen every message. Returns the
/// histories.
pub async fn run_plan(plan: Plan, servers: &[SocketAddr]) -> Result<Vec<History>> {
    let (progress, _) = watch::channel(Progress { newest: 0, writing: plan.writers.len() });
    let shared = Arc::new(Shared { servers: servers.to_vec(), progress });
    let mut participants = JoinSet::new();
    for (number, connections) in plan.writers.into_iter().enumerate() {
        let participant = Participant::new(&shared, format!("writer-{number}"), false);
        participants.spawn(participant.write(number, connections));
    }
    for (number, connections) in plan.readers.into_iter().enumerate() {
        let participant = Participant::new(&shared, format!("reader-{number}"), true);
        participants.spawn(participant.read(number, connections));
    }
    let mut histories = Vec::new();
    // The first failure is the cause: the other participants wait for this one.
    while let Some(history) = participants.join_next().await {
        histories.push(history??);
    }
    Ok(histories)
}

struct Shared {
    servers: Vec<SocketAddr>,
    progress: watch::Sender<Progress>,
}

/// The progress of the room.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// The newest message that any participant knows of.
    newest: u64,
    /// The number of writers that are not done.
    writing: usize,
}

struct Participant {
    shared: Arc<Shared>,
    history: History,
    narrow: bool,
    client: Option<Client>,
    /// The start that the last join asked for.
    from: JoinFrom,
    /// The epoch of the room, and the last message seen.
    seen: Option<(String, u64)>,
    /// Messages that are not acknowledged: key and text.
    unacknowledged: Vec<(String, String)>,
}

impl Participant {
    fn new(shared: &Arc<Shared>, user: String, narrow: bool) -> Self {
        Self {
            shared: Arc::clone(shared),
            history: History { user, records: Vec::new() },
            narrow,
            client: None,
            from: JoinFrom::Now,
            seen: None,
            unacknowledged: Vec::new(),
        }
    }

    async fn write(mut self, number: usize, connections: Vec<WriterConnection>) -> Result<History> {
        let mut written = 0;
        for WriterConnection { server, batches, disconnect } in connections {
            self.connect(server, None).await?;
            for count in batches {
                for _ in 0..count {
                    written += 1;
                    let filler = "x".repeat(written * 131 % 900);
                    let text = format!("{written} of {} {filler}", self.history.user);
                    self.unacknowledged.push((format!("key-{written}"), text));
                }
                let from = self.unacknowledged.len() - count;
                self.send(String::new(), from).await?;
                while self.unacknowledged.len() > MAX_UNACKNOWLEDGED {
                    self.receive().await?;
                }
            }
            self.disconnect(disconnect).await?;
        }
        self.connect(number, None).await?;
        while !self.unacknowledged.is_empty() {
            self.receive().await?;
        }
        self.shared.progress.send_modify(|progress| progress.writing -= 1);
        self.finish().await
    }

    async fn read(mut self, number: usize, connections: Vec<ReaderConnection>) -> Result<History> {
        for ReaderConnection { server, last, reads, pause, joins_again, disconnect, offline } in connections {
            self.connect(server, last).await?;
            self.read_messages(reads).await?;
            self.wait_for(pause).await?;
            if joins_again {
                self.join(last).await?;
            }
            self.read_messages(reads).await?;
            self.disconnect(disconnect).await?;
            self.wait_for(offline).await?;
        }
        self.connect(number, None).await?;
        self.finish().await
    }

    /// Reads until all writers are done and every message has been seen.
    async fn finish(mut self) -> Result<History> {
        self.read_messages(u64::MAX).await?;
        self.disconnect(Disconnect::Close).await?;
        Ok(self.history)
    }

    /// Reads this number of messages, or all if there are fewer.
    async fn read_messages(&mut self, count: u64) -> Result<()> {
        let mut progress = self.shared.progress.subscribe();
        let until = self.last_seen().saturating_add(count);
        while self.last_seen() < until {
            let seen = self.last_seen();
            let client = self.client.as_mut().context("not connected")?;
            let incoming = tokio::select! {
                incoming = client.receive() => incoming?,
                ended = progress.wait_for(|progress| progress.writing == 0 && progress.newest <= seen) => {
                    ended?;
                    return Ok(());
                }
            };
            if !self.record(incoming)? {
                bail!("{}: the connection ended", self.history.user);
            }
        }
        Ok(())
    }

    /// Waits until the room has this number of further messages.
    async fn wait_for(&self, count: u64) -> Result<()> {
        let mut progress = self.shared.progress.subscribe();
        let until = progress.borrow().newest + count;
        loop {
            let Progress { newest, writing } = *progress.borrow_and_update();
            if writing == 0 || newest >= until {
                return Ok(());
            }
            // The room always makes progress, however long the whole plan takes.
            within(progress.changed()).await??;
        }
    }

    fn last_seen(&self) -> u64 {
        self.seen.as_ref().map_or(0, |(_, seq)| *seq)
    }

    /// Connects to a server and joins.
    async fn connect(&mut self, server: usize, last: Option<u64>) -> Result<()> {
        let server = self.shared.servers[server % self.shared.servers.len()];
        let user = &self.history.user;
        let client = if self.narrow {
            Client::open_narrow(server, user).await?
        } else {
            Client::open(server, user).await?
        };
        self.client = Some(client);
        self.join(last).await
    }

    /// Joins with the `last` messages, or after the last message seen. Sends the unacknowledged messages again.
    async fn join(&mut self, last: Option<u64>) -> Result<()> {
        let mut join = json!({"type": "join", "room": "lobby", "ref": "join"});
        self.from = match (last, &self.seen) {
            (Some(last), _) => {
                join["last"] = json!(last);
                JoinFrom::Last(last)
            }
            (None, Some((epoch, seq))) => {
                join["after"] = json!({"epoch": epoch, "seq": seq});
                JoinFrom::After(*seq)
            }
            (None, None) => JoinFrom::Now,
        };
        self.send(join.to_string(), 0).await?;
        let joined =
            |records: &[Record]| records.iter().filter(|it| matches!(it, Record::Joined { .. })).count();
        let before = joined(&self.history.records);
        while joined(&self.history.records) == before {
            self.receive().await?;
        }
        Ok(())
    }

    /// Sends a command, if there is one, and the unacknowledged messages from index `from`, in one write.
    async fn send(&mut self, command: String, from: usize) -> Result<()> {
        let mut bytes = if command.is_empty() { Vec::new() } else { Frame::text(command).encode() };
        for (key, text) in &self.unacknowledged[from..] {
            let body = json!({"text": text});
            let send = json!({"type": "send", "room": "lobby", "ref": key, "key": key, "body": body});
            bytes.extend(Frame::text(send.to_string()).encode());
            self.history.records.push(Record::Sent { key: key.clone(), text: text.clone() });
        }
        self.client.as_mut().context("not connected")?.write(&bytes).await
    }

    /// Receives one message. The connection must not end.
    async fn receive(&mut self) -> Result<()> {
        let incoming = self.client.as_mut().context("not connected")?.receive().await?;
        if self.record(incoming)? { Ok(()) } else { bail!("{}: the connection ended", self.history.user) }
    }

    /// Ends the connection and records the messages that still come.
    async fn disconnect(&mut self, disconnect: Disconnect) -> Result<()> {
        let mut client = self.client.take().context("not connected")?;
        if let Disconnect::FinWithinFrame | Disconnect::ResetWithinFrame = disconnect {
            client.write(&Frame::text(r#"{"type":"ping"}"#).encode()[..9]).await?;
        }
        match disconnect {
            Disconnect::Reset | Disconnect::ResetWithinFrame => client.reset()?,
            Disconnect::Close | Disconnect::Fin | Disconnect::FinWithinFrame => {
                if let Disconnect::Close = disconnect {
                    client.write(&Frame::close(1000, "").encode()).await?;
                } else {
                    client.half_close().await?;
                }
                while self.record(client.receive().await?)? {}
            }
        }
        self.history.records.push(Record::Disconnected);
        Ok(())
    }

    /// Records a message. Returns false at the end of the connection.
    fn record(&mut self, incoming: Incoming) -> Result<bool> {
        let event = match incoming {
            Incoming::Event(event) => event,
            Incoming::Ping(_) | Incoming::Pong(_) => return Ok(true),
            Incoming::Close(_) | Incoming::End | Incoming::Reset => return Ok(false),
        };
        let field = |name: &str| event[name].as_str().map(ToOwned::to_owned).context("no text");
        let number = |name: &str| event[name].as_u64().context("no number");
        let record = match event["type"].as_str() {
            Some("joined") => {
                let (epoch, head) = (field("epoch")?, number("seq")?);
                let known = match self.from {
                    JoinFrom::After(seq) => seq,
                    JoinFrom::Now => head,
                    JoinFrom::Last(count) => head.saturating_sub(count).max(number("first")? - 1),
                };
                self.seen = Some((epoch.clone(), known));
                self.advance(head);
                let recovered = event["recovered"] == true;
                Record::Joined { from: self.from, epoch, head, first: number("first")?, recovered }
            }
            Some("message") => {
                let (seq, user) =
                    (number("seq")?, event["user"]["id"].as_str().context("no user")?.to_owned());
                let text = event["body"]["text"].as_str().context("no text")?.to_owned();
                self.saw(seq);
                Record::Received(Message { seq, user, at: number("at")?, key: field("key")?, text })
            }
            Some("gap") => {
                self.saw(number("to")?);
                Record::Gap { from: number("from")?, to: number("to")? }
            }
            Some("sent") => {
                let (key, seq) = (field("ref")?, number("seq")?);
                self.unacknowledged.retain(|(unacknowledged, _)| *unacknowledged != key);
                self.advance(seq);
                Record::Acknowledged { key, seq, duplicate: event["duplicate"] == Value::Bool(true) }
            }
            Some("welcome" | "presence") => return Ok(true),
            _ => bail!("{} must not receive {event}", self.history.user),
        };
        self.history.records.push(record);
        Ok(true)
    }

    fn saw(&mut self, seq: u64) {
        if let Some((_, seen)) = &mut self.seen {
            *seen = seq;
        }
        self.advance(seq);
    }

    fn advance(&self, seq: u64) {
        let is_newer = |progress: &mut Progress| {
            let newer = seq > progress.newest;
            progress.newest = progress.newest.max(seq);
            newer
        };
        self.shared.progress.send_if_modified(is_newer);
    }
}
