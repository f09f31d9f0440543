use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use chat_tests::{Client, Daemon};
use serde_json::{Value, json};

use crate::talker::read_afresh;

/// What was said in the lobby while something failed, and what has become of it.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// None before anybody has joined.
    epoch: Option<String>,
    /// One that is over.
    past: Option<String>,
    /// The position of what was acknowledged, by its key.
    acknowledged: BTreeMap<String, u64>,
    /// The keys of what was refused, and not acknowledged since.
    refused: Vec<String>,
    /// How often something was said again and was there already.
    pub(crate) known: u64,
    /// The key of what was delivered to a witness, by its position.
    seen: BTreeMap<u64, String>,
}

/// Somebody who talks, and a witness.
#[derive(Debug)]
pub(crate) struct Talk {
    sender: Client,
    witness: Client,
    pub(crate) said: Said,
}

impl Talk {
    /// Joins, with what was said before.
    pub(crate) async fn begin(daemon: &Daemon, mut said: Said) -> Result<Self> {
        let mut sender = Client::connect(daemon.address(), "sender").await?;
        let mut witness = Client::connect(daemon.address(), "witness").await?;
        let mut join = json!({"type": "join", "room": "lobby"});
        let joined = sender.ask(join.clone(), "j").await?;
        let epoch = joined["epoch"].as_str().context("no epoch")?.to_owned();
        if let Some(before) = &said.epoch {
            ensure!(*before == epoch, "another epoch: no place was lost");
            join["after"] = json!({"epoch": epoch, "seq": said.seen.len()});
        }
        ensure!(said.past.as_ref() != Some(&epoch), "an epoch that was over");
        said.epoch = Some(epoch);
        ensure!(witness.ask(join, "j").await?["recovered"] == true);
        Ok(Self { sender, witness, said })
    }

    /// Says something; whether it was acknowledged, and if not, it was refused.
    pub(crate) async fn say(&mut self, key: &str) -> Result<bool> {
        let reply = self.sender.ask(send(key), key).await?;
        self.said.refused.retain(|refused| refused != key);
        if reply["type"] != "sent" {
            ensure!(reply["code"] == "unavailable", "{reply}");
            self.said.refused.push(key.to_owned());
            return Ok(false);
        }
        self.said.known += u64::from(reply["duplicate"] == true);
        let seq = reply["seq"].as_u64().context("no position")?;
        let before = self.said.acknowledged.insert(key.to_owned(), seq);
        ensure!(before.is_none_or(|before| before == seq), "{key} is at {seq}, and was at {before:?}");
        Ok(true)
    }

    /// Says something and does not wait for an answer; it counts as refused until there is one.
    pub(crate) async fn call(&mut self, key: &str) -> Result<()> {
        self.sender.send(send(key)).await?;
        self.said.refused.push(key.to_owned());
        Ok(())
    }

    /// What was said, and answered and seen until the server cuts both off.
    pub(crate) async fn cut_off(mut self) -> Said {
        while let Ok(event) = self.sender.next().await {
            if let (Some("sent"), Some(key), Some(seq)) =
                (event["type"].as_str(), event["ref"].as_str(), event["seq"].as_u64())
            {
                self.said.refused.retain(|refused| refused != key);
                self.said.acknowledged.insert(key.to_owned(), seq);
            }
        }
        while let Ok(event) = self.witness.next().await {
            if let (Some("message"), Some(key), Some(seq)) =
                (event["type"].as_str(), event["key"].as_str(), event["seq"].as_u64())
            {
                self.said.seen.insert(seq, key.to_owned());
            }
        }
        self.said
    }

    /// Says again what was refused.
    pub(crate) async fn say_again(&mut self) -> Result<()> {
        for key in self.said.refused.clone() {
            ensure!(self.say(&key).await?, "{key} is refused again");
        }
        Ok(())
    }

    /// Reads a page, whatever cannot be written.
    pub(crate) async fn read(&mut self) -> Result<()> {
        let page = json!({"type": "history", "room": "lobby", "before": 1_000, "limit": 1});
        let page = self.sender.ask(page, "h").await?;
        ensure!(page["type"] == "history", "{page}");
        Ok(())
    }

    /// Lets the witness hear everything up to what was acknowledged last, and both leave.
    pub(crate) async fn end(mut self) -> Result<Said> {
        let Said { acknowledged, seen, .. } = &mut self.said;
        let last = acknowledged.values().max().copied().unwrap_or_default();
        while (seen.len() as u64) < last {
            let message = self.witness.until("message").await?;
            let next = seen.len() as u64 + 1;
            ensure!(message["seq"] == next, "{message} is not {next}");
            seen.insert(next, message["key"].as_str().context("no key")?.to_owned());
        }
        self.sender.close(1000).await?;
        self.witness.close(1000).await?;
        Ok(self.said)
    }
}

impl Said {
    /// Another epoch is to begin, with all that was said.
    pub(crate) fn in_another_epoch(self) -> Self {
        Self { past: self.epoch, epoch: None, ..self }
    }

    /// Looks, on a server where nothing fails, at what is stored: all that was acknowledged and all that was seen, where
    /// it was, and each once. Then what was refused is said again, and is there once as well.
    pub(crate) async fn verify(self, daemon: &Daemon) -> Result<()> {
        let (_, stored) = read_afresh(daemon.address()).await?;
        self.compare(&stored)?;
        let mut talk = Talk::begin(daemon, self).await?;
        talk.say_again().await?;
        ensure!(talk.say("last").await?);
        let said = talk.end().await?;
        let (_, stored) = read_afresh(daemon.address()).await?;
        said.compare(&stored)?;
        ensure!(said.acknowledged.len() == stored.len() && said.seen == stored, "{said:?} is not {stored:?}");
        Ok(())
    }

    fn compare(&self, stored: &BTreeMap<u64, String>) -> Result<()> {
        for (key, seq) in &self.acknowledged {
            ensure!(stored.get(seq) == Some(key), "{key} was acknowledged at {seq}: {stored:?}");
        }
        for (seq, key) in &self.seen {
            ensure!(stored.get(seq) == Some(key), "{key} was seen at {seq}: {stored:?}");
        }
        for key in stored.values() {
            let count = stored.values().filter(|other| *other == key).count();
            ensure!(count == 1, "{key} is there {count} times");
            ensure!(self.acknowledged.contains_key(key) || self.refused.contains(key), "who said {key}?");
        }
        Ok(())
    }
}

/// A command that sends a long message, of which hardly two words are alike: the index has to have each.
fn send(key: &str) -> Value {
    let words = (1..400_u64).map(|n| format!("{:x} ", n * 2_654_435_761 % 4_294_967_291));
    let body = json!({"text": words.collect::<String>() + key});
    json!({"type": "send", "room": "lobby", "ref": key, "key": key, "body": body})
}
