use serde_json::Value;

use super::{Client, Frame, Message};
use crate::Failure;

impl Client {
    /// Closes with this code, and expects the echo and a FIN.
    pub async fn close(&mut self, code: u16) -> Result<(), Failure> {
        self.send(Frame::close(code, "")).await?;
        self.expect_close_code(&[code]).await?;
        self.expect_end().await
    }

    /// Expects that the server closes with this code: `closing`, a close frame, and, after the answer, the end.
    pub async fn expect_closed(&mut self, code: u16) -> Result<(), Failure> {
        self.expect_closed_with(&[code]).await
    }

    /// Expects that the server closes with one of these codes.
    pub async fn expect_closed_with(&mut self, codes: &[u16]) -> Result<(), Failure> {
        let code = self.close_code(codes).await?;
        let last = self.buffered.back().cloned().unwrap_or(Value::Null);
        let is_announced = last["type"] == "closing" && last["code"] == code;
        self.check(is_announced, format!("`closing` with code {code} before the close frame"), &last)?;
        // The server may have disconnected already.
        let _answered = self.send(Frame::new(8, codes[0].to_be_bytes())).await;
        self.expect_disconnect().await
    }

    /// Expects a close frame with one of these codes, after any events.
    pub async fn expect_close_code(&mut self, codes: &[u16]) -> Result<(), Failure> {
        self.close_code(codes).await.map(drop)
    }

    async fn close_code(&mut self, codes: &[u16]) -> Result<u16, Failure> {
        match self.expect_close_frame().await? {
            Some(code) if codes.contains(&code) => Ok(code),
            other => {
                let expected = format!("a close frame with code {}", one_of(codes));
                Err(self.failure(expected, Message::Close(other)))
            }
        }
    }

    /// Expects a close frame, and returns its code. Buffers events.
    pub async fn expect_close_frame(&mut self) -> Result<Option<u16>, Failure> {
        self.find("a close frame", |message| match message {
            Message::Close(code) => Some(*code),
            _ => None,
        })
        .await
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
}

/// The numbers as text: `1008 or 1009`.
pub(crate) fn one_of(codes: &[u16]) -> String {
    codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
