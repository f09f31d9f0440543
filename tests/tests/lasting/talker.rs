use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use chat_tests::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

/// A client that talks in the lobby, remembers what it has seen, and goes on where it was when the server comes back.
#[derive(Debug)]
pub(crate) struct Talker {
    name: String,
    /// The epoch and the last position that it has seen.
    place: Option<(String, u64)>,
    said: u64,
    /// What it has sent and not been answered for.
    pending: Option<String>,
    /// Messages seen, by position: the key of each.
    pub(crate) seen: BTreeMap<u64, String>,
    /// Its own that were acknowledged, by key: the position of each.
    pub(crate) acknowledged: BTreeMap<String, u64>,
    /// Times that a repeated message was known.
    pub(crate) known: u64,
}

impl Talker {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            place: None,
            said: 0,
            pending: None,
            seen: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            known: 0,
        }
    }

    pub(crate) fn epoch(&self) -> Option<&str> {
        self.place.as_ref().map(|(epoch, _)| epoch.as_str())
    }

    /// Says one thing after the other until the connection ends; each acknowledged position goes to `told`.
    pub(crate) async fn talk(&mut self, address: SocketAddr, told: &UnboundedSender<u64>) -> Result<()> {
        // The server may be gone already.
        let Ok(client) = Client::connect(address, &self.name).await else { return Ok(()) };
        let Some(mut client) = self.join(client).await? else { return Ok(()) };
        while self.say(&mut client).await? {
            // Whoever counts may have counted enough.
            let _enough = told.send(self.acknowledged.len() as u64);
        }
        Ok(())
    }

    /// Comes back, sends again what was not answered, and reads up to a last message of its own.
    pub(crate) async fn catch_up(&mut self, address: SocketAddr) -> Result<()> {
        let client = Client::connect(address, &self.name).await?;
        let mut client = self.join(client).await?.context("no answer to a join")?;
        if self.pending.is_some() {
            ensure!(self.say(&mut client).await?, "the connection was lost");
        }
        ensure!(self.say(&mut client).await?, "the connection was lost");
        let last = self.acknowledged.values().max().copied().unwrap_or_default();
        while !self.seen.contains_key(&last) {
            let event = client.next().await?;
            self.hear(&event)?;
        }
        client.close(1000).await?;
        Ok(())
    }

    /// Joins where it was; none if the connection was lost meanwhile.
    async fn join(&mut self, mut client: Client) -> Result<Option<Client>> {
        let mut command = json!({"type": "join", "room": "lobby"});
        if let Some((epoch, seq)) = &self.place {
            command["after"] = json!({"epoch": epoch, "seq": seq});
        }
        let Ok(joined) = client.ask(command, "join").await else { return Ok(None) };
        ensure!(joined["type"] == "joined" && joined["recovered"] == true, "{}: {joined}", self.name);
        let epoch = joined["epoch"].as_str().context("no epoch")?;
        match &self.place {
            Some((before, _)) => ensure!(before == epoch, "another epoch"),
            None => self.place = Some((epoch.to_owned(), joined["seq"].as_u64().context("no head")?)),
        }
        Ok(Some(client))
    }

    /// Says something, or again what was not answered; false if the connection was lost.
    async fn say(&mut self, client: &mut Client) -> Result<bool> {
        let key = match self.pending.take() {
            Some(key) => key,
            None => {
                self.said += 1;
                format!("{}-{}", self.name, self.said)
            }
        };
        self.pending = Some(key.clone());
        let command = json!({"type": "send", "room": "lobby", "ref": key, "key": key, "body": {"text": key}});
        if client.send(command).await.is_err() {
            return Ok(false);
        }
        loop {
            let Ok(event) = client.next().await else { return Ok(false) };
            if event["ref"] != key.as_str() {
                self.hear(&event)?;
                continue;
            }
            ensure!(event["type"] == "sent", "{event}");
            let seq = event["seq"].as_u64().context("no position")?;
            self.known += u64::from(event["duplicate"] == true);
            self.pending = None;
            let before = self.acknowledged.insert(key, seq);
            ensure!(before.is_none(), "acknowledged twice");
            return Ok(true);
        }
    }

    fn hear(&mut self, event: &Value) -> Result<()> {
        match event["type"].as_str() {
            Some("message") => {}
            Some("presence") => return Ok(()),
            _ => bail!("{}: {event}", self.name),
        }
        let (_, last) = self.place.as_mut().context("a message before a join")?;
        let seq = event["seq"].as_u64().context("no position")?;
        ensure!(seq == *last + 1, "{}: {seq} after {last}", self.name);
        *last = seq;
        let key = event["key"].as_str().context("no key")?;
        ensure!(event["body"]["text"] == key, "{event}");
        self.seen.insert(seq, key.to_owned());
        Ok(())
    }
}

/// All that a room holds, read afresh: the key of each message by position, from 1 on and without a hole.
pub(crate) async fn read_afresh(address: SocketAddr) -> Result<(String, BTreeMap<u64, String>)> {
    let mut client = Client::connect(address, "reader").await?;
    let joined = client.ask(json!({"type": "join", "room": "lobby"}), "join").await?;
    let mut stored = BTreeMap::new();
    loop {
        let after = stored.len();
        let command = json!({"type": "history", "room": "lobby", "after": after, "limit": 200});
        let page = client.ask(command, "page").await?;
        for message in page["messages"].as_array().context("no page")? {
            ensure!(message["seq"] == stored.len() + 1, "a hole before {message}");
            let key = message["key"].as_str().context("no key")?.to_owned();
            stored.insert(stored.len() as u64 + 1, key);
        }
        if page["more"] == false {
            break;
        }
    }
    ensure!(joined["seq"] == stored.len(), "{joined} but {} messages", stored.len());
    client.close(1000).await?;
    Ok((joined["epoch"].as_str().context("no epoch")?.to_owned(), stored))
}
