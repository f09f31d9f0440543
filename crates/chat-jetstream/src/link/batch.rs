use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use tokio::time::timeout;

use super::time::rfc3339;
use super::{Link, LinkError, REQUEST_TIMEOUT, number};

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
}

/// A message of the stream.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) place: u64,
    pub(crate) subject: String,
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
        let lost = |error: &dyn std::fmt::Display| LinkError::Disconnected(error.to_string());
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|error| lost(&error))?;
        let topic = format!("$JS.API.DIRECT.GET.{}", self.stream);
        let sent = self.client.publish_with_reply(topic, inbox, query.to_string().into()).await;
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
                return Ok(batch);
            }
            match answer.status.map(|status| status.as_u16()) {
                None => {}
                // The end of the batch.
                Some(204) => {
                    batch.more =
                        number(answer.headers.as_ref(), "Nats-Num-Pending").is_some_and(|left| left > 0);
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
            batch.messages.push(Stored {
                place,
                subject: subject.unwrap_or_default(),
                payload: answer.payload,
            });
        }
    }
}
