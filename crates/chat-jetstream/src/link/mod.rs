//! The requests to the stream. They are the JSON API of JetStream, so that only the core of the client is needed.

mod append;
mod batch;
mod client;
mod stream;
mod time;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{HeaderMap, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chat_core::Unavailable;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::stats::count;

pub(crate) use append::Part;
pub(crate) use batch::{From, Stored};
pub(crate) use client::{Client, Subscription};
pub(crate) use stream::{StreamConfig, StreamInfo};
#[cfg(test)]
pub(crate) use time::rfc3339;

/// The time for a request that can be repeated.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The time for the acknowledgement of a record. The writer then asks if the record is stored.
const APPEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The largest message of a server with its default settings.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// The bytes that are left for the headers of a message.
const HEADER_BYTES: usize = 1024;

/// The error codes of the server that this crate knows.
mod code {
    pub(super) const NO_STREAM: u32 = 10_059;
    pub(super) const NO_MESSAGE: u32 = 10_037;
    pub(super) const NAME_IN_USE: u32 = 10_058;
    /// There are not enough servers for the copies yet, or they have no leader.
    pub(super) const NOT_READY: [u32; 2] = [10_005, 10_008];
    /// Another record was stored, or one is still on its way. Only the first form has a number.
    pub(super) const WRONG_SEQUENCE: [u32; 2] = [10_071, 10_164];
    /// A part of a batch was lost, or too many batches are in progress.
    pub(super) const NO_BATCH: [u32; 2] = [10_176, 10_210];
    /// The messages that say that the message to delete is not there.
    pub(super) const NOT_DELETED: [u32; 3] = [NO_MESSAGE, 10_043, 10_057];
}

/// A connection to the servers, and the name of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) stream: String,
    /// The requests to the stream so far.
    pub(crate) requests: Arc<AtomicU64>,
}

/// An error of a request.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// No server answers for the stream: it has no leader now, or it does not exist.
    #[error("no server answers for the stream {0}")]
    NoResponders(String),
    #[error("the servers did not answer in time")]
    TimedOut,
    #[error("the connection to the servers is lost: {0}")]
    Disconnected(String),
    #[error("the servers refused the request: {description} ({code})")]
    Refused { code: u32, description: String },
    #[error("the servers answered in a form that is not known")]
    Malformed,
    #[error("the record is larger than a message that the servers take")]
    TooLarge,
}

impl LinkError {
    /// Returns true if the stream does not exist.
    pub(crate) fn is_no_stream(&self) -> bool {
        matches!(self, Self::Refused { code: code::NO_STREAM, .. })
    }

    /// Returns true if servers that have just started may answer otherwise soon.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::NoResponders(_) | Self::TimedOut => true,
            Self::Refused { code, .. } => code::NOT_READY.contains(code),
            _ => false,
        }
    }
}

impl std::convert::From<LinkError> for Unavailable {
    fn from(error: LinkError) -> Self {
        Self::from_source(error)
    }
}

/// The reason why a record is not stored, or may not be.
#[derive(Clone, Debug)]
pub(crate) enum AppendRefused {
    /// Not stored: the room has, or will have, another record at its end.
    WrongSequence,
    /// Not stored: the stream has no leader now.
    NoLeader,
    /// Not stored, and a repeat would not be stored either.
    Rejected(LinkError),
    /// Perhaps stored, now or later.
    Unknown,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Error { error: ApiError },
    Ok(T),
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct Acknowledged {
    seq: u64,
}

#[derive(Deserialize)]
struct Removed {
    #[serde(rename = "success")]
    _success: bool,
}

#[derive(Deserialize)]
struct Found {
    message: FoundMessage,
}

#[derive(Deserialize)]
struct FoundMessage {
    seq: u64,
    #[serde(default)]
    data: String,
}

impl Link {
    /// Returns a link to another stream on the same connection. Its requests are counted with those of this one.
    pub(crate) fn to(&self, stream: String) -> Self {
        Self { stream, ..self.clone() }
    }

    /// Returns the largest payload of a message with the headers of this crate.
    pub(crate) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Stores a record at the end of a room whose last record is at the place `last`. Returns the place of the record.
    /// The other parts are stored together with it and before it, or not at all; a subject is in them once.
    pub(crate) async fn append(
        &self,
        subject: &str,
        last: u64,
        record: Bytes,
        parts: &[(String, Bytes)],
    ) -> Result<u64, AppendRefused> {
        let part = |(subject, payload): &(String, Bytes)| {
            let (subject, payload) = (subject.clone(), payload.clone());
            Part { subject, last: None, payload }
        };
        let mut parts: Vec<_> = parts.iter().map(part).collect();
        parts.push(Part { subject: subject.to_owned(), last: Some(last), payload: record });
        self.append_each(&parts).await
    }

    /// Removes a message of the stream, and overwrites its bytes. One that is not there is removed already.
    pub(crate) async fn erase(&self, place: u64) -> Result<(), LinkError> {
        let query = json!({ "seq": place });
        match self.api::<Removed>(&format!("STREAM.MSG.DELETE.{}", self.stream), &query).await {
            Ok(_) => Ok(()),
            Err(error @ LinkError::Refused { code, .. }) if code::NOT_DELETED.contains(&code) => {
                let is_there = self.message(&query).await?.is_some();
                if is_there { Err(error) } else { Ok(()) }
            }
            Err(error) => Err(error),
        }
    }

    /// Removes a message of the stream, as [`erase`](Self::erase) does, but waits for no answer.
    pub(crate) async fn erase_later(&self, place: u64) {
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{}", self.stream);
        let query = json!({ "seq": place }).to_string();
        let _lost = self.client.publish(subject, None, None, query.into()).await;
    }

    /// Stores a message without an expectation, and returns its place. An answer shows that a majority of the servers
    /// has stored it.
    pub(crate) async fn probe(&self, subject: &str) -> Result<u64, LinkError> {
        let request = Request::new().timeout(Some(REQUEST_TIMEOUT));
        Ok(self.request::<Acknowledged>(subject.to_owned(), request).await?.seq)
    }

    /// Returns the place and the bytes of the last record of a room, as the leader of the stream has it.
    pub(crate) async fn last(&self, subject: &str) -> Result<Option<(u64, Bytes)>, LinkError> {
        self.message(&json!({ "last_by_subj": subject })).await
    }

    async fn message(&self, query: &serde_json::Value) -> Result<Option<(u64, Bytes)>, LinkError> {
        match self.api::<Found>(&format!("STREAM.MSG.GET.{}", self.stream), query).await {
            Ok(Found { message }) => {
                let data = STANDARD.decode(message.data).map_err(|_| LinkError::Malformed)?;
                Ok(Some((message.seq, data.into())))
            }
            Err(LinkError::Refused { code: code::NO_MESSAGE, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the first message of a subject that is not before a place, as the leader of the stream has it.
    pub(crate) async fn next(&self, subject: &str, place: u64) -> Result<Option<(u64, Bytes)>, LinkError> {
        self.message(&json!({ "next_by_subj": subject, "seq": place.max(1) })).await
    }

    /// Sends a request of the JetStream API.
    async fn api<T: DeserializeOwned>(
        &self,
        method: &str,
        query: &(impl Serialize + Sync),
    ) -> Result<T, LinkError> {
        let query = serde_json::to_vec(query).map_err(|_| LinkError::Malformed)?;
        let request = Request::new().payload(query.into()).timeout(Some(REQUEST_TIMEOUT));
        self.request(format!("$JS.API.{method}"), request).await
    }

    async fn request<T: DeserializeOwned>(&self, subject: String, request: Request) -> Result<T, LinkError> {
        count(&self.requests, 1);
        let answer = self.client.request(subject, request).await;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => LinkError::NoResponders(self.stream.clone()),
            RequestErrorKind::TimedOut => LinkError::TimedOut,
            RequestErrorKind::MaxPayloadExceeded => LinkError::TooLarge,
            _ => LinkError::Disconnected(error.to_string()),
        })?;
        match serde_json::from_slice(&answer.payload) {
            Ok(Answer::Ok(answer)) => Ok(answer),
            Ok(Answer::Error { error }) => {
                Err(LinkError::Refused { code: error.err_code, description: error.description })
            }
            Err(_) => Err(LinkError::Malformed),
        }
    }
}

/// Returns the largest payload that the server takes, with room for headers.
pub(crate) fn max_payload(client: &async_nats::Client) -> usize {
    match client.server_info().max_payload {
        0 => MAX_PAYLOAD,
        most => most,
    }
    .saturating_sub(HEADER_BYTES)
}

/// Returns the number in a header.
pub(crate) fn number(headers: Option<&HeaderMap>, name: &str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}
