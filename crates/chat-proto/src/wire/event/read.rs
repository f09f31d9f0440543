use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;
use serde_json::value::RawValue;

use super::{Event, InvalidEvent, PresenceMode, PresenceState, What};
use crate::room::{Folded, Links, Mentions, PostRule, Rights, RoomRules};
use crate::{CloseCode, ErrorCode, Role, RoomName, StoredMessage, User};

/// The fields of an event, borrowed from the text of its frame.
///
/// It is read in one pass without a copy, and nested values stay text. This is cheap enough to check every delivery of
/// a load test. [`to_event`](Self::to_event) reads the rest. A text field that the event does not have is empty.
///
/// # Examples
///
/// ```
/// use chat_proto::RawEvent;
///
/// let event = RawEvent::parse(r#"{"type":"sent","ref":"1","room":"lobby","seq":7,"at":1}"#)?;
/// assert_eq!((&*event.kind, &*event.reference, event.seq), ("sent", "1", Some(7)));
/// # Ok::<(), chat_proto::InvalidEvent>(())
/// ```
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are those of PROTOCOL.md, section 4, word for word")]
pub struct RawEvent<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(rename = "ref", borrow)]
    pub reference: Cow<'a, str>,
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    pub seq: Option<u64>,
    #[serde(borrow)]
    pub user: Option<&'a RawValue>,
    pub at: Option<u64>,
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    #[serde(borrow)]
    pub body: Option<&'a RawValue>,
    pub rev: Option<u64>,
    #[serde(borrow)]
    pub edited: Option<&'a RawValue>,
    #[serde(borrow)]
    pub reactions: Option<&'a RawValue>,
    pub pinned: Option<bool>,
    #[serde(borrow)]
    pub replies: Option<&'a RawValue>,
    #[serde(borrow)]
    pub deleted: Option<&'a RawValue>,
    pub reply_to: Option<u64>,
    pub thread: Option<u64>,
    #[serde(borrow)]
    pub by: Option<&'a RawValue>,
    pub target: Option<u64>,
    #[serde(borrow)]
    pub what: Cow<'a, str>,
    pub duplicate: bool,
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    pub first: Option<u64>,
    pub recovered: Option<bool>,
    /// A number in `joined` and `occupancy`, a list in `members`.
    #[serde(borrow)]
    pub members: Option<&'a RawValue>,
    #[serde(borrow)]
    pub messages: Option<&'a RawValue>,
    pub more: bool,
    pub total: Option<usize>,
    pub read: Option<u64>,
    pub unread: Option<u64>,
    /// A number in `joined` and `activity`, a list or a text in `message` and `changed`.
    #[serde(borrow)]
    pub mentions: Option<&'a RawValue>,
    #[serde(borrow)]
    pub rooms: Option<&'a RawValue>,
    #[serde(borrow)]
    pub presence: Cow<'a, str>,
    #[serde(borrow)]
    pub pins: Option<&'a RawValue>,
    #[serde(borrow)]
    pub state: Cow<'a, str>,
    pub active: Option<bool>,
    pub from: Option<u64>,
    pub to: Option<u64>,
    /// A number in `closing`, a word in `error`.
    #[serde(borrow)]
    pub code: Option<&'a RawValue>,
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    pub reconnect_in_ms: Option<u64>,
    pub retry_after_ms: Option<u64>,
    #[serde(borrow)]
    pub detail: Option<&'a RawValue>,
    #[serde(borrow)]
    pub connection: Cow<'a, str>,
    #[serde(borrow)]
    pub limits: Option<&'a RawValue>,
    pub ping_interval: Option<u64>,
    pub expires_at: Option<u64>,
    #[serde(borrow)]
    pub role: Cow<'a, str>,
    #[serde(borrow)]
    pub may: Option<&'a RawValue>,
    #[serde(borrow)]
    pub restricted: Option<&'a RawValue>,
    #[serde(borrow)]
    pub unpinned: Option<&'a RawValue>,
    pub created: bool,
    #[serde(borrow)]
    pub join: Cow<'a, str>,
    #[serde(borrow)]
    pub post: Cow<'a, str>,
    #[serde(borrow)]
    pub title: Cow<'a, str>,
    pub receipts: bool,
    #[serde(borrow)]
    pub direct: Option<&'a RawValue>,
    #[serde(borrow)]
    pub with: Option<&'a RawValue>,
}

impl<'a> RawEvent<'a> {
    /// Reads the text of one frame.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent::NotAnEvent`] if the text is not one JSON object with a `type`, or if a field has a wrong type.
    pub fn parse(text: &'a str) -> Result<Self, InvalidEvent> {
        let event = serde_json::from_str::<Self>(text).ok().filter(|event| !event.kind.is_empty());
        event.ok_or(InvalidEvent::NotAnEvent)
    }

    /// Returns the [`ErrorCode`] of an `error` event, or `None` if the code is not a text.
    pub fn error_code(&self) -> Option<ErrorCode> {
        let code: Cow<'_, str> = part(self.code)?;
        Some(ErrorCode::from(&*code))
    }

    /// Reads the event as a whole.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent::Field`] if a field that the type of the event needs is missing or invalid.
    pub fn to_event(&self) -> Result<Event, InvalidEvent> {
        let reference = text(&self.reference);
        Ok(match &*self.kind {
            "welcome" => {
                let need = Need("welcome");
                Event::Welcome {
                    reference,
                    connection: self.connection.to_string(),
                    user: need.of("user", part(self.user))?,
                    limits: match self.limits {
                        Some(limits) => need.of("limits", part(Some(limits)))?,
                        None => Default::default(),
                    },
                    ping_interval: need.of("ping_interval", self.ping_interval)?,
                    expires_at: self.expires_at,
                }
            }
            "joined" => {
                let need = Need("joined");
                Event::Joined {
                    reference,
                    room: need.of("room", self.room())?,
                    epoch: need.of("epoch", text(&self.epoch))?,
                    seq: need.of("seq", self.seq)?,
                    first: need.of("first", self.first.filter(|first| *first > 0))?,
                    recovered: need.of("recovered", self.recovered)?,
                    members: need.of("members", part(self.members))?,
                    // A server that counts no users announces each.
                    presence: match &*self.presence {
                        "" => PresenceMode::Each,
                        _ => need.of("presence", self.presence_mode())?,
                    },
                    // A server without roles sends none.
                    role: match &*self.role {
                        "" => Role::None,
                        role => need.of("role", word(role))?,
                    },
                    may: match self.may {
                        Some(may) => need.of("may", part(Some(may)))?,
                        None => Rights::default(),
                    },
                    pins: need.of("pins", optional(self.pins))?.unwrap_or_default(),
                    read: self.read,
                    unread: self.unread,
                    mentions: part(self.mentions),
                    with: need.of("with", optional(self.with))?,
                    title: text(&self.title),
                    restricted: need.of("restricted", optional(self.restricted))?,
                }
            }
            "left" => Event::Left { reference, room: Need("left").of("room", self.room())? },
            "message" => {
                let need = Need("message");
                Event::Message {
                    room: need.of("room", self.room())?,
                    seq: need.of("seq", self.seq.filter(|seq| *seq > 0))?,
                    user: need.of("user", part(self.user))?,
                    at: need.of("at", self.at)?,
                    key: text(&self.key),
                    body: match self.deleted {
                        Some(_) => None,
                        None => Some(need.of("body", self.body)?.to_owned()),
                    },
                    folded: match self.rev {
                        Some(rev) => Some(Box::new(need.of("rev", self.folded(rev))?)),
                        None => None,
                    },
                    links: self.links(need)?.map(Box::new),
                }
            }
            "changed" => {
                let need = Need("changed");
                Event::Changed {
                    room: need.of("room", self.room())?,
                    seq: need.of("seq", self.seq.filter(|seq| *seq > 0))?,
                    at: need.of("at", self.at)?,
                    by: need.of("by", part(self.by))?,
                    target: need.of("target", self.target)?,
                    what: self.what(need)?,
                }
            }
            "role" => {
                let need = Need("role");
                Event::Role {
                    room: need.of("room", self.room())?,
                    seq: need.of("seq", self.seq.filter(|seq| *seq > 0))?,
                    at: need.of("at", self.at)?,
                    by: need.of("by", part(self.by))?,
                    user: need.of("user", part(self.user))?,
                    role: need.of("role", word(&self.role))?,
                    restricted: match self.restricted {
                        Some(restricted) => Some(need.of("restricted", part(Some(restricted)))?),
                        None => None,
                    },
                    reason: text(&self.reason),
                }
            }
            "settings" => {
                let need = Need("settings");
                Event::Settings {
                    room: need.of("room", self.room())?,
                    seq: need.of("seq", self.seq.filter(|seq| *seq > 0))?,
                    at: need.of("at", self.at)?,
                    by: need.of("by", part(self.by))?,
                    created: self.created,
                    rules: RoomRules {
                        join: need.of("join", word(&self.join))?,
                        post: match &*self.post {
                            "" => PostRule::Everybody,
                            post => need.of("post", word(post))?,
                        },
                        title: text(&self.title),
                        receipts: self.receipts,
                        direct: need.of("direct", optional(self.direct))?,
                    },
                }
            }
            "purged" => {
                let need = Need("purged");
                Event::Purged {
                    room: need.of("room", self.room())?,
                    seq: need.of("seq", self.seq.filter(|seq| *seq > 0))?,
                    at: need.of("at", self.at)?,
                    by: need.of("by", part(self.by))?,
                    user: need.of("user", part(self.user))?,
                    from: need.of("from", self.from)?,
                    to: need.of("to", self.to)?,
                    unpinned: need.of("unpinned", optional(self.unpinned))?.unwrap_or_default(),
                }
            }
            "done" => Event::Done {
                reference,
                room: Need("done").of("room", self.room())?,
                seq: self.seq,
                duplicate: self.duplicate,
            },
            "sent" => {
                let need = Need("sent");
                Event::Sent {
                    reference,
                    room: need.of("room", self.room())?,
                    seq: need.of("seq", self.seq)?,
                    at: need.of("at", self.at)?,
                    duplicate: self.duplicate,
                }
            }
            "history" => {
                let need = Need("history");
                Event::History {
                    reference,
                    room: need.of("room", self.room())?,
                    epoch: need.of("epoch", text(&self.epoch))?,
                    messages: need.of("messages", self.stored())?,
                    more: self.more,
                }
            }
            "found" => {
                let need = Need("found");
                Event::Found {
                    reference,
                    room: need.of("room", self.room())?,
                    messages: need.of("messages", self.stored())?,
                    more: self.more,
                }
            }
            "members" => {
                let need = Need("members");
                let members: Vec<User> = need.of("members", part(self.members))?;
                // A server without pages sends all.
                let total = self.total.unwrap_or(members.len());
                Event::Members {
                    reference,
                    room: need.of("room", self.room())?,
                    members,
                    more: self.more,
                    total,
                }
            }
            "read" => {
                let need = Need("read");
                Event::Read {
                    reference,
                    room: need.of("room", self.room())?,
                    user: need.of("user", part(self.user))?,
                    seq: need.of("seq", self.seq)?,
                }
            }
            "rooms" => {
                let rooms = Need("rooms").of("rooms", part(self.rooms))?;
                Event::Rooms { reference, rooms, more: self.more }
            }
            "activity" => {
                let need = Need("activity");
                Event::Activity {
                    room: need.of("room", self.room())?,
                    seq: need.of("seq", self.seq)?,
                    unread: need.of("unread", self.unread)?,
                    mentions: need.of("mentions", part(self.mentions))?,
                    with: need.of("with", optional(self.with))?,
                }
            }
            "presence" => {
                let need = Need("presence");
                let state = match &*self.state {
                    "joined" => Some(PresenceState::Joined),
                    "left" => Some(PresenceState::Left),
                    _ => None,
                };
                Event::Presence {
                    room: need.of("room", self.room())?,
                    user: need.of("user", part(self.user))?,
                    state: need.of("state", state)?,
                }
            }
            "occupancy" => {
                let need = Need("occupancy");
                Event::Occupancy {
                    room: need.of("room", self.room())?,
                    members: need.of("members", part(self.members))?,
                    presence: need.of("presence", self.presence_mode())?,
                }
            }
            "typing" => {
                let need = Need("typing");
                Event::Typing {
                    room: need.of("room", self.room())?,
                    user: need.of("user", part(self.user))?,
                    active: need.of("active", self.active)?,
                }
            }
            "gap" => {
                let need = Need("gap");
                Event::Gap {
                    room: need.of("room", self.room())?,
                    epoch: need.of("epoch", text(&self.epoch))?,
                    from: need.of("from", self.from)?,
                    to: need.of("to", self.to)?,
                }
            }
            "pong" => Event::Pong { reference },
            "expiring" => Event::Expiring { at: Need("expiring").of("at", self.at)? },
            "closing" => Event::Closing {
                code: CloseCode::from(Need("closing").of("code", part::<u16>(self.code))?),
                reason: self.reason.to_string().into(),
                reconnect_in_ms: self.reconnect_in_ms,
            },
            "error" => Event::Error {
                reference,
                code: Need("error").of("code", self.error_code())?,
                message: self.message.to_string(),
                retry_after_ms: self.retry_after_ms,
                room: self.room(),
                detail: self.detail.map(ToOwned::to_owned),
            },
            kind => Event::Unknown {
                kind: kind.to_owned(),
                reference,
                room: self.room(),
                seq: self.seq,
                at: self.at,
            },
        })
    }

    fn room(&self) -> Option<RoomName> {
        self.room.parse().ok()
    }

    fn what(&self, need: Need) -> Result<What, InvalidEvent> {
        Ok(match &*self.what {
            "edited" => {
                let body = need.of("body", self.body)?.to_owned();
                What::Edited { body, mentions: self.mentions(need)? }
            }
            "deleted" => What::Deleted { reason: text(&self.reason) },
            "reactions" => What::Reactions { reactions: need.of("reactions", part(self.reactions))? },
            "pinned" => What::Pinned { pinned: need.of("pinned", self.pinned)? },
            "superseded" => What::Superseded,
            _ => What::Unknown,
        })
    }

    fn folded(&self, rev: u64) -> Option<Folded> {
        Some(Folded {
            rev,
            edited: optional(self.edited)?,
            reactions: optional(self.reactions)?.unwrap_or_default(),
            pinned: self.pinned.unwrap_or_default(),
            replies: optional(self.replies)?,
            deleted: optional(self.deleted)?,
        })
    }

    fn links(&self, need: Need) -> Result<Option<Links>, InvalidEvent> {
        let links = Links::default().with_reply_to(self.reply_to).with_thread(self.thread);
        let links = links.with_mentions(self.mentions(need)?);
        Ok(Some(links).filter(|links| !links.is_empty()))
    }

    fn mentions(&self, need: Need) -> Result<Option<Mentions>, InvalidEvent> {
        let mentions: Option<Mentions> = need.of("mentions", optional(self.mentions))?;
        Ok(mentions.filter(|mentions| !mentions.is_empty()))
    }

    fn presence_mode(&self) -> Option<PresenceMode> {
        match &*self.presence {
            "each" => Some(PresenceMode::Each),
            "count" => Some(PresenceMode::Count),
            _ => None,
        }
    }

    fn stored(&self) -> Option<Vec<StoredMessage>> {
        #[derive(Deserialize)]
        struct SeqOnly {
            seq: u64,
        }
        let messages: Vec<&RawValue> = part(self.messages)?;
        let stored = |message: &RawValue| {
            let SeqOnly { seq } = part(Some(message))?;
            Some(StoredMessage::new(seq, Bytes::copy_from_slice(message.get().as_bytes())))
        };
        messages.into_iter().map(stored).collect()
    }
}

/// The type of the event that needs a field.
#[derive(Clone, Copy)]
struct Need(&'static str);

impl Need {
    fn of<T>(self, field: &'static str, value: Option<T>) -> Result<T, InvalidEvent> {
        value.ok_or(InvalidEvent::Field { event: self.0, field })
    }
}

/// Reads one of the words of a type.
fn word<T: for<'a> Deserialize<'a>>(word: &str) -> Option<T> {
    let word: StrDeserializer<'_, serde::de::value::Error> = word.into_deserializer();
    T::deserialize(word).ok()
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Reads a field that the event may not have. `None` if it has another type.
fn optional<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<Option<T>> {
    raw.map_or(Some(None), |raw| part(Some(raw)).map(Some))
}

fn part<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_without_a_copy() {
        let text = r#"{"type":"message","room":"로비","seq":7,"user":{"id":"a","name":"a"},"at":1,"key":"k","body":{"text":"hi"}}"#;
        let event = RawEvent::parse(text).unwrap();
        assert!(matches!(event.room, Cow::Borrowed("로비")) && matches!(event.key, Cow::Borrowed("k")));
        assert_eq!((event.seq, event.body.unwrap().get()), (Some(7), r#"{"text":"hi"}"#));
    }

    #[test]
    fn an_event_of_a_later_protocol_is_read() {
        let event = RawEvent::parse(r#"{"type":"dance","room":"a","with":[{"x":1}],"code":null}"#).unwrap();
        assert_eq!((&*event.kind, &*event.room), ("dance", "a"));
    }

    #[test]
    fn a_text_that_is_not_an_event_is_refused() {
        let deep = format!(r#"{{"type":"x","body":{}}}"#, "[".repeat(100_000));
        for text in ["", "{", "[]", "7", "{}", r#"{"type":7}"#, r#"{"type":"a","seq":-1}"#, deep.as_str()] {
            assert!(RawEvent::parse(text).is_err(), "{text:.40}");
        }
        for text in [r#"{"type":"a","type":"b"}"#, r#"{"type":"a","seq":18446744073709551616}"#] {
            assert!(RawEvent::parse(text).is_err(), "{text}");
        }
    }
}
