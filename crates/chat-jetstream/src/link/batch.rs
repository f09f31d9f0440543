use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::time::{millis, rfc3339};
use super::{Link, LinkError, REQUEST_TIMEOUT, number};
use crate::stats::count;

/// The bytes after which a batch ends.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// The first message of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    /// The first one that is not before this place in the stream.
    Place(u64),
    /// The first one that is not before this time, in milliseconds since the Unix epoch.
    Time(u64),
}

/// Some messages of the stream, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) messages: Vec<Stored>,
    /// True if the server has more.
    pub(crate) more: bool,
    /// The last place that the server knows, if it has said so.
    up_to: Option<u64>,
    /// True if an answer was lost.
    is_cut: bool,
}

/// A message of the stream.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) place: u64,
    pub(crate) subject: String,
    /// The time at which it was stored, in milliseconds since the Unix epoch, if the server has said so.
    pub(crate) at: Option<u64>,
    pub(crate) payload: Bytes,
}

impl Link {
    /// Reads messages of a subject, which may have wildcards. Any server that has a copy of the stream answers. It may
    /// be behind the leader, so the end of the stream may be missing.
    pub(crate) async fn batch(&self, subject: &str, from: From, count: usize) -> Result<Batch, LinkError> {
        let mut query =
            json!({ "next_by_subj": subject, "batch": count.max(1), "max_bytes": MAX_BATCH_BYTES });
        match from {
            From::Place(place) => query["seq"] = place.max(1).into(),
            From::Time(at) => query["start_time"] = rfc3339(at).into(),
        }
        self.messages(&query).await
    }

    /// Reads the last message of each of these subjects. Those without a message are left out. Any server that has a
    /// copy of the stream up to the place `least` answers; `None` if the one that has answered is behind.
    pub(crate) async fn last_of(
        &self,
        mut subjects: Vec<String>,
        known: &str,
        least: u64,
    ) -> Result<Option<Vec<Stored>>, LinkError> {
        let batch = self.messages(&json!({ "multi_last": subjects })).await?;
        if batch.is_cut {
            return Err(LinkError::TimedOut);
        }
        if let Some(up_to) = batch.up_to {
            return Ok((up_to >= least).then_some(batch.messages));
        }
        // A server without any such message does not say up to which place it has the stream.
        subjects.push(known.to_owned());
        let batch = self.messages(&json!({ "multi_last": subjects })).await?;
        if batch.is_cut {
            return Err(LinkError::TimedOut);
        }
        let is_behind = batch.up_to.is_none_or(|up_to| up_to < least);
        let messages = batch.messages.into_iter().filter(|stored| stored.subject != known);
        Ok((!is_behind).then(|| messages.collect()))
    }

    async fn messages(&self, query: &Value) -> Result<Batch, LinkError> {
        let lost = |error: &dyn std::fmt::Display| LinkError::Disconnected(error.to_string());
        count(&self.requests, 1);
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone(), None).await.map_err(|error| lost(&error))?;
        let topic = format!("$JS.API.DIRECT.GET.{}", self.stream);
        let sent = self.client.publish(topic, Some(inbox), None, query.to_string().into()).await;
        sent.map_err(|error| lost(&error))?;
        let mut batch = Batch::default();
        loop {
            let answer = timeout(REQUEST_TIMEOUT, answers.next()).await.map_err(|_| LinkError::TimedOut)?;
            let answer = answer.ok_or(LinkError::TimedOut)?;
            let before = number(answer.headers.as_ref(), "Nats-Last-Sequence");
            let last = batch.messages.last().map_or(0, |last: &Stored| last.place);
            if before.is_some_and(|before| before != last) {
                // An answer before this one is lost. The next batch begins there.
                batch.more = !batch.messages.is_empty();
                batch.is_cut = true;
                return Ok(batch);
            }
            match answer.status.map(|status| status.as_u16()) {
                None => {}
                // The end of the batch.
                Some(204) => {
                    batch.more =
                        number(answer.headers.as_ref(), "Nats-Num-Pending").is_some_and(|left| left > 0);
                    batch.up_to = number(answer.headers.as_ref(), "Nats-UpTo-Sequence");
                    return Ok(batch);
                }
                // No such message.
                Some(404) => return Ok(batch),
                Some(503) => return Err(LinkError::NoResponders(self.stream.clone())),
                Some(status) => {
                    let description = answer.description.unwrap_or_default();
                    return Err(LinkError::Refused { code: status.into(), description });
                }
            }
            let headers = answer.headers.as_ref();
            let place = number(headers, "Nats-Sequence").ok_or(LinkError::Malformed)?;
            let subject = headers.and_then(|headers| headers.get("Nats-Subject")).map(ToString::to_string);
            let at = headers.and_then(|headers| millis(headers.get("Nats-Time-Stamp")?.as_str()));
            batch.messages.push(Stored {
                place,
                subject: subject.unwrap_or_default(),
                at,
                payload: answer.payload,
            });
        }
    }
}
