//! A client in the room that connects again to any node, sends each message until it is acknowledged, and records what
//! it has done and received.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_tests::history::{History, JoinFrom, Message, Record};
use chat_tests::{Client, Incoming};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::shared::{End, Shared, View};

/// The pause of a writer after a message, and of each client after a refusal.
const PAUSE: Duration = Duration::from_millis(40);

/// The interval of the questions for the users in the room.
const LIST_INTERVAL: Duration = Duration::from_millis(500);

/// The time in which a node answers each command. It answers `unavailable` after 5 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The time for a connection and its first answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(12);

pub(crate) struct Participant {
    shared: Arc<Shared>,
    /// The node that it connects to first.
    home: usize,
    writes: bool,
    history: History,
    client: Option<Client>,
    /// The start that the last join asked for.
    from: JoinFrom,
    /// The newest message when it joined, if it reads the whole log after the end of the run.
    reads_to: Option<u64>,
    /// The last entry that it has seen.
    seen: Option<u64>,
    is_member: bool,
    /// The users in the room, as its events say.
    announced: BTreeSet<String>,
    /// The users in the room, as the last answer says.
    listed: Option<BTreeSet<String>>,
    /// The number of messages that it has begun to send.
    count: usize,
    sending: Option<Sending>,
    next_send: Instant,
    next_list: Instant,
    /// The time of the oldest command without an answer.
    asked: Option<Instant>,
}

/// A message without an acknowledgement.
struct Sending {
    key: String,
    first: Instant,
    is_refused: bool,
}

impl Participant {
    pub(crate) fn new(shared: &Arc<Shared>, user: String, home: usize, writes: bool) -> Self {
        let now = Instant::now();
        Self {
            shared: Arc::clone(shared),
            home,
            writes,
            history: History { user, records: Vec::new() },
            client: None,
            from: JoinFrom::Now,
            reads_to: None,
            seen: None,
            is_member: false,
            announced: BTreeSet::new(),
            listed: None,
            count: 0,
            sending: None,
            next_send: now,
            next_list: now,
            asked: None,
        }
    }

    /// Returns a participant that reads the whole log.
    pub(crate) fn auditor(shared: &Arc<Shared>, user: String, home: usize) -> Self {
        Self { reads_to: Some(0), seen: Some(0), ..Self::new(shared, user, home, false) }
    }

    /// Takes part until the end of the run, and returns its history. A user who leaves comes back at the end.
    pub(crate) async fn run(mut self) -> Result<History> {
        let mut ends = self.shared.end.subscribe();
        loop {
            let end = *ends.borrow_and_update();
            if let Some(End { newest, deadline }) = end
                && (self.seen >= self.reads_to.max(Some(newest)) || Instant::now() > deadline)
            {
                break;
            }
            if self.shared.leaves(&self.history.user) && end.is_none() {
                if self.client.is_some() {
                    self.disconnected();
                }
                ends.changed().await?;
                continue;
            }
            if self.client.is_none() && !self.connect().await? {
                sleep(PAUSE).await;
                continue;
            }
            self.act().await?;
            if let Some(asked) = self.asked {
                ensure!(asked.elapsed() < ANSWER_TIMEOUT, "{}: no answer", self.history.user);
            }
            let Some(client) = &mut self.client else { continue };
            let incoming = tokio::select! {
                incoming = client.receive() => incoming.unwrap_or(Incoming::Reset),
                () = sleep(PAUSE) => continue,
                _ = ends.changed() => continue,
            };
            self.take(incoming)?;
        }
        self.shared.set_view(&self.history.user, None);
        Ok(self.history)
    }

    /// Connects to a node and joins. Returns false if that is not possible now.
    async fn connect(&mut self) -> Result<bool> {
        let nodes = self.shared.nodes();
        for step in 0..nodes.len() {
            let Some(address) = nodes[(self.home + step) % nodes.len()] else { continue };
            let opened = timeout(CONNECT_TIMEOUT, Client::connect(address, &self.history.user)).await;
            let Ok(Ok(client)) = opened else { continue };
            self.client = Some(client);
            let until = Instant::now() + CONNECT_TIMEOUT;
            self.join().await?;
            while !self.is_member || self.listed.is_none() {
                let Some(client) = &mut self.client else { return Ok(false) };
                let Ok(incoming) = tokio::time::timeout_at(until, client.receive()).await else {
                    // A client of the protocol gives up a node that does not answer.
                    self.disconnected();
                    return Ok(false);
                };
                self.take(incoming.unwrap_or(Incoming::Reset))?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    async fn join(&mut self) -> Result<()> {
        let mut join = json!({"type": "join", "ref": "join", "room": self.shared.room()});
        self.from = JoinFrom::Now;
        if let (Some(seq), Some(epoch)) = (self.seen, self.shared.epoch()) {
            self.from = JoinFrom::After(seq);
            join["after"] = json!({"epoch": epoch, "seq": seq});
        }
        self.send(join).await?;
        self.list().await
    }

    async fn list(&mut self) -> Result<()> {
        self.next_list = Instant::now() + LIST_INTERVAL;
        self.send(json!({"type": "members", "ref": "members", "room": self.shared.room(), "limit": 1_000}))
            .await
    }

    /// Sends what is due.
    async fn act(&mut self) -> Result<()> {
        let now = Instant::now();
        if now >= self.next_list && self.listed.is_some() {
            self.list().await?;
        }
        let is_idle = self.writes && self.sending.is_none() && now >= self.next_send;
        if is_idle && self.shared.begins() {
            self.count += 1;
            let sending = Sending { key: format!("key-{}", self.count), first: now, is_refused: false };
            self.sending = Some(sending);
            self.send_message().await?;
        } else if self.sending.as_ref().is_some_and(|it| it.is_refused) && now >= self.next_send {
            self.send_message().await?;
        }
        Ok(())
    }

    async fn send_message(&mut self) -> Result<()> {
        let Some(Sending { key, is_refused, .. }) = &mut self.sending else { return Ok(()) };
        *is_refused = false;
        let (key, text) = (key.clone(), format!("{key} of {}", self.history.user));
        let body = json!({"text": text});
        let send = json!({"type": "send", "ref": key, "room": self.shared.room(), "key": key, "body": body});
        self.history.records.push(Record::Sent { key, text });
        self.send(send).await
    }

    async fn send(&mut self, command: Value) -> Result<()> {
        self.asked = self.asked.or_else(|| Some(Instant::now()));
        if let Some(client) = &mut self.client
            && client.send(command).await.is_err()
        {
            self.disconnected();
        }
        Ok(())
    }

    fn disconnected(&mut self) {
        self.client = None;
        self.is_member = false;
        self.listed = None;
        self.asked = None;
        self.history.records.push(Record::Disconnected);
        self.shared.set_view(&self.history.user, None);
        // The answer is lost: the message is sent again.
        if let Some(sending) = &mut self.sending {
            sending.is_refused = true;
        }
    }

    fn take(&mut self, incoming: Incoming) -> Result<()> {
        let event = match incoming {
            Incoming::Event(event) => event,
            Incoming::Ping(_) | Incoming::Pong(_) => return Ok(()),
            Incoming::Close(_) | Incoming::End | Incoming::Reset => {
                self.disconnected();
                return Ok(());
            }
        };
        let field =
            |name: &str| event[name].as_str().map(ToOwned::to_owned).with_context(|| event.to_string());
        let number = |name: &str| event[name].as_u64().with_context(|| event.to_string());
        if event["ref"].is_string() {
            self.asked = None;
        }
        match event["type"].as_str() {
            Some("joined") => {
                let (epoch, head, first) = (field("epoch")?, number("seq")?, number("first")?);
                self.shared.set_epoch(&epoch);
                self.seen = self.seen.or(Some(head));
                self.reads_to = self.reads_to.map(|newest| newest.max(head));
                self.is_member = true;
                let recovered = event["recovered"] == true;
                self.record(Record::Joined { from: self.from, epoch, head, first, recovered });
            }
            Some("message") => {
                let (seq, at, key) = (number("seq")?, number("at")?, field("key")?);
                let text = event["body"]["text"].as_str().context("no text")?.to_owned();
                let user = event["user"]["id"].as_str().context("no user")?.to_owned();
                self.seen = Some(seq);
                self.record(Record::Received(Message { seq, user, at, key, text }));
            }
            Some("gap") => {
                let (from, to) = (number("from")?, number("to")?);
                self.seen = Some(to);
                self.record(Record::Gap { from, to });
            }
            Some("sent") => {
                let (key, seq) = (field("ref")?, number("seq")?);
                if let Some(sending) = self.sending.take_if(|sending| sending.key == key) {
                    self.shared.acknowledged(seq, sending.first.elapsed());
                }
                self.next_send = Instant::now() + PAUSE;
                self.record(Record::Acknowledged { key, seq, duplicate: event["duplicate"] == true });
            }
            Some("members") => {
                let members = event["members"].as_array().context("no members")?;
                let ids = members.iter().filter_map(|user| user["id"].as_str().map(ToOwned::to_owned));
                let listed: BTreeSet<_> = ids.collect();
                if self.listed.replace(listed.clone()).is_none() {
                    self.announced = listed;
                }
                self.show();
            }
            Some("presence") => {
                let user = event["user"]["id"].as_str().context("no user")?.to_owned();
                match event["state"].as_str() {
                    Some("joined") => drop(self.announced.insert(user)),
                    _ => drop(self.announced.remove(&user)),
                }
                self.show();
            }
            Some("error") => self.refused(&event)?,
            // 1012 and others: the connection ends, and the client comes back.
            Some("closing") => {}
            _ => bail!("{} must not receive {event}", self.history.user),
        }
        Ok(())
    }

    fn refused(&mut self, event: &Value) -> Result<()> {
        ensure!(event["code"] == "unavailable", "{}: {event}", self.history.user);
        match event["ref"].as_str() {
            Some("join") => self.disconnected(),
            Some("members") => {}
            _ => {
                self.shared.refused();
                self.next_send = Instant::now() + PAUSE;
                if let Some(sending) = &mut self.sending {
                    sending.is_refused = true;
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, record: Record) {
        self.history.records.push(record);
    }

    fn show(&self) {
        if let (true, Some(listed)) = (self.is_member, &self.listed) {
            let view = View { announced: self.announced.clone(), listed: listed.clone() };
            self.shared.set_view(&self.history.user, Some(view));
        }
    }
}
