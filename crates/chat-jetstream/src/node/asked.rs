use async_nats::{Message, Request, RequestErrorKind};
use chat_core::{AppendError, AppendReceipt, NewMessage, RoomName, Unavailable};
use serde::{Deserialize, Serialize};

use crate::node::Node;

/// An append that one node asks another one for. The body of the message stays as it is, byte for byte.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked<M = NewMessage> {
    pub(crate) room: RoomName,
    pub(crate) message: M,
}

/// The answer of the other node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer {
    Stored { epoch: String, seq: u64, at: u64, duplicate: bool },
    KeyConflict,
    Forbidden,
    Muted,
    NoMessage,
    Unsupported,
    OverQuota { cause: String },
    Unavailable { cause: String },
}

impl From<Result<AppendReceipt, AppendError>> for Answer {
    fn from(result: Result<AppendReceipt, AppendError>) -> Self {
        match result {
            Ok(AppendReceipt { epoch, seq, at, duplicate, .. }) => Self::Stored { epoch, seq, at, duplicate },
            Err(AppendError::KeyConflict) => Self::KeyConflict,
            Err(AppendError::Forbidden) => Self::Forbidden,
            Err(AppendError::Muted) => Self::Muted,
            Err(AppendError::NoMessage) => Self::NoMessage,
            Err(AppendError::Unsupported) => Self::Unsupported,
            Err(AppendError::Unavailable(error)) if error.is_over_quota() => {
                Self::OverQuota { cause: error.cause().to_owned() }
            }
            Err(error) => Self::Unavailable { cause: error.to_string() },
        }
    }
}

impl From<Answer> for Result<AppendReceipt, AppendError> {
    fn from(answer: Answer) -> Self {
        Err(match answer {
            Answer::Stored { epoch, seq, at, duplicate } => {
                let receipt = AppendReceipt::new(epoch, seq, at);
                return Ok(if duplicate { receipt.repeated() } else { receipt });
            }
            Answer::KeyConflict => AppendError::KeyConflict,
            Answer::Forbidden => AppendError::Forbidden,
            Answer::Muted => AppendError::Muted,
            Answer::NoMessage => AppendError::NoMessage,
            Answer::Unsupported => AppendError::Unsupported,
            Answer::OverQuota { cause } => Unavailable::over_quota(cause).into(),
            Answer::Unavailable { cause } => Unavailable::new(cause).into(),
        })
    }
}

impl Node {
    /// Returns the subject on which a node is asked.
    pub(super) fn asked_subject(&self, node: &str) -> String {
        format!("{}.a.{node}", self.link.stream)
    }

    /// Asks another node to append. Returns `None` if that node is not there, so that nothing is stored.
    pub(crate) async fn ask(
        &self,
        node: &str,
        asked: &Asked<&NewMessage>,
    ) -> Option<Result<AppendReceipt, AppendError>> {
        let limits = self.limits()?;
        let payload = serde_json::to_vec(asked).ok()?;
        let request = Request::new().payload(payload.into()).timeout(Some(limits.rooms.call_timeout));
        match self.link.client.send_request(self.asked_subject(node), request).await {
            Ok(answer) => {
                let answer = serde_json::from_slice::<Answer>(&answer.payload);
                let unknown = |_| Unavailable::new("a node of another version has answered").into();
                Some(answer.map_err(unknown).and_then(Result::from))
            }
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                self.peers.lost(node);
                None
            }
            Err(error) => {
                Some(Err(Unavailable::new(format!("the node {node} did not answer: {error}")).into()))
            }
        }
    }

    /// Appends for another node, and answers.
    pub(super) async fn answer(self: &std::sync::Arc<Self>, message: Message) {
        let Some(reply) = message.reply else { return };
        let answer = match (serde_json::from_slice::<Asked>(&message.payload), self.limits()) {
            (Ok(Asked { room, message }), Some(limits)) => self.room(&room, limits).append(message).await,
            _ => Err(Unavailable::new("the node cannot append for another one").into()),
        };
        if let Ok(answer) = serde_json::to_vec(&Answer::from(answer)) {
            // The other node repeats, or appends itself.
            let _lost = self.link.client.publish(reply, answer.into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use chat_core::{RawValue, User};

    use super::*;

    #[test]
    fn an_asked_append_keeps_each_byte_of_the_body() {
        let body = RawValue::from_string("{ \"n\" : 1.50,\t\"text\":\"\\u00e9\" }".to_owned()).unwrap();
        let message = NewMessage::new(User::new("7", "Ann").unwrap(), body).with_key("k".to_owned());
        let asked = Asked { room: "lobby".parse().unwrap(), message: &message };
        let read: Asked = serde_json::from_slice(&serde_json::to_vec(&asked).unwrap()).unwrap();
        assert_eq!((read.room, read.message.content()), (asked.room, message.content()));
        assert_eq!((read.message.user, read.message.key), (message.user, message.key));
    }

    #[test]
    fn each_answer_comes_back_as_it_was_given() {
        let errors = [
            AppendError::KeyConflict,
            AppendError::Forbidden,
            AppendError::Muted,
            AppendError::NoMessage,
            AppendError::Unsupported,
        ];
        let quota = AppendError::Unavailable(Unavailable::over_quota("full"));
        let receipts = [AppendReceipt::new("e", 1, 2), AppendReceipt::new("e", 1, 2).repeated()];
        let results = errors.into_iter().chain([quota]).map(Err).chain(receipts.map(Ok));
        for result in results {
            let json = serde_json::to_vec(&Answer::from(result.clone())).unwrap();
            let read: Result<_, _> = serde_json::from_slice::<Answer>(&json).unwrap().into();
            assert_eq!(read, result);
        }
    }
}
