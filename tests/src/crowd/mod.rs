//! A crowd in one room: who writes, who only reads, how each comes and goes, and what each of them did and saw.

mod plan;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use chat_conformance::client::Frame;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use plan::{Parting, Stay, Stint};
pub use plan::{Plan, crowd};

use crate::history::{From, History, Message, Record};
use crate::raw::{Heard, RawClient};
use crate::within;

/// Messages of one writer that are not acknowledged, at most, before it writes on.
const UNANSWERED: usize = 6;

/// Lets a crowd into the room `lobby` of these servers, until everybody has seen everything; what they did and saw.
///
/// # Errors
///
/// If something is refused or a connection ends that nobody has ended.
pub async fn gather(plan: Plan, servers: &[SocketAddr]) -> Result<Vec<History>> {
    let (progress, _) = watch::channel(Progress { newest: 0, writing: plan.writers.len() });
    let hall = Arc::new(Hall { servers: servers.to_vec(), progress });
    let mut people = JoinSet::new();
    for (number, stints) in plan.writers.into_iter().enumerate() {
        let person = Person::new(&hall, format!("writer-{number}"), false);
        people.spawn(person.write(number, stints));
    }
    for (number, stays) in plan.readers.into_iter().enumerate() {
        let person = Person::new(&hall, format!("reader-{number}"), true);
        people.spawn(person.read(number, stays));
    }
    let mut histories = Vec::new();
    // Who fails first says why: the others wait for it.
    while let Some(history) = people.join_next().await {
        histories.push(history??);
    }
    Ok(histories)
}

struct Hall {
    servers: Vec<SocketAddr>,
    progress: watch::Sender<Progress>,
}

/// How far the room is.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// The newest message that anybody knows of.
    newest: u64,
    /// How many still write.
    writing: usize,
}

struct Person {
    hall: Arc<Hall>,
    history: History,
    narrow: bool,
    client: Option<RawClient>,
    /// What it asked for when it joined.
    from: From,
    /// The room's life, and the last message seen.
    seen: Option<(String, u64)>,
    /// What was written and not acknowledged: key and text.
    unanswered: Vec<(String, String)>,
}

impl Person {
    fn new(hall: &Arc<Hall>, user: String, narrow: bool) -> Self {
        Self {
            hall: Arc::clone(hall),
            history: History { user, records: Vec::new() },
            narrow,
            client: None,
            from: From::Now,
            seen: None,
            unanswered: Vec::new(),
        }
    }

    async fn write(mut self, number: usize, stints: Vec<Stint>) -> Result<History> {
        let mut written = 0;
        for Stint { server, batches, parting } in stints {
            self.enter(server, None).await?;
            for count in batches {
                for _ in 0..count {
                    written += 1;
                    let filler = "x".repeat(written * 131 % 900);
                    let text = format!("{written} of {} {filler}", self.history.user);
                    self.unanswered.push((format!("key-{written}"), text));
                }
                let from = self.unanswered.len() - count;
                self.send(String::new(), from).await?;
                while self.unanswered.len() > UNANSWERED {
                    self.stay().await?;
                }
            }
            self.leave(parting).await?;
        }
        self.enter(number, None).await?;
        while !self.unanswered.is_empty() {
            self.stay().await?;
        }
        self.hall.progress.send_modify(|progress| progress.writing -= 1);
        self.conclude().await
    }

    async fn read(mut self, number: usize, stays: Vec<Stay>) -> Result<History> {
        for Stay { server, last, reads, pauses, joins_again, parting, stays_away } in stays {
            self.enter(server, last).await?;
            self.see(reads).await?;
            self.pass(pauses).await?;
            if joins_again {
                self.join(last).await?;
            }
            self.see(reads).await?;
            self.leave(parting).await?;
            self.pass(stays_away).await?;
        }
        self.enter(number, None).await?;
        self.conclude().await
    }

    /// Reads until nobody writes any more and everything has been seen.
    async fn conclude(mut self) -> Result<History> {
        self.see(u64::MAX).await?;
        self.leave(Parting::Close).await?;
        Ok(self.history)
    }

    /// Reads so many messages, or all that there will be.
    async fn see(&mut self, count: u64) -> Result<()> {
        let mut progress = self.hall.progress.subscribe();
        let until = self.last_seen().saturating_add(count);
        while self.last_seen() < until {
            let seen = self.last_seen();
            let client = self.client.as_mut().context("not connected")?;
            let heard = tokio::select! {
                heard = client.next() => heard?,
                ended = progress.wait_for(|progress| progress.writing == 0 && progress.newest <= seen) => {
                    ended?;
                    return Ok(());
                }
            };
            if !self.hear(heard)? {
                bail!("{}: the connection ended", self.history.user);
            }
        }
        Ok(())
    }

    /// Does nothing while the room gets so many messages.
    async fn pass(&self, count: u64) -> Result<()> {
        let mut progress = self.hall.progress.subscribe();
        let until = progress.borrow().newest + count;
        loop {
            let Progress { newest, writing } = *progress.borrow_and_update();
            if writing == 0 || newest >= until {
                return Ok(());
            }
            // However long all of it takes, the room gets on.
            within(progress.changed()).await??;
        }
    }

    fn last_seen(&self) -> u64 {
        self.seen.as_ref().map_or(0, |(_, seq)| *seq)
    }

    /// Connects and joins.
    async fn enter(&mut self, server: usize, last: Option<u64>) -> Result<()> {
        let server = self.hall.servers[server % self.hall.servers.len()];
        self.client = Some(RawClient::connect(server, &self.history.user, self.narrow).await?);
        self.join(last).await
    }

    /// Joins, from the last message seen on if nothing else is asked for; what was not acknowledged is sent again.
    async fn join(&mut self, last: Option<u64>) -> Result<()> {
        let mut join = json!({"type": "join", "room": "lobby", "ref": "join"});
        self.from = match (last, &self.seen) {
            (Some(last), _) => {
                join["last"] = json!(last);
                From::Last(last)
            }
            (None, Some((epoch, seq))) => {
                join["after"] = json!({"epoch": epoch, "seq": seq});
                From::After(*seq)
            }
            (None, None) => From::Now,
        };
        self.send(join.to_string(), 0).await?;
        let joined =
            |records: &[Record]| records.iter().filter(|it| matches!(it, Record::Joined { .. })).count();
        let before = joined(&self.history.records);
        while joined(&self.history.records) == before {
            self.stay().await?;
        }
        Ok(())
    }

    /// Sends a command, if there is one, and the unanswered messages from one on, in one write.
    async fn send(&mut self, command: String, from: usize) -> Result<()> {
        let mut bytes = if command.is_empty() { Vec::new() } else { Frame::text(command).encode() };
        for (key, text) in &self.unanswered[from..] {
            let body = json!({"text": text});
            let send = json!({"type": "send", "room": "lobby", "ref": key, "key": key, "body": body});
            bytes.extend(Frame::text(send.to_string()).encode());
            self.history.records.push(Record::Asked { key: key.clone(), text: text.clone() });
        }
        self.client.as_mut().context("not connected")?.write(&bytes).await
    }

    /// Hears one thing, which is not the end.
    async fn stay(&mut self) -> Result<()> {
        let heard = self.client.as_mut().context("not connected")?.next().await?;
        if self.hear(heard)? { Ok(()) } else { bail!("{}: the connection ended", self.history.user) }
    }

    /// Ends the connection, and hears what comes until then.
    async fn leave(&mut self, parting: Parting) -> Result<()> {
        let mut client = self.client.take().context("not connected")?;
        if let Parting::FinWithinFrame | Parting::ResetWithinFrame = parting {
            client.write(&Frame::text(r#"{"type":"ping"}"#).encode()[..9]).await?;
        }
        match parting {
            Parting::Reset | Parting::ResetWithinFrame => client.reset()?,
            Parting::Close | Parting::Fin | Parting::FinWithinFrame => {
                if let Parting::Close = parting {
                    client.write(&Frame::close(1000, "").encode()).await?;
                } else {
                    client.half_close().await?;
                }
                while self.hear(client.next().await?)? {}
            }
        }
        self.history.records.push(Record::Gone);
        Ok(())
    }

    /// Takes note of what was heard; false if it is the end.
    fn hear(&mut self, heard: Heard) -> Result<bool> {
        let event = match heard {
            Heard::Event(event) => event,
            Heard::Ping(_) | Heard::Pong(_) => return Ok(true),
            Heard::Close(_) | Heard::End | Heard::Reset => return Ok(false),
        };
        let field = |name: &str| event[name].as_str().map(ToOwned::to_owned).context("no text");
        let number = |name: &str| event[name].as_u64().context("no number");
        let record = match event["type"].as_str() {
            Some("joined") => {
                let (epoch, head) = (field("epoch")?, number("seq")?);
                let known = match self.from {
                    From::After(seq) => seq,
                    From::Now => head,
                    From::Last(count) => head.saturating_sub(count).max(number("first")? - 1),
                };
                self.seen = Some((epoch.clone(), known));
                self.know_of(head);
                let recovered = event["recovered"] == true;
                Record::Joined { from: self.from, epoch, head, first: number("first")?, recovered }
            }
            Some("message") => {
                let (seq, user) =
                    (number("seq")?, event["user"]["id"].as_str().context("no user")?.to_owned());
                let text = event["body"]["text"].as_str().context("no text")?.to_owned();
                self.reach(seq);
                Record::Saw(Message { seq, user, at: number("at")?, key: field("key")?, text })
            }
            Some("gap") => {
                self.reach(number("to")?);
                Record::Gap { from: number("from")?, to: number("to")? }
            }
            Some("sent") => {
                let (key, seq) = (field("ref")?, number("seq")?);
                self.unanswered.retain(|(unanswered, _)| *unanswered != key);
                self.know_of(seq);
                Record::Acknowledged { key, seq, duplicate: event["duplicate"] == Value::Bool(true) }
            }
            Some("welcome" | "presence") => return Ok(true),
            _ => bail!("{} must not get {event}", self.history.user),
        };
        self.history.records.push(record);
        Ok(true)
    }

    fn reach(&mut self, seq: u64) {
        if let Some((_, seen)) = &mut self.seen {
            *seen = seq;
        }
        self.know_of(seq);
    }

    fn know_of(&self, seq: u64) {
        let is_newer = |progress: &mut Progress| {
            let newer = seq > progress.newest;
            progress.newest = progress.newest.max(seq);
            newer
        };
        self.hall.progress.send_if_modified(is_newer);
    }
}
