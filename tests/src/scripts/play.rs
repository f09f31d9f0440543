//! Plays a script on one adapter, against the model.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_conformance::client::Frame;
use chat_core::{Chat, Limits};
use serde_json::{Value, json};

use super::model::{Ends, Expected, Lane, Leaving, Model, Told};
use super::step::{CLIENTS, ROOMS, Step, label};
use super::{ERRORS, HISTORY_DEFAULT, HISTORY_MOST, KEPT, MAX_BODY, MAX_FRAME, ROOMS_MOST};
use crate::raw::{Heard, RawClient};
use crate::{Adapter, Server, within};

/// Round trips after which what has not come will not come. What a join asks for is read from the log, and may come
/// after replies to later commands; each of these gives the session another turn.
const ROUNDS: usize = 50;

/// Longer than any script.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A script that an adapter did not play as the model says.
#[derive(Debug)]
pub struct Failure {
    adapter: Adapter,
    step: usize,
    why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, step {}: {}", self.adapter, self.step, self.why)
    }
}

/// A chat of its own, served by one adapter.
#[derive(Debug)]
pub struct Stage {
    adapter: Adapter,
    chat: Chat,
    server: Server,
}

impl Stage {
    /// Serves a chat with few of everything, so that short scripts reach every limit.
    ///
    /// # Errors
    ///
    /// If there is no port.
    pub async fn set(adapter: Adapter) -> Result<Self> {
        let limits = Limits {
            max_frame: MAX_FRAME,
            max_body: MAX_BODY,
            max_rooms: ROOMS_MOST,
            max_errors: ERRORS,
            error_window: HOUR,
            default_page: usize::try_from(HISTORY_DEFAULT)?,
            max_page: usize::try_from(HISTORY_MOST)?,
            log_messages: usize::try_from(KEPT)?,
            tail_events: 5,
            ping_interval: HOUR,
            write_timeout: HOUR,
            room_idle: HOUR,
            // Of those whose framework cannot say that the peer has read its close frame, none is reset before.
            close_timeout: Duration::from_secs(5),
            ..Limits::default()
        };
        let chat = Chat::builder().limits(limits).build();
        let server = Server::start(adapter, &chat).await?;
        Ok(Self { adapter, chat, server })
    }

    /// Plays a script; what was told in each step, without what is random.
    ///
    /// # Errors
    ///
    /// Where it went another way than the model.
    pub async fn play(&self, script: &[Step]) -> Result<Vec<String>, Failure> {
        let mut play = Play {
            stage: self,
            model: Model::default(),
            clients: [const { None }; CLIENTS.len()],
            times: BTreeMap::new(),
            transcript: Vec::new(),
        };
        for (index, step) in script.iter().enumerate() {
            play.step(index + 1, step).await.map_err(|why| Failure {
                adapter: self.adapter,
                step: index + 1,
                why: format!("{why:#}"),
            })?;
        }
        play.conclude().await.map_err(|why| Failure {
            adapter: self.adapter,
            step: script.len() + 1,
            why: format!("after the last step: {why:#}"),
        })
    }

    /// Waits until no connection is left.
    ///
    /// # Errors
    ///
    /// If one stays.
    pub async fn clear(self) -> Result<()> {
        until(|| self.chat.counts().connections == 0).await.context("a connection is left")?;
        drop(self.server);
        Ok(())
    }
}

/// Waits until something is so that nothing announces.
async fn until(holds: impl Fn() -> bool) -> Result<()> {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

struct Play<'s> {
    stage: &'s Stage,
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
        client.write(&prediction.bytes).await?;
        let told = mem::take(&mut prediction.told[actor]);
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
        let has_left = || self.stage.chat.counts().sessions == wanted;
        until(has_left)
            .await
            .with_context(|| format!("{} sessions for {wanted}", self.stage.chat.counts().sessions))?;
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
        let mut raw = RawClient::connect(self.stage.server.address(), CLIENTS[client], false).await?;
        let mut told = Told::default();
        let event = self.model.connect(client);
        told.lanes.insert(Lane::Replies, vec![Expected { event, optional: false }]);
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
        until(|| self.stage.chat.counts().sessions == 0).await.context("a session is left")?;
        for room in ROOMS {
            let members = self.stage.chat.members(&room.parse()?);
            ensure!(members.is_empty(), "{members:?} are left in {room}");
        }
        Ok(self.transcript)
    }

    fn compare(&mut self, number: usize, client: usize, told: &Told, heard: Vec<Heard>) -> Result<()> {
        let mut lanes: Vec<&[Expected]> = told.lanes.values().map(Vec::as_slice).collect();
        let mut lines = Vec::new();
        let heard = heard.into_iter().map(|heard| self.plain(heard)).collect::<Result<Vec<_>>>()?;
        let explain = |problem: String| {
            let expected: Vec<_> = told
                .lanes
                .values()
                .flatten()
                .map(|Expected { event, optional }| {
                    format!("{event}{}", if *optional { "  (or not)" } else { "" })
                })
                .collect();
            let heard: Vec<_> = heard.iter().map(ToString::to_string).collect();
            format!(
                "{} {problem}\n  expected:\n    {}\n  observed:\n    {}",
                label(client),
                expected.join("\n    "),
                heard.join("\n    ")
            )
        };
        for event in &heard {
            let taken = lanes.iter_mut().find_map(|lane| {
                let index = lane.iter().position(|next| matches(&next.event, event) || !next.optional)?;
                let taken = lane.get(index).filter(|next| matches(&next.event, event))?;
                *lane = &lane[index + 1..];
                Some(taken)
            });
            let Some(taken) = taken else { bail!(explain(format!("must not get {event}"))) };
            if event["type"] == "joined"
                && let (Some(room), Some(epoch)) = (event["room"].as_str(), event["epoch"].as_str())
            {
                self.model.learn_epoch(room, epoch);
            }
            if !taken.optional {
                lines.push(format!("{number} {}: {}", label(client), timeless(event, &taken.event)));
            }
        }
        if let Some(missing) = lanes.into_iter().flatten().find(|expected| !expected.optional) {
            bail!(explain(format!("does not get {}", missing.event)));
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
            Heard::Pong(payload) => return Ok(json!({"frame": "pong", "length": payload.len()})),
            Heard::Close(code) => return Ok(json!({"frame": "close", "code": code})),
            Heard::End => return Ok(json!({"frame": "end"})),
            Heard::Reset => return Ok(json!({"frame": "reset"})),
        };
        match event["type"].as_str() {
            Some("message" | "sent") => self.committed(&event["room"], &event)?,
            Some("history") => {
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
    client.write(&Frame::text(r#"{"type":"ping","ref":"sync"}"#).encode()).await
}

/// What comes until the reply to a ping, and until all that must come has come or never will.
async fn listen(client: &mut RawClient, told: &Told) -> Result<Vec<Heard>> {
    let mut heard = Vec::new();
    for round in 1.. {
        loop {
            match client.next().await? {
                Heard::Event(event) if event["type"] == "pong" && event["ref"] == "sync" => break,
                end @ (Heard::Close(_) | Heard::End | Heard::Reset) => {
                    heard.push(end);
                    return Ok(heard);
                }
                other => heard.push(other),
            }
        }
        if heard.len() >= told.lanes.values().flatten().count() || round == ROUNDS {
            break;
        }
        ask(client).await?;
    }
    Ok(heard)
}

/// What comes until the end. The server's close frame is answered, if it closed first.
async fn farewell(client: &mut RawClient, ends: Ends) -> Result<Vec<Heard>> {
    let mut heard = Vec::new();
    loop {
        let next = client.next().await?;
        heard.push(next.clone());
        match next {
            Heard::End | Heard::Reset => return Ok(heard),
            Heard::Close(code) if ends == Ends::AtClose => {
                let payload = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
                // A server that has seen a breach may be gone already.
                let _gone = client.write(&Frame::new(8, payload).encode()).await;
                return Ok(heard);
            }
            _ => {}
        }
    }
}

/// Whether an event is the one expected.
fn matches(expected: &Value, event: &Value) -> bool {
    match (expected, event) {
        (Value::Null, _) => true,
        (Value::Array(any), event) if !event.is_array() => any.contains(event),
        (Value::Array(expected), Value::Array(event)) => {
            expected.len() == event.len() && expected.iter().zip(event).all(|(a, b)| matches(a, b))
        }
        (Value::Object(expected), Value::Object(event)) => {
            expected.len() == event.len()
                && expected.iter().all(|(key, a)| event.get(key).is_some_and(|b| matches(a, b)))
        }
        (expected, event) => expected == event,
    }
}

/// An event without what differs from server to server.
fn timeless(event: &Value, expected: &Value) -> String {
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
    if event["type"] != "error" && expected["code"].as_array().is_some_and(|codes| codes.len() > 1) {
        event["code"] = json!("...");
        event["reason"] = json!("...");
    }
    event.to_string()
}
