//! Plays a script step by step and compares the received events with the predicted ones.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use chat_conformance::client::Frame;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::expected::{Expectation, ExpectedEvent, Termination};
use super::model::{ClientEnd, Model};
use super::node::Node;
use super::step::{CLIENTS, ROOMS, Step, label};
use crate::{Client, Incoming, eventually};

/// Round trips after which a missing event counts as lost. A join reads its messages from the log, so they may come
/// after replies to later commands. Each round trip gives the session another turn.
const ROUNDS: usize = 50;

/// The time after which a missing event counts as lost, if it may come from another node.
const PATIENCE: Duration = Duration::from_secs(20);

/// The time for notices of a second connection of a user. No node shows if it has heard of them.
const UNSEEN: Duration = Duration::from_millis(50);

/// Plays a script in a chat, whose nodes get the connections in turn. Returns the received events without their random
/// parts.
///
/// # Errors
///
/// Fails with the number of the first step that contradicts the model, and the reason. The end of the script counts as
/// one more step.
pub(super) async fn play(nodes: &mut [Node], script: &[Step]) -> Result<Vec<String>, (usize, Error)> {
    let mut play = Play {
        model: Model::new(nodes.len() > 1),
        nodes,
        connections: 0,
        members: BTreeMap::new(),
        clients: [const { None }; CLIENTS.len()],
        times: BTreeMap::new(),
        transcript: Vec::new(),
    };
    for (index, step) in script.iter().enumerate() {
        play.step(index + 1, step).await.map_err(|why| (index + 1, why))?;
    }
    play.conclude().await.map_err(|why| (script.len() + 1, why))
}

struct Play<'s> {
    nodes: &'s mut [Node],
    /// The number of connections so far.
    connections: usize,
    /// The clients in each room after the last step.
    members: BTreeMap<usize, Vec<usize>>,
    model: Model,
    clients: [Option<Client>; CLIENTS.len()],
    /// The commit time of each message, as first received.
    times: BTreeMap<(String, u64), Value>,
    transcript: Vec<String>,
}

impl Play<'_> {
    async fn step(&mut self, number: usize, step: &Step) -> Result<()> {
        let actor = step.client;
        if self.clients[actor].is_none() {
            self.connect(number, actor).await?;
        }
        let mut prediction = self.model.apply(number, step);
        let mut client = self.clients[actor].take().context("not connected")?;
        let expected = mem::take(&mut prediction.expected[actor]);
        if expected.ends == Some(Termination::Close) {
            // A server that does not close answers this ping.
            prediction.bytes.extend(sync());
        }
        client.write(&prediction.bytes).await?;
        match prediction.client_end {
            Some(ClientEnd::Reset) => client.reset()?,
            client_end => {
                if client_end.is_some() {
                    client.half_close().await?;
                }
                let received = if let Some(ends) = expected.ends {
                    receive_until_end(&mut client, ends).await?
                } else {
                    ask(&mut client).await?;
                    receive_until_sync(&mut client, &expected, self.patience()).await?
                };
                self.compare(number, actor, &expected, received)?;
                self.clients[actor] = expected.ends.is_none().then_some(client);
            }
        }
        let wanted = self.model.connections();
        eventually(|| async { Ok(self.sessions() == wanted) })
            .await
            .with_context(|| format!("{} sessions for {wanted}", self.sessions()))?;
        self.others(number, Some(actor), &prediction.expected).await?;
        self.settle().await
    }

    /// Returns the time in which an event must come, beside the [`ROUNDS`].
    fn patience(&self) -> Duration {
        if self.nodes.len() > 1 { PATIENCE } else { Duration::ZERO }
    }

    fn sessions(&self) -> usize {
        self.nodes.iter().map(|node| node.chat.counts().sessions).sum()
    }

    /// Waits until each of several nodes knows the users and the entries of all rooms: an order of events holds on one
    /// node only.
    async fn settle(&mut self) -> Result<()> {
        if self.nodes.len() > 1 {
            for (index, name) in ROOMS.into_iter().enumerate() {
                let (head, users) = (self.model.head(index), self.model.users(index));
                for node in &mut *self.nodes {
                    node.reach(index, head).await.with_context(|| format!("{name} at {head}"))?;
                    node.know(index, &users).await.with_context(|| format!("{users:?} in {name}"))?;
                }
                let members = self.model.members(index);
                let has_second = members.len() > users.len();
                if self.members.insert(index, members.clone()) != Some(members) && has_second {
                    sleep(UNSEEN).await;
                }
            }
        }
        Ok(())
    }

    /// Checks that all other clients receive exactly the predicted events.
    async fn others(&mut self, number: usize, actor: Option<usize>, expected: &[Expectation]) -> Result<()> {
        let others = || (0..CLIENTS.len()).filter(|other| Some(*other) != actor);
        let patience = self.patience();
        for other in others() {
            if let Some(client) = &mut self.clients[other] {
                ask(client).await?;
            }
        }
        for other in others() {
            if let Some(client) = &mut self.clients[other] {
                let received = receive_until_sync(client, &expected[other], patience).await?;
                self.compare(number, other, &expected[other], received)?;
            }
        }
        Ok(())
    }

    async fn connect(&mut self, number: usize, client: usize) -> Result<()> {
        let node = &self.nodes[self.connections % self.nodes.len()];
        self.connections += 1;
        let mut raw = Client::open(node.server.address(), CLIENTS[client]).await?;
        let expected = self.model.connect(client);
        let received = vec![raw.receive().await?];
        self.compare(number, client, &expected, received)?;
        self.clients[client] = Some(raw);
        Ok(())
    }

    /// Checks that no event is left over, and that every session ends.
    async fn conclude(mut self) -> Result<Vec<String>> {
        let nothing: [Expectation; CLIENTS.len()] = Default::default();
        self.others(0, None, &nothing).await?;
        for client in self.clients.iter_mut().filter_map(Option::take) {
            client.reset()?;
        }
        eventually(|| async { Ok(self.sessions() == 0) }).await.context("a session is left")?;
        for (index, room) in ROOMS.into_iter().enumerate() {
            for node in &*self.nodes {
                if self.nodes.len() > 1 {
                    node.know(index, &BTreeSet::new()).await.with_context(|| format!("the end of {room}"))?;
                }
                let members = node.chat.members(&room.parse()?);
                ensure!(members.is_empty(), "{members:?} are left in {room}");
            }
        }
        Ok(self.transcript)
    }

    fn compare(
        &mut self,
        number: usize,
        client: usize,
        expected: &Expectation,
        received: Vec<Incoming>,
    ) -> Result<()> {
        let mut lines = Vec::new();
        let received =
            received.into_iter().map(|received| self.plain(received)).collect::<Result<Vec<_>>>()?;
        let received = self.without_late_typing(client, expected, received);
        let found = expected.find(&received).map_err(|why| anyhow::anyhow!("{} {why}", label(client)))?;
        for (event, expected) in received.iter().zip(found) {
            if event["type"] == "joined"
                && let (Some(room), Some(epoch)) = (event["room"].as_str(), event["epoch"].as_str())
            {
                self.model.learn_epoch(room, epoch);
            }
            if !expected.optional {
                lines.push(format!("{number} {}: {}", label(client), timeless(event, expected)));
            }
        }
        // Events of different sources may come in any order.
        lines.sort();
        self.transcript.extend(lines);
        Ok(())
    }

    /// Removes the events about typing that depend on the time: all but the first predicted one.
    fn without_late_typing(&self, client: usize, expected: &Expectation, received: Vec<Value>) -> Vec<Value> {
        let mut predicted = Vec::new();
        let is_kept = |event: &Value| {
            let is_first = expected.contains(event) && !predicted.contains(event);
            if is_first && event["type"] == "typing" {
                predicted.push(event.clone());
            }
            is_first || !self.model.may_come_later(client, event)
        };
        received.into_iter().filter(is_kept).collect()
    }

    /// Checks the unpredictable parts of a received message and returns the rest as JSON.
    fn plain(&mut self, received: Incoming) -> Result<Value> {
        let mut event = match received {
            Incoming::Event(event) => event,
            Incoming::Ping(_) => return Ok(json!({"frame": "ping"})),
            Incoming::Pong(payload) => {
                return Ok(json!({"frame": "pong", "payload": String::from_utf8(payload)?}));
            }
            Incoming::Close(code) => return Ok(json!({"frame": "close", "code": code})),
            Incoming::End => return Ok(json!({"frame": "end"})),
            Incoming::Reset => return Ok(json!({"frame": "reset"})),
        };
        match event["type"].as_str() {
            Some("message" | "changed" | "sent") => self.committed(&event["room"], &event)?,
            Some("history" | "found") => {
                for message in event["messages"].as_array().context("no messages")? {
                    self.committed(&event["room"], message)?;
                }
            }
            Some("error") => {
                ensure!(event["message"].is_string(), "an error without a message: {event}");
                if event.get("room").is_none() {
                    event["room"] = Value::Null;
                }
            }
            _ => {}
        }
        Ok(event)
    }

    /// Checks that a message always has the same commit time.
    fn committed(&mut self, room: &Value, message: &Value) -> Result<()> {
        let room = room.as_str().context("no room")?.to_owned();
        let seq = message["seq"].as_u64().context("no seq")?;
        ensure!(message["at"].is_u64(), "no time: {message}");
        let known = self.times.entry((room, seq)).or_insert_with(|| message["at"].clone());
        ensure!(*known == message["at"], "{message} was committed at {known} before");
        Ok(())
    }
}

/// Sends a ping. Its reply shows that the server has processed everything before it.
async fn ask(client: &mut Client) -> Result<()> {
    client.write(&sync()).await
}

fn sync() -> Vec<u8> {
    Frame::text(r#"{"type":"ping","ref":"sync"}"#).encode()
}

fn is_sync(event: &Value) -> bool {
    event["type"] == "pong" && event["ref"] == "sync"
}

/// Receives until the reply to a ping, and until all expected events have come or count as lost.
async fn receive_until_sync(
    client: &mut Client,
    expected: &Expectation,
    patience: Duration,
) -> Result<Vec<Incoming>> {
    let (mut received, since) = (Vec::new(), Instant::now());
    for round in 1.. {
        loop {
            match client.receive().await? {
                Incoming::Event(event) if is_sync(&event) => break,
                end @ (Incoming::Close(_) | Incoming::End | Incoming::Reset) => {
                    received.push(end);
                    return Ok(received);
                }
                other => received.push(other),
            }
        }
        let is_predicted = |received: &&Incoming| match received {
            Incoming::Event(event) => event["type"] != "typing" || expected.contains(event),
            _ => true,
        };
        let predicted = received.iter().filter(is_predicted).count();
        let is_late = predicted >= expected.required() || since.elapsed() >= patience;
        if predicted >= expected.count() || round >= ROUNDS && is_late {
            break;
        }
        ask(client).await?;
    }
    Ok(received)
}

/// Receives until the end of the connection. Answers the close frame of a server that closed first.
async fn receive_until_end(client: &mut Client, ends: Termination) -> Result<Vec<Incoming>> {
    let mut received = Vec::new();
    loop {
        let next = client.receive().await?;
        received.push(next.clone());
        match next {
            Incoming::End | Incoming::Reset => return Ok(received),
            Incoming::Event(event) if is_sync(&event) => return Ok(received),
            Incoming::Close(code) if ends != Termination::End => {
                let payload = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
                // After a violation the server may have ended the connection already.
                let _answered = client.write(&Frame::new(8, payload).encode()).await;
                return Ok(received);
            }
            _ => {}
        }
    }
}

/// Replaces the times in an event.
fn hide_times(event: &mut Value) {
    match event {
        Value::Object(fields) => {
            for (field, value) in fields {
                if field == "at" { *value = json!("...") } else { hide_times(value) }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide_times),
        _ => {}
    }
}

/// Returns an event without the parts that differ between servers.
fn timeless(event: &Value, expected: &ExpectedEvent) -> String {
    let mut event = event.clone();
    // Only the time decides whether an entry comes from the tail of its room or from the log.
    if expected.has_other_form() {
        event = json!({"room": event["room"], "seq": event["seq"]});
    }
    for field in ["epoch", "connection"] {
        if event.get(field).is_some() {
            event[field] = json!("...");
        }
    }
    hide_times(&mut event);
    // A framework may choose between several close codes, but not between errors of a command.
    if event["type"] != "error" && expected.leaves_code_open() {
        event["code"] = json!("...");
        event["reason"] = json!("...");
    }
    event.to_string()
}
