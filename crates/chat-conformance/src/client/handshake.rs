use serde_json::Value;

use super::{Answer, Client, HeaderLine, Request, accept};
use crate::Failure;

impl Client {
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

    /// Expects this header in the answer.
    pub fn check_header(&self, answer: &Answer, name: &str, value: &str) -> Result<(), Failure> {
        let actual = answer.header(name);
        if actual.as_ref().is_some_and(|actual| actual.eq_ignore_ascii_case(value)) {
            return Ok(());
        }
        Err(self.failure(format!("the header `{name}: {value}`"), HeaderLine(name, actual.as_deref())))
    }

    /// Expects that the answer does not have this header.
    pub fn check_no_header(&self, answer: &Answer, name: &str) -> Result<(), Failure> {
        match answer.header(name) {
            None => Ok(()),
            Some(value) => Err(self.failure(format!("no header `{name}`"), HeaderLine(name, Some(&value)))),
        }
    }
}
