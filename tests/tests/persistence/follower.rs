use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use chat_tests::Client;
use serde_json::{Value, json};

/// The messages of a room in their present form, by position.
pub(crate) type Messages = BTreeMap<u64, Value>;

/// A client that follows the room `lobby` through restarts, and applies each change to the messages that it has.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// The epoch and the last entry that was applied.
    cursor: Option<(String, u64)>,
    pub(crate) messages: Messages,
}

impl Follower {
    /// Joins at the cursor.
    pub(crate) async fn join(&mut self, address: SocketAddr) -> Result<Client> {
        let mut client = Client::connect(address, "follower").await?;
        let after = self.cursor.as_ref().map(|(epoch, seq)| (&**epoch, *seq));
        let joined = client.join(after).await?;
        ensure!(joined["recovered"] == true, "{joined}");
        let epoch = joined["epoch"].as_str().context("no epoch")?;
        match &self.cursor {
            Some((before, _)) => ensure!(before == epoch, "another epoch"),
            None => {
                ensure!(joined["seq"] == 0, "the first join is after the first entry");
                self.cursor = Some((epoch.to_owned(), 0));
            }
        }
        Ok(client)
    }

    /// Applies entries until the connection ends.
    pub(crate) async fn follow(&mut self, mut client: Client) -> Result<()> {
        while let Ok(event) = client.event().await {
            self.apply(&event)?;
        }
        Ok(())
    }

    /// Joins, and applies all entries up to the newest.
    pub(crate) async fn catch_up(&mut self, address: SocketAddr) -> Result<()> {
        let mut other = Client::connect(address, "other").await?;
        let head = other.join(None).await?["seq"].as_u64().context("no head")?;
        let mut client = self.join(address).await?;
        while self.cursor.as_ref().is_some_and(|(_, seq)| *seq < head) {
            let event = client.event().await?;
            self.apply(&event)?;
        }
        Ok(())
    }

    fn apply(&mut self, event: &Value) -> Result<()> {
        let kind = event["type"].as_str().unwrap_or_default();
        if !["message", "changed"].contains(&kind) {
            ensure!(["presence", "closing"].contains(&kind), "{event}");
            return Ok(());
        }
        let (_, last) = self.cursor.as_mut().context("an entry before a join")?;
        let seq = event["seq"].as_u64().context("no seq")?;
        ensure!(seq == *last + 1, "{seq} after {last}");
        *last = seq;
        if kind == "message" {
            self.messages.insert(seq, event.clone());
            return Ok(());
        }
        let target = event["target"].as_u64().context("no target")?;
        let message = self.messages.get_mut(&target).with_context(|| format!("no message: {event}"))?;
        let rev = message.get("rev").and_then(Value::as_u64).unwrap_or(target);
        if event["what"] != "superseded" && seq > rev {
            message["rev"] = json!(seq);
            change(message, event)?;
        }
        Ok(())
    }
}

/// Applies a change to its message.
fn change(message: &mut Value, event: &Value) -> Result<()> {
    let fields = message.as_object_mut().context("no object")?;
    match event["what"].as_str().unwrap_or_default() {
        "edited" => {
            fields.insert("body".to_owned(), event["body"].clone());
            fields.insert("edited".to_owned(), json!({"at": event["at"]}));
            for reaction in fields.get_mut("reactions").and_then(Value::as_array_mut).into_iter().flatten() {
                reaction["stale"] = reaction["count"].clone();
            }
        }
        "deleted" => {
            fields.retain(|field, _| !["key", "body", "edited", "reactions"].contains(&&**field));
            fields.insert("deleted".to_owned(), json!({"at": event["at"], "by": event["by"]}));
        }
        "reactions" if event["reactions"] == json!([]) => drop(fields.remove("reactions")),
        "reactions" => drop(fields.insert("reactions".to_owned(), event["reactions"].clone())),
        what => anyhow::bail!("an unknown change: {what}"),
    }
    Ok(())
}
