use std::fmt::Display;

use serde_json::{Value, json};

use super::{Answer, Client, Frame, HeaderLine, Message, Request, accept};
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

    /// Sends a handshake, and expects the 101 and the `welcome`, which it returns.
    pub async fn upgrade(&mut self, request: &Request) -> Result<Value, Failure> {
        self.write(&request.encode()).await?;
        self.expect_upgraded(request).await
    }

    /// Expects the 101 to a handshake that was sent, and the `welcome`, which it returns.
    pub async fn expect_upgraded(&mut self, request: &Request) -> Result<Value, Failure> {
        self.expect_101(request).await?;
        self.expect_welcome().await
    }

    /// Expects the 101 to a handshake that was sent.
    pub async fn expect_101(&mut self, request: &Request) -> Result<(), Failure> {
        let mut answer = self.answer().await?;
        if answer.status == 100 {
            answer = self.answer().await?;
        }
        if answer.status != 101 {
            let path = request.target.split('?').next().unwrap_or_default();
            let hint = if answer.status == 404 { format!(": is the chat at {path}?") } else { String::new() };
            let body = String::from_utf8_lossy(&answer.body);
            return Err(self.failure("the HTTP status 101", format!("\"{}\"{hint} {body}", answer.line)));
        }
        self.check_header(&answer, "upgrade", "websocket")?;
        self.check_header(&answer, "connection", "upgrade")?;
        let key = request.header("Sec-WebSocket-Key").unwrap_or_default();
        let (name, expected) = ("sec-websocket-accept", accept(key));
        match answer.header(name) {
            Some(actual) if actual == expected => Ok(()),
            actual => {
                let actual = HeaderLine(name, actual.as_deref()).to_string();
                Err(self.failure(format!("the header `{name}: {expected}`"), actual))
            }
        }
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
        loop {
            match self.message().await? {
                Message::Event(event) if event["ref"] == *reference => return Ok(event),
                Message::Event(event) => self.buffered.push_back(event),
                Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(self.failure(format!("a reply with the ref {reference}"), other)),
            }
        }
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
        loop {
            if let Some(index) = self.buffered.iter().position(own) {
                self.buffered.remove(index);
                return sent["seq"].as_u64().ok_or_else(|| self.failure("a `seq`", &sent));
            }
            match self.message().await? {
                Message::Event(event) => self.buffered.push_back(event),
                Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(self.failure("the sender's own message", other)),
            }
        }
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

    /// Expects a close frame, and returns its code. Buffers events.
    pub async fn expect_close_frame(&mut self) -> Result<Option<u16>, Failure> {
        loop {
            match self.message().await? {
                Message::Close(code) => return Ok(code),
                Message::Event(event) => self.buffered.push_back(event),
                Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(self.failure("a close frame", other)),
            }
        }
    }

    /// Expects a close frame with one of these codes, after any events.
    pub async fn expect_close_code(&mut self, codes: &[u16]) -> Result<(), Failure> {
        let code = self.expect_close_frame().await?;
        if code.is_some_and(|code| codes.contains(&code)) {
            return Ok(());
        }
        Err(self.failure(format!("a close frame with code {}", one_of(codes)), Message::Close(code)))
    }

    /// Expects that the server closes with this code: `closing`, a close frame, and, after the answer, the end.
    pub async fn expect_closed(&mut self, code: u16) -> Result<(), Failure> {
        self.expect_closed_with(&[code]).await
    }

    /// Expects that the server closes with one of these codes.
    pub async fn expect_closed_with(&mut self, codes: &[u16]) -> Result<(), Failure> {
        let expected = format!("a close frame with code {}", one_of(codes));
        loop {
            match self.message().await? {
                Message::Close(Some(code)) if codes.contains(&code) => {
                    let last = self.buffered.back().cloned().unwrap_or(Value::Null);
                    let is_announced = last["type"] == "closing" && last["code"] == code;
                    self.check(
                        is_announced,
                        format!("`closing` with code {code} before the close frame"),
                        &last,
                    )?;
                    break;
                }
                Message::Event(event) => self.buffered.push_back(event),
                Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(self.failure(expected, other)),
            }
        }
        // The server may have disconnected already.
        let _answered = self.send(Frame::new(8, codes[0].to_be_bytes())).await;
        self.expect_disconnect().await
    }

    /// Expects a FIN as the next thing.
    pub async fn expect_end(&mut self) -> Result<(), Failure> {
        match self.message().await? {
            Message::End => Ok(()),
            other => Err(self.failure("the end of the stream (FIN)", other)),
        }
    }

    /// Expects a FIN or a reset as the next thing.
    pub async fn expect_disconnect(&mut self) -> Result<(), Failure> {
        match self.message().await? {
            Message::End | Message::Reset => Ok(()),
            other => Err(self.failure("the end of the connection", other)),
        }
    }

    /// Expects a FIN or a reset, after any messages.
    pub async fn expect_disconnect_after_events(&mut self) -> Result<(), Failure> {
        loop {
            match self.message().await? {
                Message::End | Message::Reset => return Ok(()),
                Message::Nothing(patience) => {
                    return Err(self.failure("the end of the connection", Message::Nothing(patience)));
                }
                Message::Event(event) => self.buffered.push_back(event),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
            }
        }
    }

    /// Closes with this code, and expects the echo and a FIN.
    pub async fn close(&mut self, code: u16) -> Result<(), Failure> {
        self.send(Frame::close(code, "")).await?;
        self.expect_close_code(&[code]).await?;
        self.expect_end().await
    }

    /// Expects an HTTP answer with this status.
    pub async fn expect_status(&mut self, status: u16) -> Result<Answer, Failure> {
        let answer = self.answer().await?;
        if answer.status == status {
            return Ok(answer);
        }
        Err(self.failure(format!("the HTTP status {status}"), format!("\"{}\"", answer.line)))
    }

    /// Expects the refusal of a handshake: this status, and JSON with this code.
    pub async fn expect_refusal(&mut self, status: u16, code: &str) -> Result<Answer, Failure> {
        let answer = self.expect_status(status).await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        if !answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
            return Err(self.failure("`Content-Type: application/json`", answer.head()));
        }
        if answer.code().as_deref() != Some(code) {
            let expected = format!(r#"the body {{"error":{{"code":"{code}","message":"..."}}}}"#);
            return Err(self.failure(expected, body));
        }
        Ok(answer)
    }

    /// Expects that the answer does not have this header.
    pub fn check_no_header(&self, answer: &Answer, name: &str) -> Result<(), Failure> {
        match answer.header(name) {
            None => Ok(()),
            Some(value) => Err(self.failure(format!("no header `{name}`"), HeaderLine(name, Some(&value)))),
        }
    }

    /// Expects this header in the answer.
    pub fn check_header(&self, answer: &Answer, name: &str, value: &str) -> Result<(), Failure> {
        let actual = answer.header(name);
        if actual.as_ref().is_some_and(|actual| actual.eq_ignore_ascii_case(value)) {
            return Ok(());
        }
        Err(self.failure(format!("the header `{name}: {value}`"), HeaderLine(name, actual.as_deref())))
    }
}

/// The numbers as text: `1008 or 1009`.
pub(crate) fn one_of(codes: &[u16]) -> String {
    codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
