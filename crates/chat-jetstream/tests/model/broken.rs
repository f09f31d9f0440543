//! Nodes that are broken on purpose, to show that schedules find it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::client::{PublishError, RequestError};
use async_nats::{HeaderMap, Message, Request, SubscribeError};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::link::{Client, Subscription, number};

/// A place from which on a stream has nothing.
const NOTHING: u64 = 1 << 50;

const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// The defect of all nodes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A record is stored whatever the last one is.
    NoExpectation,
    /// A node does not read the notices that it has missed.
    NoRepair,
    /// A message is acknowledged before it is stored.
    EarlyAnswer,
    /// The key of a message is not checked.
    NoKeys,
    /// The state of a message is read from a copy that is behind.
    StaleReads,
    /// A message counts as old from the beginning.
    NoAges,
    /// The end of a room is removed with its old records.
    NoHeads,
}

impl Mutant {
    pub(crate) const ALL: [Self; 7] = [
        Self::NoExpectation,
        Self::NoRepair,
        Self::EarlyAnswer,
        Self::NoKeys,
        Self::StaleReads,
        Self::NoAges,
        Self::NoHeads,
    ];

    /// Returns the seed of a schedule that has found the defect. After a change of the crate, a later one may find it.
    pub(super) fn first_seed(self) -> u64 {
        match self {
            Self::NoExpectation | Self::EarlyAnswer | Self::NoAges | Self::NoHeads => 0,
            Self::NoKeys => 1,
            Self::NoRepair => 6,
            Self::StaleReads => 13,
        }
    }
}

/// A connection that does what the crate would do with a defect.
#[derive(Debug)]
pub(crate) struct Broken {
    client: Arc<dyn Client>,
    mutant: Mutant,
    /// The highest place of a notice.
    heard: Arc<AtomicU64>,
}

impl Broken {
    pub(crate) fn new(client: Arc<dyn Client>, mutant: Mutant) -> Self {
        Self { client, mutant, heard: Arc::default() }
    }
}

#[async_trait]
impl Client for Broken {
    async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        headers: Option<HeaderMap>,
        mut payload: Bytes,
    ) -> Result<(), PublishError> {
        let mut query: Value = serde_json::from_slice(&payload).unwrap_or_default();
        let is_of_all = query["next_by_subj"].as_str().is_some_and(|subject| subject.ends_with('>'));
        if self.mutant == Mutant::NoRepair && is_of_all {
            query["seq"] = NOTHING.into();
            payload = query.to_string().into();
        }
        self.client.publish(subject, reply, headers, payload).await
    }

    async fn request(&self, subject: String, mut request: Request) -> Result<Message, RequestError> {
        let is_record = request.headers.as_ref().is_some_and(|headers| headers.get(EXPECTED).is_some());
        match self.mutant {
            Mutant::NoExpectation if is_record => {
                let mut kept = HeaderMap::new();
                for (name, values) in request.headers.take().iter().flat_map(HeaderMap::iter) {
                    if name.to_string() != EXPECTED {
                        values.iter().for_each(|value| kept.append(name.clone(), value.clone()));
                    }
                }
                request.headers = Some(kept);
                self.client.request(subject, request).await
            }
            Mutant::EarlyAnswer if is_record => {
                let place = self.heard.fetch_add(1, Ordering::SeqCst) + 1;
                let (client, topic) = (Arc::clone(&self.client), subject.clone());
                tokio::spawn(async move { client.request(topic, request).await });
                Ok(super::network::message(&subject, json!({ "seq": place }).to_string()))
            }
            Mutant::NoHeads if subject.contains("STREAM.PURGE") => {
                let mut query: Value =
                    serde_json::from_slice(&request.payload.unwrap_or_default()).unwrap_or_default();
                query["seq"] = NOTHING.into();
                request.payload = Some(query.to_string().into());
                self.client.request(subject, request).await
            }
            _ => self.client.request(subject, request).await,
        }
    }

    async fn subscribe(
        &self,
        subject: String,
        group: Option<String>,
    ) -> Result<Subscription, SubscribeError> {
        let (heard, mutant) = (Arc::clone(&self.heard), self.mutant);
        let messages = self.client.subscribe(subject, group).await?;
        let alter = move |mut message: Message| {
            if message.subject.contains(".e.")
                && let Some(place) = number(message.headers.as_ref(), "Nats-Sequence")
            {
                heard.fetch_max(place, Ordering::SeqCst);
            }
            if let (Mutant::NoAges, Some(headers)) = (mutant, &mut message.headers)
                && headers.get("Nats-Time-Stamp").is_some()
            {
                headers.insert("Nats-Time-Stamp", "2001-02-03T04:05:06Z");
            }
            if let (Mutant::StaleReads, Some(headers)) = (mutant, &mut message.headers)
                && headers.get("Nats-UpTo-Sequence").is_some()
            {
                headers.insert("Nats-UpTo-Sequence", u64::MAX.to_string().as_str());
            }
            message
        };
        Ok(messages.map(alter).boxed())
    }

    async fn flush(&self) {
        self.client.flush().await;
    }

    async fn drain(&self) {
        self.client.drain().await;
    }

    fn new_inbox(&self) -> String {
        self.client.new_inbox()
    }

    fn version(&self) -> String {
        self.client.version()
    }

    fn max_payload(&self) -> usize {
        self.client.max_payload()
    }
}
