use async_nats::{Message, Request, RequestErrorKind};
use chat_core::{ChangeError, RoomName, Unavailable};
use serde::{Deserialize, Serialize};

use crate::node::Node;
use crate::room::{Receipt, Work};

/// The appends of other nodes that are in progress at the same time.
pub(super) const MAX_ASKED: usize = 4_096;

/// A message, a change or an act that one node asks another one to store. The bodies stay as they are, byte for byte.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked<W = Work> {
    pub(crate) room: RoomName,
    pub(crate) work: W,
}

/// The answer of the other node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer {
    Done(Receipt),
    KeyConflict,
    Forbidden,
    Muted,
    RoomExists,
    NoMessage,
    Gone,
    TooLate,
    Conflict,
    TooManyReactions,
    TooManyPins,
    Unsupported,
    OverQuota { cause: String },
    Unavailable { cause: String },
}

impl From<Result<Receipt, ChangeError>> for Answer {
    fn from(result: Result<Receipt, ChangeError>) -> Self {
        match result {
            Ok(receipt) => Self::Done(receipt),
            Err(ChangeError::KeyConflict) => Self::KeyConflict,
            Err(ChangeError::Forbidden) => Self::Forbidden,
            Err(ChangeError::Muted) => Self::Muted,
            Err(ChangeError::RoomExists) => Self::RoomExists,
            Err(ChangeError::NoMessage) => Self::NoMessage,
            Err(ChangeError::Gone) => Self::Gone,
            Err(ChangeError::TooLate) => Self::TooLate,
            Err(ChangeError::Conflict) => Self::Conflict,
            Err(ChangeError::TooManyReactions) => Self::TooManyReactions,
            Err(ChangeError::TooManyPins) => Self::TooManyPins,
            Err(ChangeError::Unsupported) => Self::Unsupported,
            Err(ChangeError::Unavailable(error)) if error.is_over_quota() => {
                Self::OverQuota { cause: error.cause().to_owned() }
            }
            Err(error) => Self::Unavailable { cause: error.to_string() },
        }
    }
}

impl From<Answer> for Result<Receipt, ChangeError> {
    fn from(answer: Answer) -> Self {
        Err(match answer {
            Answer::Done(receipt) => return Ok(receipt),
            Answer::KeyConflict => ChangeError::KeyConflict,
            Answer::Forbidden => ChangeError::Forbidden,
            Answer::Muted => ChangeError::Muted,
            Answer::RoomExists => ChangeError::RoomExists,
            Answer::NoMessage => ChangeError::NoMessage,
            Answer::Gone => ChangeError::Gone,
            Answer::TooLate => ChangeError::TooLate,
            Answer::Conflict => ChangeError::Conflict,
            Answer::TooManyReactions => ChangeError::TooManyReactions,
            Answer::TooManyPins => ChangeError::TooManyPins,
            Answer::Unsupported => ChangeError::Unsupported,
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

    /// Asks another node to store something. Returns `None` if that node is not there, so that nothing is stored.
    pub(crate) async fn ask(&self, node: &str, asked: &Asked<&Work>) -> Option<Result<Receipt, ChangeError>> {
        let limits = self.limits()?;
        let payload = serde_json::to_vec(asked).ok()?;
        let limits = &limits.rooms;
        let is_purge = matches!(asked.work, Work::Purge(_));
        let time = if is_purge { limits.purge_timeout } else { limits.call_timeout };
        let headers = self.clocks.headers(self.peers.name());
        let request = Request::new().headers(headers).payload(payload.into()).timeout(Some(time));
        match self.link.client.request(self.asked_subject(node), request).await {
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

    /// Waits until this node has answered all that it was asked. It takes no more.
    pub(super) async fn answered_all(&self) {
        if let Ok(all) = self.asked.acquire_many(u32::try_from(MAX_ASKED).unwrap_or(u32::MAX)).await {
            all.forget();
        }
    }

    /// Appends for another node, and answers. The other node does not wait any more for what was on its way for too
    /// long, and its client may have done something else since. A purge says itself up to which message it goes.
    pub(super) async fn answer(self: &std::sync::Arc<Self>, message: Message) {
        let Some(reply) = message.reply else { return };
        let answer = match (serde_json::from_slice::<Asked>(&message.payload), self.limits()) {
            (Ok(Asked { room, work }), Some(limits)) => {
                let left =
                    limits.rooms.call_timeout.saturating_sub(self.clocks.delay(message.headers.as_ref()));
                if left.is_zero() && !matches!(work, Work::Purge(_)) {
                    Err(Unavailable::new("the request of another node has come too late").into())
                } else {
                    self.room(&room, limits).carry_out_within(work, left).await
                }
            }
            _ => Err(Unavailable::new("the node cannot append for another one").into()),
        };
        if let Ok(answer) = serde_json::to_vec(&Answer::from(answer)) {
            // The other node repeats, or appends itself.
            let _lost = self.link.client.publish(reply.to_string(), None, None, answer.into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use chat_core::{Act, Change, NewAct, NewChange, NewMessage, RawValue, Role, User};

    use super::*;
    use crate::room::PurgeOrder;

    #[test]
    fn an_asked_append_keeps_each_byte_of_the_body() {
        let body = RawValue::from_string("{ \"n\" : 1.50,\t\"text\":\"\\u00e9\" }".to_owned()).unwrap();
        let message = NewMessage::new(User::new("7", "Ann").unwrap(), body).with_key("k".to_owned());
        let change = NewChange::new(message.user.clone(), 7, Change::Edit { body: message.body.clone() });
        let act =
            NewAct::new(message.user.clone(), Act::Role { user: message.user.clone(), role: Role::Member });
        let act = act.with_role(Role::Owner).with_target_role(Role::Member).by_host();
        let purge = NewAct::new(message.user.clone(), Act::Purge { user: message.user.clone() });
        let purge = Work::Purge(Box::new(PurgeOrder { act: purge, epoch: "e".to_owned(), up_to: 9 }));
        let change = Work::Change(change.with_key("e".to_owned()));
        let works = [Work::Append(message.clone()), change, Work::Act(Box::new(act)), purge];
        for work in &works {
            let asked = Asked { room: "lobby".parse().unwrap(), work };
            let read: Asked = serde_json::from_slice(&serde_json::to_vec(&asked).unwrap()).unwrap();
            assert_eq!(read.room, asked.room);
            match (read.work, work) {
                (Work::Append(read), Work::Append(sent)) => {
                    assert_eq!(
                        (read.content(), &read.user, &read.key),
                        (sent.content(), &sent.user, &sent.key)
                    );
                }
                (Work::Change(read), Work::Change(sent)) => {
                    assert_eq!((read.content(), &read.user), (sent.content(), &sent.user));
                }
                (Work::Act(read), Work::Act(sent)) => assert_eq!(format!("{read:?}"), format!("{sent:?}")),
                (Work::Purge(read), Work::Purge(sent)) => {
                    assert_eq!(format!("{read:?}"), format!("{sent:?}"));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn each_answer_comes_back_as_it_was_given() {
        let errors = [
            ChangeError::KeyConflict,
            ChangeError::Forbidden,
            ChangeError::Muted,
            ChangeError::RoomExists,
            ChangeError::NoMessage,
            ChangeError::Gone,
            ChangeError::TooLate,
            ChangeError::Conflict,
            ChangeError::TooManyReactions,
            ChangeError::TooManyPins,
            ChangeError::Unsupported,
        ];
        let quota = ChangeError::Unavailable(Unavailable::over_quota("full"));
        let receipt = |seq, duplicate| Receipt::new("e".to_owned(), seq, 2, duplicate);
        let receipts = [receipt(Some(1), false), receipt(Some(1), true), receipt(None, false)];
        let results = errors.into_iter().chain([quota]).map(Err).chain(receipts.map(Ok));
        for result in results {
            let json = serde_json::to_vec(&Answer::from(result.clone())).unwrap();
            let read: Result<_, _> = serde_json::from_slice::<Answer>(&json).unwrap().into();
            assert_eq!(read, result);
        }
    }
}
