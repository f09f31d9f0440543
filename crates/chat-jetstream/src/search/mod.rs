//! Searches through an index, which some nodes of the cluster keep for all.

#[cfg(feature = "search-index")]
mod follow;
#[cfg(feature = "search-index")]
mod index;

use std::time::Duration;

use async_nats::Request;
use serde::{Deserialize, Serialize};

use crate::node::Node;

#[cfg(feature = "search-index")]
pub(crate) use index::SearchIndex;

/// The time for another node to answer. It may wait for its index, and then looks.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// A question to a node with an index: which messages may match a query?
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The log, as [`Life::source`](crate::life::Life::source) names it.
    pub(crate) source: String,
    /// The token of the room.
    pub(crate) room: String,
    pub(crate) query: String,
    /// The first position that is not searched.
    pub(crate) before: u64,
    pub(crate) limit: usize,
    /// The place up to which the index must have the log.
    pub(crate) place: u64,
}

/// The answer. The node that has asked examines the messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Positions, newest first, each with the place of its record, or with an earlier one.
    pub(crate) positions: Vec<(u64, u64)>,
    /// The position down to which the room was searched.
    pub(crate) down_to: u64,
}

impl Node {
    /// Returns the subject on which the nodes with an index are asked.
    fn searches_subject(&self) -> String {
        format!("{}.q", self.link.stream)
    }

    /// Asks the index of this node, or of another one. Returns `None` if none answers.
    pub(crate) async fn candidates(&self, question: &Question) -> Option<Found> {
        #[cfg(feature = "search-index")]
        if let Some(index) = self.index.get()
            && let Some(found) = index.answer(question).await
        {
            return Some(found);
        }
        let payload = serde_json::to_vec(question).ok()?;
        let request = Request::new().payload(payload.into()).timeout(Some(ANSWER_TIMEOUT));
        let answer = self.link.client.request(self.searches_subject(), request).await.ok()?;
        serde_json::from_slice::<Option<Found>>(&answer.payload).ok().flatten()
    }
}
