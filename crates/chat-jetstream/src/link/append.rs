use async_nats::client::PublishErrorKind;
use async_nats::{HeaderMap, Request};
use bytes::Bytes;

use super::{APPEND_TIMEOUT, Acknowledged, AppendRefused, Link, LinkError, code};
use crate::life::random_number;

/// A message that is stored together with others.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) subject: String,
    /// The place of the last message of the subject; 0 without one. `None` if it does not matter.
    pub(crate) last: Option<u64>,
    pub(crate) payload: Bytes,
}

impl Link {
    /// Stores messages together, or none of them. Returns the place of the last one. A subject is in them once.
    pub(crate) async fn append_each(&self, parts: &[Part]) -> Result<u64, AppendRefused> {
        let Some((end, others)) = parts.split_last() else { return Err(AppendRefused::Unknown) };
        let batch = format!("{:016x}", random_number());
        for (number, part) in (1..).zip(others) {
            let headers = part.headers(Some((&batch, number)), &self.stream);
            let sent = self.client.publish(part.subject.clone(), None, Some(headers), part.payload.clone());
            sent.await.map_err(|error| match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => AppendRefused::Rejected(LinkError::TooLarge),
                _ => AppendRefused::Unknown,
            })?;
        }
        let place = (!others.is_empty()).then_some((&*batch, parts.len()));
        let mut headers = end.headers(place, &self.stream);
        if place.is_some() {
            headers.insert("Nats-Batch-Commit", "1");
        }
        let request =
            Request::new().headers(headers).payload(end.payload.clone()).timeout(Some(APPEND_TIMEOUT));
        match self.request::<Acknowledged>(end.subject.clone(), request).await {
            Ok(acknowledged) => Ok(acknowledged.seq),
            Err(LinkError::NoResponders(_)) => Err(AppendRefused::NoLeader),
            Err(LinkError::Refused { code, .. }) if code::WRONG_SEQUENCE.contains(&code) => {
                Err(AppendRefused::WrongSequence)
            }
            Err(LinkError::Refused { code, .. }) if code::NO_BATCH.contains(&code) => {
                Err(AppendRefused::Unknown)
            }
            Err(error @ (LinkError::Refused { .. } | LinkError::TooLarge)) => {
                Err(AppendRefused::Rejected(error))
            }
            Err(_) => Err(AppendRefused::Unknown),
        }
    }
}

impl Part {
    /// Returns the headers, with the batch of the message and its place in the batch.
    fn headers(&self, batch: Option<(&str, usize)>, stream: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(last) = self.last {
            headers.insert("Nats-Expected-Stream", stream);
            headers.insert("Nats-Expected-Last-Subject-Sequence", last.to_string().as_str());
        }
        if let Some((batch, number)) = batch {
            headers.insert("Nats-Batch-Id", batch);
            headers.insert("Nats-Batch-Sequence", number.to_string().as_str());
        }
        headers
    }
}
