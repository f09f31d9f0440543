use std::collections::BTreeMap;

use async_nats::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::time::millis;
use super::{Link, LinkError, REQUEST_TIMEOUT, Removed, code};

/// The settings of a stream. Settings that this crate does not know are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) num_replicas: usize,
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
}

/// A stream, as its leader has it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    pub(crate) state: StreamState,
    /// The time of the leader.
    #[serde(default)]
    pub(crate) ts: String,
    /// `None` if the server is not one of a cluster.
    #[serde(default)]
    pub(crate) cluster: Option<Copies>,
}

/// The servers that have a copy of a stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Copies {
    /// `None` while there is none. Then a server with a copy answers in its place.
    #[serde(default)]
    leader: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct StreamState {
    #[serde(default)]
    pub(crate) last_seq: u64,
}

/// The answer to a removal of several messages.
#[derive(Debug, Deserialize)]
struct Purged {
    purged: usize,
}

/// The subjects of the messages of a stream, as its leader has them.
#[derive(Debug, Deserialize)]
struct SubjectsInfo {
    state: SubjectsState,
    /// The number of all subjects that are asked for.
    #[serde(default)]
    total: usize,
}

#[derive(Debug, Deserialize)]
struct SubjectsState {
    /// `None` without any.
    subjects: Option<BTreeMap<String, u64>>,
}

impl StreamInfo {
    /// Returns a stream without messages.
    pub(crate) fn new(config: StreamConfig) -> Self {
        Self { config, state: StreamState { last_seq: 0 }, ts: String::new(), cluster: None }
    }

    /// Returns the time of the leader, in milliseconds since the Unix epoch, if it has said so.
    pub(crate) fn time(&self) -> Option<u64> {
        millis(&self.ts)
    }
}

impl Link {
    /// Returns the stream, or `None` if it does not exist. Without a leader, the stream cannot be used, and another
    /// server may say old things of it.
    pub(crate) async fn info(&self) -> Result<Option<StreamInfo>, LinkError> {
        // The client keeps a request until its answer comes, unless it has a subscription of its own. That costs the
        // servers more, but this question is repeated as long as there is no answer.
        let request = Request::new().inbox(self.client.new_inbox()).timeout(Some(REQUEST_TIMEOUT));
        match self.request::<StreamInfo>(format!("$JS.API.STREAM.INFO.{}", self.stream), request).await {
            Ok(info) if info.cluster.as_ref().is_some_and(|copies| copies.leader.is_none()) => {
                Err(LinkError::NoResponders(self.stream.clone()))
            }
            Ok(info) => Ok(Some(info)),
            Err(LinkError::Refused { code: code::NO_STREAM, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates the stream. If another node has created it meanwhile, that one is used.
    pub(crate) async fn create(&self, config: &StreamConfig) -> Result<(), LinkError> {
        match self.api::<StreamInfo>(&format!("STREAM.CREATE.{}", self.stream), config).await {
            Ok(_) | Err(LinkError::Refused { code: code::NAME_IN_USE, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes the stream. One that does not exist is removed already.
    pub(crate) async fn delete(&self) -> Result<(), LinkError> {
        match self.api::<Removed>(&format!("STREAM.DELETE.{}", self.stream), &json!({})).await {
            Ok(_) | Err(LinkError::Refused { code: code::NO_STREAM, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the subjects of all messages of some subjects.
    pub(crate) async fn subjects(&self, filter: &str) -> Result<Vec<String>, LinkError> {
        let mut subjects = Vec::new();
        loop {
            let query = json!({ "subjects_filter": filter, "offset": subjects.len() });
            let info: SubjectsInfo = self.api(&format!("STREAM.INFO.{}", self.stream), &query).await?;
            let found = info.state.subjects.unwrap_or_default();
            let is_last = found.is_empty();
            subjects.extend(found.into_keys());
            if is_last || subjects.len() >= info.total {
                return Ok(subjects);
            }
        }
    }

    /// Changes the settings of the stream.
    pub(crate) async fn update(&self, config: &StreamConfig) -> Result<(), LinkError> {
        self.api::<StreamInfo>(&format!("STREAM.UPDATE.{}", self.stream), config).await.map(drop)
    }

    /// Removes all messages of a subject but the last one. It waits for no answer.
    pub(crate) async fn keep_last(&self, subject: &str) {
        let query = json!({ "filter": subject, "keep": 1 }).to_string();
        let _lost = self
            .client
            .publish(format!("$JS.API.STREAM.PURGE.{}", self.stream), None, None, query.into())
            .await;
    }

    /// Removes the messages of a subject that are before a place. Returns their number.
    pub(crate) async fn purge(&self, subject: &str, before: u64) -> Result<usize, LinkError> {
        // A server removes all messages if the place is 0, and one before 2.12.10 or 2.14.2 also if it is 1:
        // <https://github.com/nats-io/nats-server/pull/8241>.
        if before <= 1 {
            return Ok(0);
        }
        let query = json!({ "filter": subject, "seq": before });
        let purged = self.api::<Purged>(&format!("STREAM.PURGE.{}", self.stream), &query).await?;
        Ok(purged.purged)
    }
}
