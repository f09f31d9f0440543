use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use super::{Answer, Client, Frame, Message, Received};
use crate::Failure;
use crate::transcript::Direction;

impl Client {
    /// Reads into the buffer. Returns the end of the stream, or `Nothing`, if no bytes arrive.
    async fn fill(&mut self, deadline: Instant) -> Option<Message> {
        if self.buffer.capacity() - self.buffer.len() < 4_096 {
            self.buffer.reserve(16 * 1024);
        }
        match timeout_at(deadline, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(1..)) => None,
            Ok(Ok(0)) => {
                self.note("sees the end of the stream");
                Some(Message::End)
            }
            Ok(Err(_)) => {
                self.note("sees a reset");
                Some(Message::Reset)
            }
            Err(_) => Some(Message::Nothing(self.patience)),
        }
    }

    /// Returns true if the connection has no end and no reset for this time.
    pub async fn is_open_for(&mut self, time: Duration) -> bool {
        matches!(self.fill(Instant::now() + time).await, None | Some(Message::Nothing(_)))
    }

    /// Reads at most this number of bytes and drops them, like a slow reader. Returns the number that was read.
    pub async fn read_some(&mut self, bytes: usize) -> usize {
        let mut read = vec![0; bytes];
        match timeout_at(Instant::now() + self.patience, self.stream.read(&mut read)).await {
            Ok(Ok(read)) => read,
            _ => 0,
        }
    }

    /// Returns the next frame, or the end of the stream.
    pub async fn frame(&mut self) -> Result<Result<Received, Message>, Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            let parsed = Received::parse(&self.buffer);
            match parsed
                .map_err(|rule| self.failure("a valid frame of a server (RFC 6455 section 5)", rule))?
            {
                Some((frame, length)) => {
                    self.transcript.record(
                        &self.name,
                        Direction::Received,
                        frame.to_string(),
                        &self.buffer[..length],
                    );
                    self.buffer.drain(..length);
                    return Ok(Ok(frame));
                }
                None => match self.fill(deadline).await {
                    Some(Message::End) if !self.buffer.is_empty() => {
                        return Err(self.failure(
                            "complete frames until the end of the stream",
                            "an end inside a frame",
                        ));
                    }
                    Some(end) => return Ok(Err(end)),
                    None => {}
                },
            }
        }
    }

    /// Returns what arrives next, with fragments joined. Answers pings.
    pub async fn message(&mut self) -> Result<Message, Failure> {
        loop {
            let frame = match self.frame().await? {
                Ok(frame) => frame,
                Err(end) => return Ok(end),
            };
            let (opcode, payload) = match (frame.opcode, self.fragments.take()) {
                (8, _) => return self.closed(&frame.payload),
                (9, fragments) => {
                    self.fragments = fragments;
                    if self.answers_pings {
                        self.send(Frame::pong(&frame.payload)).await?;
                    }
                    return Ok(Message::Ping(frame.payload));
                }
                (10, fragments) => {
                    self.fragments = fragments;
                    return Ok(Message::Pong(frame.payload));
                }
                (0, None) => {
                    return Err(
                        self.failure("the start of a message", "a continuation (RFC 6455 section 5.4)")
                    );
                }
                (0, Some((opcode, before))) => (opcode, [before, frame.payload].concat()),
                (_, Some(_)) => {
                    return Err(
                        self.failure("a continuation", "a new message inside another (RFC 6455 section 5.4)")
                    );
                }
                (opcode, None) => (opcode, frame.payload),
            };
            if !frame.is_final {
                self.fragments = Some((opcode, payload));
                continue;
            }
            let event = serde_json::from_slice::<Value>(&payload).ok();
            return match event.filter(|event| opcode == 1 && event["type"].is_string()) {
                Some(event) => Ok(Message::Event(event)),
                None => Err(self.failure(
                    "an event: one JSON object with a `type` in a text frame (PROTOCOL.md, sections 2 and 4)",
                    format!("a message of opcode {opcode}: {}", payload.escape_ascii()),
                )),
            };
        }
    }

    fn closed(&self, payload: &[u8]) -> Result<Message, Failure> {
        let ([high, low], reason) = match payload {
            [] => return Ok(Message::Close(None)),
            [high, low, reason @ ..] => ([*high, *low], reason),
            [_] => {
                return Err(self.failure("a close frame with a code of two bytes", "one with a single byte"));
            }
        };
        let code = u16::from_be_bytes([high, low]);
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(self.failure("a close code that may be sent (RFC 6455 section 7.4)", code));
        }
        if std::str::from_utf8(reason).is_err() {
            return Err(
                self.failure("a close reason in UTF-8 (RFC 6455 section 5.5.1)", reason.escape_ascii())
            );
        }
        Ok(Message::Close(Some(code)))
    }

    /// Reads an HTTP answer that has no body whatever its length says, because the request was HEAD.
    pub async fn answer_without_body(&mut self) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.patience;
        let (answer, head) = self.answer_head(deadline).await?;
        self.record_answer(&head, &[]);
        Ok(answer)
    }

    /// Reads an HTTP answer with its body.
    pub async fn answer(&mut self) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.patience;
        let (mut answer, head) = self.answer_head(deadline).await?;
        if answer.status >= 200 && answer.status != 204 {
            let length = answer.content_length();
            while self.buffer.len() < length.unwrap_or(usize::MAX) {
                match self.fill(deadline).await {
                    Some(Message::End) if length.is_none() => break,
                    Some(end) => {
                        let actual = format!("{end}, after \"{}\"", answer.line);
                        return Err(self.failure("a complete body", actual));
                    }
                    None => {}
                }
            }
            answer.body = self.buffer.drain(..length.unwrap_or(self.buffer.len())).collect();
        }
        self.record_answer(&head, &answer.body);
        Ok(answer)
    }

    async fn answer_head(&mut self, deadline: Instant) -> Result<(Answer, Vec<u8>), Failure> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if let Some(end) = self.fill(deadline).await {
                let unread = self.buffer.escape_ascii().to_string();
                return Err(self.failure("an HTTP answer", format!("{end}, after \"{unread}\"")));
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let answer = Answer::parse(&head).map_err(|problem| self.failure("an HTTP answer", problem))?;
        Ok((answer, head))
    }

    fn record_answer(&self, head: &[u8], body: &[u8]) {
        let text = String::from_utf8_lossy(head).trim_end().to_owned();
        self.transcript.record(&self.name, Direction::Received, text, &[head, body].concat());
    }
}
