use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;
use sha1::{Digest, Sha1};

/// An HTTP request to be sent, right or wrong in any way.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query, or whatever else is to stand there.
    pub target: String,
    /// The version, `HTTP/1.1`.
    pub version: String,
    headers: Vec<(String, String)>,
}

impl Request {
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

    /// Takes all lines of a header away.
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

    /// Asks for something else.
    #[must_use]
    pub fn to(self, target: &str) -> Self {
        Self { target: target.to_owned(), ..self }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The request on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{} {} {}\r\n", self.method, self.target, self.version);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// The head of the server's answer, and its body if it is no 101.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The status line.
    pub line: String,
    /// The header lines; names are lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The head, read from `head`, which ends with an empty line.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(head: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(head).map_err(|_| "an answer whose head is not UTF-8".to_owned())?;
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

    /// The value of a header that stands once; several lines are joined.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .headers
            .iter()
            .filter(|(header, _)| header == name)
            .map(|(_, value)| value.clone())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Status and header lines, in one line.
    pub fn head(&self) -> String {
        let lines = self.headers.iter().map(|(name, value)| format!("; {name}: {value}"));
        format!("\"{}{}\"", self.line, lines.collect::<String>())
    }

    /// How many bytes of body follow, if the head says.
    pub fn content_length(&self) -> Option<usize> {
        self.header("content-length").and_then(|length| length.parse().ok())
    }

    /// The code of a refusal: `error.code` of the JSON body.
    pub fn code(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body["error"]["message"].as_str()?;
        body["error"]["code"].as_str().map(ToOwned::to_owned)
    }
}

/// A header line of an answer in words, or that there is none.
pub(crate) struct Line<'a>(pub(crate) &'a str, pub(crate) Option<&'a str>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, value) = self;
        match value {
            Some(value) => write!(f, "`{name}: {value}`"),
            None => write!(f, "no line `{name}`"),
        }
    }
}

/// A key for the handshake: 16 bytes that no other number gives.
pub fn key(number: u64) -> String {
    let digest = Sha1::digest(number.to_be_bytes());
    BASE64_STANDARD.encode(&digest[..16])
}

/// What `Sec-WebSocket-Accept` must say for a key (RFC 6455 section 4.2.2).
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
