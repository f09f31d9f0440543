//! Plays a script, step by step, and compares what comes with what must come.

use std::collections::BTreeMap;
use std::mem;
use std::net::SocketAddr;

use anyhow::{Context, Error, Result, ensure};
use chat_conformance::client::Frame;
use chat_core::Chat;
use serde_json::{Value, json};

use super::model::{Leaving, Model};
use super::stage::until;
use super::step::{CLIENTS, ROOMS, Step, label};
use super::told::{Expected, Last, Told};
use crate::raw::{Heard, RawClient};

/// Round trips after which what has not come will not come. What a join asks for is read from the log, and may come
/// after replies to later commands; each of these gives the session another turn.
const ROUNDS: usize = 50;

/// Plays a script in a chat, against the model; what was told in each step, without what is random.
///
/// # Errors
///
/// The step in which it goes another way, the one after the last for the end, and how.
pub(super) async fn play(
    chat: &Chat,
    address: SocketAddr,
    script: &[Step],
) -> Result<Vec<String>, (usize, Error)> {
    let mut play = Play {
        chat,
        address,
        model: Model::default(),
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
    chat: &'s Chat,
    address: SocketAddr,
    model: Model,
    clients: [Option<RawClient>; CLIENTS.len()],
    /// When each message was committed, by whoever told it first.
    times: BTreeMap<(String, u64), Value>,
    transcript: Vec<String>,
}

impl Play<'_> {
    async fn step(&mut self, number: usize, step: &Step) -> Result<()> {
        let actor = step.client;
        if self.clients[actor].is_none() {
            self.connect(number, actor).await?;
        }
        let mut prediction = self.model.take(number, step);
        let mut client = self.clients[actor].take().context("not connected")?;
        let told = mem::take(&mut prediction.told[actor]);
        if told.ends == Some(Last::Close) {
            // Of a server that does not close, the reply shows that it does not.
            prediction.bytes.extend(sync());
        }
        client.write(&prediction.bytes).await?;
        match prediction.leaving {
            Some(Leaving::Reset) => client.reset()?,
            leaving => {
                if leaving.is_some() {
                    client.half_close().await?;
                }
                let heard = if let Some(ends) = told.ends {
                    farewell(&mut client, ends).await?
                } else {
                    ask(&mut client).await?;
                    listen(&mut client, &told).await?
                };
                self.compare(number, actor, &told, heard)?;
                self.clients[actor] = told.ends.is_none().then_some(client);
            }
        }
        let wanted = self.model.connections();
        let has_left = || self.chat.counts().sessions == wanted;
        until(has_left)
            .await
            .with_context(|| format!("{} sessions for {wanted}", self.chat.counts().sessions))?;
        self.others(number, Some(actor), &prediction.told).await
    }

    /// Everybody else gets what they must, and nothing but that.
    async fn others(&mut self, number: usize, actor: Option<usize>, told: &[Told]) -> Result<()> {
        let others = || (0..CLIENTS.len()).filter(|other| Some(*other) != actor);
        for other in others() {
            if let Some(client) = &mut self.clients[other] {
                ask(client).await?;
            }
        }
        for other in others() {
            if let Some(client) = &mut self.clients[other] {
                let heard = listen(client, &told[other]).await?;
                self.compare(number, other, &told[other], heard)?;
            }
        }
        Ok(())
    }

    async fn connect(&mut self, number: usize, client: usize) -> Result<()> {
        let mut raw = RawClient::connect(self.address, CLIENTS[client], false).await?;
        let told = self.model.connect(client);
        let heard = vec![raw.next().await?];
        self.compare(number, client, &told, heard)?;
        self.clients[client] = Some(raw);
        Ok(())
    }

    /// Nothing more comes, and everything can be left.
    async fn conclude(mut self) -> Result<Vec<String>> {
        let nothing: [Told; CLIENTS.len()] = Default::default();
        self.others(0, None, &nothing).await?;
        for client in self.clients.iter_mut().filter_map(Option::take) {
            client.reset()?;
        }
        until(|| self.chat.counts().sessions == 0).await.context("a session is left")?;
        for room in ROOMS {
            let members = self.chat.members(&room.parse()?);
            ensure!(members.is_empty(), "{members:?} are left in {room}");
        }
        Ok(self.transcript)
    }

    fn compare(&mut self, number: usize, client: usize, told: &Told, heard: Vec<Heard>) -> Result<()> {
        let mut lines = Vec::new();
        let heard = heard.into_iter().map(|heard| self.plain(heard)).collect::<Result<Vec<_>>>()?;
        let found = told.find(&heard).map_err(|why| anyhow::anyhow!("{} {why}", label(client)))?;
        for (event, expected) in heard.iter().zip(found) {
            if event["type"] == "joined"
                && let (Some(room), Some(epoch)) = (event["room"].as_str(), event["epoch"].as_str())
            {
                self.model.learn_epoch(room, epoch);
            }
            if !expected.optional {
                lines.push(format!("{number} {}: {}", label(client), timeless(event, expected)));
            }
        }
        // Of lanes, any may be ahead.
        lines.sort();
        self.transcript.extend(lines);
        Ok(())
    }

    /// What was heard, as JSON without what nobody can foretell, once that has been checked.
    fn plain(&mut self, heard: Heard) -> Result<Value> {
        let mut event = match heard {
            Heard::Event(event) => event,
            Heard::Ping(_) => return Ok(json!({"frame": "ping"})),
            Heard::Pong(payload) => {
                return Ok(json!({"frame": "pong", "payload": String::from_utf8(payload)?}));
            }
            Heard::Close(code) => return Ok(json!({"frame": "close", "code": code})),
            Heard::End => return Ok(json!({"frame": "end"})),
            Heard::Reset => return Ok(json!({"frame": "reset"})),
        };
        match event["type"].as_str() {
            Some("message" | "sent") => self.committed(&event["room"], &event)?,
            Some("history" | "found") => {
                for message in event["messages"].as_array().context("no messages")? {
                    self.committed(&event["room"], message)?;
                }
            }
            Some("error") => {
                ensure!(event["message"].is_string(), "an error that says nothing: {event}");
                if event.get("room").is_none() {
                    event["room"] = Value::Null;
                }
            }
            _ => {}
        }
        Ok(event)
    }

    /// Whoever tells of a message tells the same time.
    fn committed(&mut self, room: &Value, message: &Value) -> Result<()> {
        let room = room.as_str().context("no room")?.to_owned();
        let seq = message["seq"].as_u64().context("no seq")?;
        ensure!(message["at"].is_u64(), "no time: {message}");
        let known = self.times.entry((room, seq)).or_insert_with(|| message["at"].clone());
        ensure!(*known == message["at"], "{message} was committed at {known} before");
        Ok(())
    }
}

/// Sends the ping whose reply shows that everything before it has been told.
async fn ask(client: &mut RawClient) -> Result<()> {
    client.write(&sync()).await
}

fn sync() -> Vec<u8> {
    Frame::text(r#"{"type":"ping","ref":"sync"}"#).encode()
}

fn is_sync(event: &Value) -> bool {
    event["type"] == "pong" && event["ref"] == "sync"
}

/// What comes until the reply to a ping, and until all that must come has come or never will.
async fn listen(client: &mut RawClient, told: &Told) -> Result<Vec<Heard>> {
    let mut heard = Vec::new();
    for round in 1.. {
        loop {
            match client.next().await? {
                Heard::Event(event) if is_sync(&event) => break,
                end @ (Heard::Close(_) | Heard::End | Heard::Reset) => {
                    heard.push(end);
                    return Ok(heard);
                }
                other => heard.push(other),
            }
        }
        if heard.len() >= told.count() || round == ROUNDS {
            break;
        }
        ask(client).await?;
    }
    Ok(heard)
}

/// What comes until the end. The server's close frame is answered, if it closed first.
async fn farewell(client: &mut RawClient, ends: Last) -> Result<Vec<Heard>> {
    let mut heard = Vec::new();
    loop {
        let next = client.next().await?;
        heard.push(next.clone());
        match next {
            Heard::End | Heard::Reset => return Ok(heard),
            Heard::Event(event) if is_sync(&event) => return Ok(heard),
            Heard::Close(code) if ends != Last::End => {
                let payload = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
                // A server that has seen a breach may be gone already.
                let _gone = client.write(&Frame::new(8, payload).encode()).await;
                return Ok(heard);
            }
            _ => {}
        }
    }
}

/// An event without what differs from server to server.
fn timeless(event: &Value, expected: &Expected) -> String {
    let mut event = event.clone();
    for field in ["at", "epoch", "connection"] {
        if event.get(field).is_some() {
            event[field] = json!("...");
        }
    }
    for message in event.get_mut("messages").and_then(Value::as_array_mut).into_iter().flatten() {
        message["at"] = json!("...");
    }
    // Which of several close codes is taken may be the framework's affair; what is wrong with a command never is.
    if event["type"] != "error" && expected.leaves_code_open() {
        event["code"] = json!("...");
        event["reason"] = json!("...");
    }
    event.to_string()
}
