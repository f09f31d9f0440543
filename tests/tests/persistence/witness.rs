use anyhow::{Context, Result, ensure};
use chat_tests::{Client, Daemon};
use serde_json::{Value, json};

use crate::writer::{KnownMessages, StoredLog};

/// The messages that a [`Conversation`] sent while something failed, and their results.
#[derive(Debug, Default)]
pub(crate) struct SentMessages {
    /// The current epoch, or `None` before the first join.
    epoch: Option<String>,
    /// An earlier epoch, which must not come back.
    past_epoch: Option<String>,
    /// The acknowledged messages, and those that the witness received.
    known: KnownMessages,
    /// The keys of messages that were refused and not acknowledged since.
    refused: Vec<String>,
    /// The number of acknowledgements that called a message a duplicate.
    pub(crate) duplicates: u64,
}

/// A sender in the room `lobby`, and a witness that receives its messages.
#[derive(Debug)]
pub(crate) struct Conversation {
    sender: Client,
    witness: Client,
    sent: SentMessages,
}

impl Conversation {
    /// Joins, after earlier messages.
    pub(crate) async fn begin(daemon: &Daemon, mut sent: SentMessages) -> Result<Self> {
        let mut sender = Client::connect(daemon.address(), "sender").await?;
        let mut witness = Client::connect(daemon.address(), "witness").await?;
        let epoch = sender.join(None).await?["epoch"].as_str().context("no epoch")?.to_owned();
        let last = sent.known.received.len() as u64;
        let after = sent.epoch.as_ref().map(|_| (&*epoch, last));
        ensure!(witness.join(after).await?["recovered"] == true, "the witness was not recovered");
        ensure!(sent.epoch.is_none_or(|before| before == epoch), "another epoch");
        ensure!(sent.past_epoch.as_ref() != Some(&epoch), "an earlier epoch is back");
        sent.epoch = Some(epoch);
        Ok(Self { sender, witness, sent })
    }

    /// Sends a message. Returns true if it was acknowledged, and false if it was refused.
    pub(crate) async fn send(&mut self, key: &str) -> Result<bool> {
        let reply = self.sender.ask(command(key)).await?;
        self.sent.refused.retain(|refused| refused != key);
        if reply["type"] != "sent" {
            ensure!(reply["code"] == "unavailable", "{reply}");
            self.sent.refused.push(key.to_owned());
            return Ok(false);
        }
        self.sent.duplicates += u64::from(reply["duplicate"] == true);
        let seq = reply["seq"].as_u64().context("no seq")?;
        let before = self.sent.known.acknowledged.insert(key.to_owned(), seq);
        ensure!(before.is_none_or(|before| before == seq), "{key} is at {seq}, and was at {before:?}");
        // A witness that does not read for a long time would be disconnected.
        self.receive_up_to(seq).await?;
        Ok(true)
    }

    /// Sends a message without waiting for the reply. It counts as refused until the reply comes.
    pub(crate) async fn send_without_waiting(&mut self, key: &str) -> Result<()> {
        self.sender.send(command(key)).await?;
        self.sent.refused.push(key.to_owned());
        Ok(())
    }

    /// Receives until the server ends both connections.
    pub(crate) async fn wait_for_end(mut self) -> SentMessages {
        let known = &mut self.sent.known;
        while let Ok(event) = self.sender.event().await {
            if let (Some("sent"), Some(key), Some(seq)) =
                (event["type"].as_str(), event["ref"].as_str(), event["seq"].as_u64())
            {
                self.sent.refused.retain(|refused| refused != key);
                known.acknowledged.insert(key.to_owned(), seq);
            }
        }
        while let Ok(event) = self.witness.event().await {
            if let (Some("message"), Some(key), Some(seq)) =
                (event["type"].as_str(), event["key"].as_str(), event["seq"].as_u64())
            {
                known.received.insert(seq, key.to_owned());
            }
        }
        self.sent
    }

    /// Sends the refused messages again. The server must accept them.
    pub(crate) async fn retry_refused(&mut self) -> Result<()> {
        for key in self.sent.refused.clone() {
            ensure!(self.send(&key).await?, "{key} is refused again");
        }
        Ok(())
    }

    /// Reads a page of history, which must work even if nothing can be written.
    pub(crate) async fn read_page(&mut self) -> Result<()> {
        let page = json!({"type": "history", "room": "lobby", "before": 1_000, "limit": 1});
        let page = self.sender.ask(page).await?;
        ensure!(page["type"] == "history", "{page}");
        Ok(())
    }

    /// Waits until the witness has received every message up to `seq`.
    async fn receive_up_to(&mut self, seq: u64) -> Result<()> {
        let received = &mut self.sent.known.received;
        while (received.len() as u64) < seq {
            let message = self.witness.until("message").await?;
            let next = received.len() as u64 + 1;
            ensure!(message["seq"] == next, "{message} instead of {next}");
            received.insert(next, message["key"].as_str().context("no key")?.to_owned());
        }
        Ok(())
    }

    /// Waits until the witness has received every acknowledged message, and closes both connections.
    pub(crate) async fn finish(mut self) -> Result<SentMessages> {
        let last = self.sent.known.acknowledged.values().max().copied().unwrap_or_default();
        self.receive_up_to(last).await?;
        self.sender.close(1000).await?;
        self.witness.close(1000).await?;
        Ok(self.sent)
    }
}

impl SentMessages {
    /// Expects a new epoch at the next join.
    pub(crate) fn expect_new_epoch(self) -> Self {
        Self { past_epoch: self.epoch, epoch: None, ..self }
    }

    /// Checks the stored messages on a server without faults: every acknowledged or received message is stored once, at
    /// its position. Then sends the refused messages again, and checks that each is stored once.
    pub(crate) async fn verify(self, daemon: &Daemon) -> Result<()> {
        self.check_stored(&StoredLog::read(daemon.address()).await?)?;
        let mut conversation = Conversation::begin(daemon, self).await?;
        conversation.retry_refused().await?;
        ensure!(conversation.send("last").await?, "a send is refused");
        let sent = conversation.finish().await?;
        let log = StoredLog::read(daemon.address()).await?;
        sent.check_stored(&log)?;
        let KnownMessages { acknowledged, received } = &sent.known;
        ensure!(acknowledged.len() == log.messages.len(), "{sent:?}, but {log:?}");
        ensure!(*received == log.messages, "{sent:?}, but {log:?}");
        Ok(())
    }

    fn check_stored(&self, log: &StoredLog) -> Result<()> {
        log.check_contains(&self.known)?;
        for key in log.messages.values() {
            let is_own = self.known.acknowledged.contains_key(key) || self.refused.contains(key);
            ensure!(is_own, "{key} was never sent");
        }
        Ok(())
    }
}

/// Returns a command that sends a long message. Its words differ, so the search index must store each.
fn command(key: &str) -> Value {
    let words = (1..400_u64).map(|n| format!("{:x} ", n * 2_654_435_761 % 4_294_967_291));
    let body = json!({"text": words.collect::<String>() + key});
    json!({"type": "send", "room": "lobby", "ref": key, "key": key, "body": body})
}
