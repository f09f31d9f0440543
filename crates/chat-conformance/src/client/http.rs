use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;
use sha1::{Digest, Sha1};

/// An HTTP request, which can be wrong in any way.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target, which is usually path and query.
    pub target: String,
    /// The version, `HTTP/1.1`.
    pub version: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// A complete, valid handshake for the subprotocol `chat.v1`.
    pub fn handshake(host: &str, target: &str) -> Self {
        Self::get(target)
            .add("Host", host)
            .add("Upgrade", "websocket")
            .add("Connection", "Upgrade")
            .add("Sec-WebSocket-Version", "13")
            .add("Sec-WebSocket-Key", &key(0))
            .add("Sec-WebSocket-Protocol", "chat.v1")
    }

    /// A GET without header lines.
    pub fn get(target: &str) -> Self {
        let [method, version] = ["GET", "HTTP/1.1"].map(str::to_owned);
        Self { method, target: target.to_owned(), version, headers: Vec::new() }
    }

    /// Adds a header line.
    #[must_use]
    pub fn add(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes all lines of a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces all lines of a header by one.
    #[must_use]
    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).add(name, value)
    }

    /// Replaces the target.
    #[must_use]
    pub fn to(self, target: &str) -> Self {
        Self { target: target.to_owned(), ..self }
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// Returns the bytes of the request.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{} {} {}\r\n", self.method, self.target, self.version);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// The answer of the server, with its body unless it is a 101.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The status line.
    pub line: String,
    /// The header lines, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Parses a head that ends with an empty line.
    ///
    /// # Errors
    ///
    /// If it is no head of HTTP/1. The text names the problem.
    pub fn parse(head: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(head).map_err(|_| "a head that is not UTF-8".to_owned())?;
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let status =
            line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| format!("no HTTP status line but {line:?}"))?;
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("the header line {line:?}"))?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Ok(Self { status, headers: headers.collect::<Result<_, String>>()?, line, body: Vec::new() })
    }

    /// Returns the value of a header, with several lines joined by commas.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .headers
            .iter()
            .filter(|(header, _)| header == name)
            .map(|(_, value)| value.clone())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Returns the status and the header lines in one line.
    pub fn head(&self) -> String {
        let lines = self.headers.iter().map(|(name, value)| format!("; {name}: {value}"));
        format!("\"{}{}\"", self.line, lines.collect::<String>())
    }

    /// Returns the value of `Content-Length`.
    pub fn content_length(&self) -> Option<usize> {
        self.header("content-length").and_then(|length| length.parse().ok())
    }

    /// Returns the code of a refusal: `error.code` of the JSON body.
    pub fn code(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body["error"]["message"].as_str()?;
        body["error"]["code"].as_str().map(ToOwned::to_owned)
    }
}

/// A header line of an answer as text, for a failure.
pub(crate) struct HeaderLine<'a>(pub(crate) &'a str, pub(crate) Option<&'a str>);

impl fmt::Display for HeaderLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, value) = self;
        match value {
            Some(value) => write!(f, "`{name}: {value}`"),
            None => write!(f, "no header `{name}`"),
        }
    }
}

/// Returns a key for the handshake: 16 bytes in base64, different for each number.
pub fn key(number: u64) -> String {
    let digest = Sha1::digest(number.to_be_bytes());
    BASE64_STANDARD.encode(&digest[..16])
}

/// Returns the value of `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2).
pub fn accept(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_key_of_the_rfc_gets_its_accept() {
        assert_eq!(super::accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
