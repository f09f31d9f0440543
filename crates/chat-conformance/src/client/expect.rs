use std::fmt::Display;

use serde_json::{Value, json};

use super::{Answer, Client, Frame, Line, Message};
use crate::Failure;

/// Events that come whenever others come, go or write, and that most cases are not about.
pub fn is_noise(event: &Value) -> bool {
    matches!(event["type"].as_str(), Some("presence" | "typing"))
}

/// Events in words, for a failure.
pub(crate) struct Events<I>(pub(crate) I);

impl<'a, I: IntoIterator<Item = &'a Value> + Copy> Display for Events<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let events: Vec<String> = self.0.into_iter().map(Value::to_string).collect();
        if events.is_empty() { f.write_str("no event") } else { f.write_str(&events.join(", ")) }
    }
}

impl Client {
    /// Events that came while something else was waited for.
    pub fn held(&self) -> &std::collections::VecDeque<Value> {
        &self.held
    }

    /// The next event of any type.
    pub async fn any_event(&mut self) -> Result<Value, Failure> {
        self.next_event("an event", |_| true).await
    }

    /// The next event; who comes, goes and writes is passed over.
    pub async fn event(&mut self) -> Result<Value, Failure> {
        self.next_event("an event", |event| !is_noise(event)).await
    }

    /// The next event, which is of this type.
    pub async fn expect(&mut self, kind: &str) -> Result<Value, Failure> {
        self.expect_as(kind, &format!("the event `{kind}`")).await
    }

    /// The welcome, which comes first.
    pub async fn expect_welcome(&mut self) -> Result<Value, Failure> {
        self.expect_as("welcome", "the event `welcome`, first after the 101").await
    }

    async fn expect_as(&mut self, kind: &str, expected: &str) -> Result<Value, Failure> {
        let is_about_noise = matches!(kind, "presence" | "typing");
        let event = self.next_event(expected, |event| is_about_noise || !is_noise(event)).await?;
        self.check(event["type"] == kind, expected, &event)?;
        Ok(event)
    }

    async fn next_event(
        &mut self,
        expected: &str,
        counts: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        while let Some(event) = self.held.pop_front() {
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
    pub fn check(&self, holds: bool, expected: impl Display, came: &Value) -> Result<(), Failure> {
        if holds { Ok(()) } else { Err(self.failure(expected, came)) }
    }

    /// Sends a text frame.
    pub async fn text(&mut self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.send(Frame::text(text)).await
    }

    /// Sends a command as it is.
    pub async fn command(&mut self, command: Value) -> Result<(), Failure> {
        self.text(command.to_string()).await
    }

    /// Sends a command with a `ref` and returns its reply; other events are kept for later.
    pub async fn ask(&mut self, mut command: Value) -> Result<Value, Failure> {
        self.references += 1;
        let reference = json!(format!("r{}", self.references));
        command["ref"] = reference.clone();
        self.command(command).await?;
        self.reply(&reference).await
    }

    /// The reply with this `ref`; other events are kept for later.
    pub async fn reply(&mut self, reference: &Value) -> Result<Value, Failure> {
        if let Some(index) = self.held.iter().position(|event| event["ref"] == *reference)
            && let Some(event) = self.held.remove(index)
        {
            return Ok(event);
        }
        loop {
            match self.message().await? {
                Message::Event(event) if event["ref"] == *reference => return Ok(event),
                Message::Event(event) => self.held.push_back(event),
                Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(self.failure(format!("a reply with the ref {reference}"), other)),
            }
        }
    }

    /// Sends a command and returns its reply, which is of this type.
    pub async fn ask_for(&mut self, kind: &str, command: Value) -> Result<Value, Failure> {
        let reply = self.ask(command).await?;
        self.check(reply["type"] == kind, format!("the reply `{kind}`"), &reply)?;
        Ok(reply)
    }

    /// Sends a command that is refused with this code.
    pub async fn ask_in_vain(&mut self, code: &str, command: Value) -> Result<Value, Failure> {
        let reply = self.ask_for("error", command).await?;
        self.check(reply["code"] == code, format!("the error `{code}`"), &reply)?;
        Ok(reply)
    }

    /// Sends a text that is refused with one of these codes.
    pub async fn say_in_vain(&mut self, codes: &[&str], text: impl AsRef<[u8]>) -> Result<Value, Failure> {
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

    /// Posts a text and returns its `seq`, once both the reply and the own message are here.
    pub async fn post(&mut self, room: &str, text: &str) -> Result<u64, Failure> {
        let send = json!({"type": "send", "room": room, "body": {"text": text}});
        let sent = self.ask_for("sent", send).await?;
        let own = |event: &Value| {
            event["type"] == "message" && event["room"] == room && event["seq"] == sent["seq"]
        };
        loop {
            if let Some(index) = self.held.iter().position(own) {
                self.held.remove(index);
                return sent["seq"].as_u64().ok_or_else(|| self.failure("a `seq`", &sent));
            }
            match self.message().await? {
                Message::Event(event) => self.held.push_back(event),
                Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(self.failure("the sender's own message", other)),
            }
        }
    }

    /// Everything that has happened up to now: a `ping` brings it.
    pub async fn so_far(&mut self) -> Result<Vec<Value>, Failure> {
        self.ask_for("pong", json!({"type": "ping"})).await?;
        Ok(self.held.drain(..).collect())
    }

    /// The connection works, and nothing unexpected has come but who came, went or wrote.
    pub async fn expect_quiet(&mut self) -> Result<(), Failure> {
        match self.so_far().await?.iter().find(|event| !is_noise(event)) {
            Some(event) => Err(self.failure("no further event", event)),
            None => Ok(()),
        }
    }

    /// A pong with this payload; events are kept for later.
    pub async fn expect_pong(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let expected = format!("a pong with \"{}\"", payload.escape_ascii());
        loop {
            match self.message().await? {
                Message::Pong(got) if got == payload => return Ok(()),
                Message::Event(event) => self.held.push_back(event),
                Message::Ping(_) => {}
                other => return Err(self.failure(expected, other)),
            }
        }
    }

    /// A close frame, whatever comes before it. Its code.
    pub async fn expect_close_frame(&mut self) -> Result<Option<u16>, Failure> {
        loop {
            match self.message().await? {
                Message::Close(code) => return Ok(code),
                Message::Event(event) => self.held.push_back(event),
                Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(self.failure("a close frame", other)),
            }
        }
    }

    /// The server closes with this code: `closing`, a close frame, and, once that is answered, the end.
    pub async fn expect_closed(&mut self, code: u16) -> Result<(), Failure> {
        self.expect_closed_with(&[code]).await
    }

    /// The server closes with one of these codes.
    pub async fn expect_closed_with(&mut self, codes: &[u16]) -> Result<(), Failure> {
        let expected = format!("a close frame with code {}", one_of(codes));
        loop {
            match self.message().await? {
                Message::Close(Some(code)) if codes.contains(&code) => {
                    let last = self.held.back().cloned().unwrap_or(Value::Null);
                    let told = last["type"] == "closing" && last["code"] == code;
                    self.check(told, format!("`closing` with code {code} ahead of the close frame"), &last)?;
                    break;
                }
                Message::Event(event) => self.held.push_back(event),
                Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(self.failure(expected, other)),
            }
        }
        // The server may have gone already.
        let _answered = self.send(Frame::new(8, codes[0].to_be_bytes())).await;
        self.expect_gone().await
    }

    /// The server ends the stream, and sends nothing before that.
    pub async fn expect_end(&mut self) -> Result<(), Failure> {
        match self.message().await? {
            Message::End => Ok(()),
            other => Err(self.failure("the end of the stream (FIN)", other)),
        }
    }

    /// The connection ends, with a FIN or a reset, and nothing comes before that.
    pub async fn expect_gone(&mut self) -> Result<(), Failure> {
        match self.message().await? {
            Message::End | Message::Reset => Ok(()),
            other => Err(self.failure("the end of the connection", other)),
        }
    }

    /// The connection ends, whatever comes before that.
    pub async fn expect_gone_after_all(&mut self) -> Result<(), Failure> {
        loop {
            match self.message().await? {
                Message::End | Message::Reset => return Ok(()),
                Message::Nothing(patience) => {
                    return Err(self.failure("the end of the connection", Message::Nothing(patience)));
                }
                Message::Event(event) => self.held.push_back(event),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
            }
        }
    }

    /// Closes as RFC 6455 asks, and sees it answered.
    pub async fn close(&mut self, code: u16) -> Result<(), Failure> {
        self.send(Frame::close(code, "")).await?;
        let echoed = self.expect_close_frame().await?;
        if echoed != Some(code) {
            return Err(self.failure(format!("a close frame with code {code}"), Message::Close(echoed)));
        }
        self.expect_end().await
    }

    /// An HTTP answer of this status.
    pub async fn expect_status(&mut self, status: u16) -> Result<Answer, Failure> {
        let answer = self.answer().await?;
        if answer.status == status {
            return Ok(answer);
        }
        Err(self.failure(format!("the HTTP status {status}"), format!("\"{}\"", answer.line)))
    }

    /// A refusal before the upgrade: status, JSON, code.
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

    /// This answer has this header line.
    pub fn check_header(&self, answer: &Answer, name: &str, value: &str) -> Result<(), Failure> {
        let came = answer.header(name);
        if came.as_ref().is_some_and(|came| came.eq_ignore_ascii_case(value)) {
            return Ok(());
        }
        Err(self.failure(format!("the header line `{name}: {value}`"), Line(name, came.as_deref())))
    }
}

/// Numbers, any of which will do.
pub(crate) fn one_of(codes: &[u16]) -> String {
    codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
