use std::fmt::Display;

use serde_json::{Value, json};

use super::{Client, Frame, Message};
use crate::Failure;

/// Returns true for events about other users that most cases ignore: `presence` and `typing`.
pub fn is_presence_or_typing(event: &Value) -> bool {
    matches!(event["type"].as_str(), Some("presence" | "typing"))
}

/// Events as text, for a failure.
pub(crate) struct Events<I>(pub(crate) I);

impl<'a, I: IntoIterator<Item = &'a Value> + Copy> Display for Events<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let events: Vec<String> = self.0.into_iter().map(Value::to_string).collect();
        if events.is_empty() { f.write_str("no event") } else { f.write_str(&events.join(", ")) }
    }
}

impl Client {
    /// Returns the events that arrived while the client waited for something else.
    pub fn buffered_events(&self) -> &std::collections::VecDeque<Value> {
        &self.buffered
    }

    /// Returns the next event of any type.
    pub async fn any_event(&mut self) -> Result<Value, Failure> {
        self.next_event("an event", |_| true).await
    }

    /// Returns the next event. Skips `presence` and `typing`.
    pub async fn event(&mut self) -> Result<Value, Failure> {
        self.next_event("an event", |event| !is_presence_or_typing(event)).await
    }

    /// Expects an event of this type as the next one.
    pub async fn expect(&mut self, kind: &str) -> Result<Value, Failure> {
        self.expect_as(kind, &format!("the event `{kind}`")).await
    }

    /// Returns the next event of this type. Skips all others.
    pub async fn until(&mut self, kind: &str) -> Result<Value, Failure> {
        self.next_event(&format!("the event `{kind}`"), |event| event["type"] == kind).await
    }

    /// Expects the `welcome`, which is the first event.
    pub async fn expect_welcome(&mut self) -> Result<Value, Failure> {
        self.expect_as("welcome", "the event `welcome`, first after the 101").await
    }

    async fn expect_as(&mut self, kind: &str, expected: &str) -> Result<Value, Failure> {
        let includes_all = matches!(kind, "presence" | "typing");
        let event = self.next_event(expected, |event| includes_all || !is_presence_or_typing(event)).await?;
        self.check(event["type"] == kind, expected, &event)?;
        Ok(event)
    }

    async fn next_event(
        &mut self,
        expected: &str,
        counts: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        while let Some(event) = self.buffered.pop_front() {
            if counts(&event) {
                return Ok(event);
            }
        }
        loop {
            match self.message().await? {
                Message::Event(event) if counts(&event) => return Ok(event),
                Message::Event(_) | Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(self.failure(expected, other)),
            }
        }
    }

    /// Returns the first message that `accept` accepts. Buffers other events, and skips pings and pongs.
    pub(super) async fn find<T>(
        &mut self,
        expected: impl Display,
        accept: impl Fn(&Message) -> Option<T>,
    ) -> Result<T, Failure> {
        loop {
            let message = self.message().await?;
            if let Some(accepted) = accept(&message) {
                return Ok(accepted);
            }
            match message {
                Message::Event(event) => self.buffered.push_back(event),
                Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(self.failure(expected, other)),
            }
        }
    }

    /// Fails unless `holds`.
    pub fn check(&self, holds: bool, expected: impl Display, actual: &Value) -> Result<(), Failure> {
        if holds { Ok(()) } else { Err(self.failure(expected, actual)) }
    }

    /// Sends a text frame.
    pub async fn text(&mut self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.send(Frame::text(text)).await
    }

    /// Sends a command.
    pub async fn command(&mut self, command: Value) -> Result<(), Failure> {
        self.text(command.to_string()).await
    }

    /// Sends a command with a new `ref` and returns its reply. Buffers other events.
    pub async fn ask(&mut self, mut command: Value) -> Result<Value, Failure> {
        self.references += 1;
        let reference = json!(format!("r{}", self.references));
        command["ref"] = reference.clone();
        self.command(command).await?;
        self.reply(&reference).await
    }

    /// Returns the reply with this `ref`. Buffers other events.
    pub async fn reply(&mut self, reference: &Value) -> Result<Value, Failure> {
        if let Some(index) = self.buffered.iter().position(|event| event["ref"] == *reference)
            && let Some(event) = self.buffered.remove(index)
        {
            return Ok(event);
        }
        self.find(format!("a reply with the ref {reference}"), |message| match message {
            Message::Event(event) if event["ref"] == *reference => Some(event.clone()),
            _ => None,
        })
        .await
    }

    /// Sends a command and expects a reply of this type.
    pub async fn ask_for(&mut self, kind: &str, command: Value) -> Result<Value, Failure> {
        let reply = self.ask(command).await?;
        self.check(reply["type"] == kind, format!("the reply `{kind}`"), &reply)?;
        Ok(reply)
    }

    /// Sends a command and expects the `error` with this code.
    pub async fn ask_for_error(&mut self, code: &str, command: Value) -> Result<Value, Failure> {
        let reply = self.ask_for("error", command).await?;
        self.check(reply["code"] == code, format!("the error `{code}`"), &reply)?;
        Ok(reply)
    }

    /// Sends a text and expects an `error` with one of these codes.
    pub async fn text_for_error(&mut self, codes: &[&str], text: impl AsRef<[u8]>) -> Result<Value, Failure> {
        self.text(text).await?;
        let error = self.expect("error").await?;
        let fits = error["code"].as_str().is_some_and(|code| codes.contains(&code));
        self.check(fits, format!("the error `{}`", codes.join("` or `")), &error)?;
        Ok(error)
    }

    /// Joins a room and returns `joined`.
    pub async fn join(&mut self, room: &str) -> Result<Value, Failure> {
        self.ask_for("joined", json!({"type": "join", "room": room})).await
    }

    /// Sends a text to a room and returns its `seq`, after both the reply and the sender's own message.
    pub async fn post(&mut self, room: &str, text: &str) -> Result<u64, Failure> {
        let send = json!({"type": "send", "room": room, "body": {"text": text}});
        let sent = self.ask_for("sent", send).await?;
        let own = |event: &Value| {
            event["type"] == "message" && event["room"] == room && event["seq"] == sent["seq"]
        };
        match self.buffered.iter().position(own) {
            Some(index) => drop(self.buffered.remove(index)),
            None => {
                self.find("the sender's own message", |message| {
                    matches!(message, Message::Event(event) if own(event)).then_some(())
                })
                .await?;
            }
        }
        sent["seq"].as_u64().ok_or_else(|| self.failure("a `seq`", &sent))
    }

    /// Returns all events up to now. A `ping` command marks the end.
    pub async fn events_so_far(&mut self) -> Result<Vec<Value>, Failure> {
        self.ask_for("pong", json!({"type": "ping"})).await?;
        Ok(self.buffered.drain(..).collect())
    }

    /// Expects that the connection works, and that there are no events other than `presence` and `typing`.
    pub async fn expect_no_events(&mut self) -> Result<(), Failure> {
        match self.events_so_far().await?.iter().find(|event| !is_presence_or_typing(event)) {
            Some(event) => Err(self.failure("no further event", event)),
            None => Ok(()),
        }
    }

    /// Expects a pong with this payload. Buffers events.
    pub async fn expect_pong(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let expected = format!("a pong with \"{}\"", payload.escape_ascii());
        loop {
            match self.message().await? {
                Message::Pong(got) if got == payload => return Ok(()),
                Message::Event(event) => self.buffered.push_back(event),
                Message::Ping(_) => {}
                other => return Err(self.failure(expected, other)),
            }
        }
    }
}
