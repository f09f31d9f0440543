use std::time::Duration;

use bytes::Bytes;
use chat_proto::handshake::Refusal;

use crate::Limits;

/// A complete HTTP response without an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Answer {
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![
            ("content-type", content_type.to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        Self { status, headers, body: body.into() }
    }

    pub(super) fn with_parts(status: u16, headers: Vec<(&'static str, String)>, body: &'static [u8]) -> Self {
        Self { status, headers, body: Bytes::from_static(body) }
    }

    /// Returns a 204, which has no body.
    pub(super) fn empty() -> Self {
        Self { status: 204, headers: vec![("cache-control", "no-store".to_owned())], body: Bytes::new() }
    }

    /// Returns the response to a request that the chat refuses. It ends the connection.
    pub fn refusal(refusal: Refusal, limits: &Limits) -> Self {
        Self::new(refusal.status(), "application/json", refusal.body())
            .with_headers(refusal.headers(limits))
            .with_headers(vec![("connection", "close".to_owned())])
    }

    /// Replaces the advice in `Retry-After`.
    pub(super) fn with_retry_after(mut self, wait: Duration) -> Self {
        self.headers.retain(|(name, _)| *name != "retry-after");
        self.with_headers(vec![("retry-after", wait.as_secs().max(1).to_string())])
    }

    pub(super) fn with_headers(mut self, headers: Vec<(&'static str, String)>) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Returns a 404, for a service that has no other routes.
    pub fn not_found() -> Self {
        Self::new(404, "application/json", r#"{"error":{"code":"not_found","message":"nothing is here"}}"#)
    }

    /// Returns the status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the header lines, without the length. The names are lower case.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }

    /// Returns the body.
    pub fn into_body(self) -> Bytes {
        self.body
    }
}
