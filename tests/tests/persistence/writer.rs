use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use chat_tests::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

/// Messages that clients know of.
#[derive(Debug, Default)]
pub(crate) struct KnownMessages {
    /// The position of each acknowledged message, by key.
    pub(crate) acknowledged: BTreeMap<String, u64>,
    /// The key of each received message, by position.
    pub(crate) received: BTreeMap<u64, String>,
}

/// The messages of the room `lobby`, as a new client reads them.
#[derive(Debug)]
pub(crate) struct StoredLog {
    pub(crate) epoch: String,
    /// The key of each message, by position.
    pub(crate) messages: BTreeMap<u64, String>,
}

impl StoredLog {
    /// Reads the log. Checks that its positions start at 1, and that no position is missing and no key occurs twice.
    pub(crate) async fn read(address: SocketAddr) -> Result<Self> {
        let mut client = Client::connect(address, "reader").await?;
        let joined = client.join(None).await?;
        let mut messages = BTreeMap::new();
        loop {
            let after = messages.len();
            let command = json!({"type": "history", "room": "lobby", "after": after, "limit": 200});
            let page = client.ask(command).await?;
            for message in page["messages"].as_array().context("no page")? {
                ensure!(message["seq"] == messages.len() + 1, "a hole before {message}");
                let key = message["key"].as_str().context("no key")?.to_owned();
                messages.insert(messages.len() as u64 + 1, key);
            }
            if page["more"] == false {
                break;
            }
        }
        ensure!(joined["seq"] == messages.len(), "{joined}, but {} messages", messages.len());
        client.close(1000).await?;
        let keys: BTreeSet<_> = messages.values().collect();
        ensure!(keys.len() == messages.len(), "a key occurs twice: {messages:?}");
        Ok(Self { epoch: joined["epoch"].as_str().context("no epoch")?.to_owned(), messages })
    }

    /// Checks that all known messages are in the log, at their positions.
    pub(crate) fn check_contains(&self, known: &KnownMessages) -> Result<()> {
        let acknowledged = known.acknowledged.iter().map(|(key, seq)| (seq, key, "acknowledged"));
        let received = known.received.iter().map(|(seq, key)| (seq, key, "received"));
        for (seq, key, event) in acknowledged.chain(received) {
            ensure!(self.messages.get(seq) == Some(key), "{key} was {event} at {seq}: {self:?}");
        }
        Ok(())
    }
}

/// A client that sends messages to the room `lobby`, and resumes where it was after the server restarts.
#[derive(Debug)]
pub(crate) struct Writer {
    name: String,
    /// The epoch and the last position seen.
    cursor: Option<(String, u64)>,
    sent: u64,
    /// The key of a message that was sent and not acknowledged.
    pending: Option<String>,
    pub(crate) known: KnownMessages,
}

impl Writer {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), cursor: None, sent: 0, pending: None, known: KnownMessages::default() }
    }

    pub(crate) fn epoch(&self) -> Option<&str> {
        self.cursor.as_ref().map(|(epoch, _)| epoch.as_str())
    }

    /// Sends messages, one at a time, until the connection ends. Reports each acknowledgement to `progress`.
    pub(crate) async fn write(&mut self, address: SocketAddr, progress: &UnboundedSender<()>) -> Result<()> {
        // The server may have crashed already.
        let Ok(client) = Client::connect(address, &self.name).await else { return Ok(()) };
        let Some(mut client) = self.join(client).await? else { return Ok(()) };
        while self.send(&mut client).await? {
            // The receiver stops once it has counted enough.
            let _stopped = progress.send(());
        }
        Ok(())
    }

    /// Resumes, repeats a pending message, sends another one, and reads up to it.
    pub(crate) async fn catch_up(&mut self, address: SocketAddr) -> Result<()> {
        let client = Client::connect(address, &self.name).await?;
        let mut client = self.join(client).await?.context("no reply to a join")?;
        if self.pending.is_some() {
            ensure!(self.send(&mut client).await?, "the connection was lost");
        }
        ensure!(self.send(&mut client).await?, "the connection was lost");
        let last = self.known.acknowledged.values().max().copied().unwrap_or_default();
        while !self.known.received.contains_key(&last) {
            let event = client.event().await?;
            self.record(&event)?;
        }
        client.close(1000).await?;
        Ok(())
    }

    /// Joins at the cursor. Returns `None` if the connection is lost.
    async fn join(&mut self, mut client: Client) -> Result<Option<Client>> {
        let mut command = json!({"type": "join", "room": "lobby"});
        if let Some((epoch, seq)) = &self.cursor {
            command["after"] = json!({"epoch": epoch, "seq": seq});
        }
        let Ok(joined) = client.ask(command).await else { return Ok(None) };
        ensure!(joined["type"] == "joined" && joined["recovered"] == true, "{}: {joined}", self.name);
        let epoch = joined["epoch"].as_str().context("no epoch")?;
        match &self.cursor {
            Some((before, _)) => ensure!(before == epoch, "another epoch"),
            None => self.cursor = Some((epoch.to_owned(), joined["seq"].as_u64().context("no head")?)),
        }
        Ok(Some(client))
    }

    /// Sends the pending message or a new one. Returns false if the connection is lost.
    async fn send(&mut self, client: &mut Client) -> Result<bool> {
        let key = match self.pending.take() {
            Some(key) => key,
            None => {
                self.sent += 1;
                format!("{}-{}", self.name, self.sent)
            }
        };
        self.pending = Some(key.clone());
        let command = json!({"type": "send", "room": "lobby", "ref": key, "key": key, "body": {"text": key}});
        if client.send(command).await.is_err() {
            return Ok(false);
        }
        loop {
            let Ok(event) = client.event().await else { return Ok(false) };
            if event["ref"] != key.as_str() {
                self.record(&event)?;
                continue;
            }
            ensure!(event["type"] == "sent", "{event}");
            self.pending = None;
            let before = self.known.acknowledged.insert(key, event["seq"].as_u64().context("no seq")?);
            ensure!(before.is_none(), "acknowledged twice");
            return Ok(true);
        }
    }

    fn record(&mut self, event: &Value) -> Result<()> {
        match event["type"].as_str() {
            Some("message") => {}
            Some("presence") => return Ok(()),
            _ => bail!("{}: {event}", self.name),
        }
        let (_, last) = self.cursor.as_mut().context("a message before a join")?;
        let seq = event["seq"].as_u64().context("no seq")?;
        ensure!(seq == *last + 1, "{}: {seq} after {last}", self.name);
        *last = seq;
        let key = event["key"].as_str().context("no key")?;
        ensure!(event["body"]["text"] == key, "{event}");
        self.known.received.insert(seq, key.to_owned());
        Ok(())
    }
}
