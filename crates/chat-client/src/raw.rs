use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An event as it stands in its frame: one pass over the text, nothing copied, and what has a structure of its
/// own left unread.
///
/// It is what a [`Client`](crate::Client) reads every event with, and cheap enough to check every delivery of a
/// load test. Text that an event does not have is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
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
    pub duplicate: bool,
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    pub first: Option<u64>,
    pub recovered: Option<bool>,
    /// A number in `joined`, a list in `members`.
    #[serde(borrow)]
    pub members: Option<&'a RawValue>,
    #[serde(borrow)]
    pub messages: Option<&'a RawValue>,
    pub more: bool,
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
    pub connection: Cow<'a, str>,
    #[serde(borrow)]
    pub limits: Option<&'a RawValue>,
}

impl<'a> RawEvent<'a> {
    /// Reads the text of one frame; `None` if it is no event.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(|event| !event.kind.is_empty())
    }
}

/// Reads a part that was left unread.
pub(crate) fn part<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
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
    fn an_event_of_a_later_protocol_is_still_read() {
        let event = RawEvent::parse(r#"{"type":"dance","room":"a","with":[{"x":1}],"code":null}"#).unwrap();
        assert_eq!((&*event.kind, &*event.room), ("dance", "a"));
    }

    #[test]
    fn what_is_no_event_is_none() {
        let deep = format!(r#"{{"type":"x","body":{}}}"#, "[".repeat(100_000));
        for text in ["", "{", "[]", "7", "{}", r#"{"type":7}"#, r#"{"type":"a","seq":-1}"#, deep.as_str()] {
            assert!(RawEvent::parse(text).is_none(), "{text:.40}");
        }
        for text in [r#"{"type":"a","type":"b"}"#, r#"{"type":"a","seq":18446744073709551616}"#] {
            assert!(RawEvent::parse(text).is_none(), "{text}");
        }
    }
}
