use chat_proto::{Range, RoomName};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::JoinFrom;

/// The largest integer that the protocol has.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// What a client asks, ready to be written.
#[derive(Debug, Default, Serialize)]
pub struct Command<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<After<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
}

/// A position: within an epoch in `join`, within the room's log in `history`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum After<'a> {
    Cursor { epoch: &'a str, seq: u64 },
    Seq(u64),
}

impl<'a> Command<'a> {
    fn new(kind: &'static str, room: Option<&'a RoomName>) -> Self {
        Self { kind, room: room.map(RoomName::as_str), ..Self::default() }
    }

    /// `join`.
    pub fn join(room: &'a RoomName, from: &'a JoinFrom) -> Self {
        let (last, after) = match from {
            JoinFrom::Now => (None, None),
            JoinFrom::Last(count) => (Some((*count).min(MAX_INTEGER)), None),
            JoinFrom::After { epoch, seq } => (None, Some(After::Cursor { epoch, seq: *seq })),
        };
        Self { last, after, ..Self::new("join", Some(room)) }
    }

    /// `leave`.
    pub fn leave(room: &'a RoomName) -> Self {
        Self::new("leave", Some(room))
    }

    /// `send`.
    pub fn send(room: &'a RoomName, key: Option<&'a str>, body: &'a RawValue) -> Self {
        Self { key, body: Some(body), ..Self::new("send", Some(room)) }
    }

    /// `history`.
    pub fn history(room: &'a RoomName, range: Range) -> Self {
        let (before, after, limit) = match range {
            Range::Before { seq, limit } => (Some(seq).filter(|seq| *seq <= MAX_INTEGER), None, limit),
            Range::After { seq, limit } => (None, Some(After::Seq(seq)), limit),
        };
        Self { before, after, limit: Some(limit as u64), ..Self::new("history", Some(room)) }
    }

    /// `members`.
    pub fn members(room: &'a RoomName) -> Self {
        Self::new("members", Some(room))
    }

    /// `search`.
    pub fn search(room: &'a RoomName, query: &'a str, limit: usize, before: Option<u64>) -> Self {
        Self { query: Some(query), limit: Some(limit as u64), before, ..Self::new("search", Some(room)) }
    }

    /// `typing`.
    pub fn typing(room: &'a RoomName, active: bool) -> Self {
        Self { active: Some(active), ..Self::new("typing", Some(room)) }
    }

    /// `ping`.
    pub fn ping() -> Self {
        Self::new("ping", None)
    }

    /// The same, with the `ref` that its reply is to carry.
    #[must_use]
    pub fn with_ref(self, reference: &'a str) -> Self {
        Self { reference: Some(reference), ..self }
    }

    /// The command as the text of one frame.
    ///
    /// # Panics
    ///
    /// Never: every command is a map of strings, numbers and JSON.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("a command is always JSON")
    }
}

#[cfg(test)]
mod tests {
    use chat_proto::Limits;
    use chat_proto::command::{self, Command as Asked};

    use super::*;

    fn asked(command: &Command<'_>) -> Asked {
        let text = command.encode();
        command::parse(text.as_bytes(), &Limits::default())
            .command
            .unwrap_or_else(|code| panic!("{code:?}: {text}"))
    }

    #[test]
    fn the_server_reads_each_command_as_it_was_meant() {
        let room: RoomName = "로비".parse().unwrap();
        for from in [JoinFrom::Now, JoinFrom::Last(3), JoinFrom::After { epoch: "e\"1".to_owned(), seq: 9 }] {
            let text = Command::join(&room, &from).with_ref("1").encode();
            let parsed = command::parse(text.as_bytes(), &Limits::default());
            assert_eq!(parsed.reference.as_deref(), Some("1"));
            assert!(matches!(parsed.command, Ok(Asked::Join { room: r, from: f }) if r == room && f == from));
        }
        let body: Box<RawValue> = serde_json::from_str(r#"{"text":"hi"}"#).unwrap();
        let sent = asked(&Command::send(&room, Some("k"), &body));
        assert!(
            matches!(sent, Asked::Send { key: Some(k), body: b, .. } if k == "k" && b.get() == body.get())
        );
        for range in [
            Range::Before { seq: u64::MAX, limit: 5 },
            Range::Before { seq: 7, limit: 5 },
            Range::After { seq: 0, limit: 200 },
        ] {
            let read = asked(&Command::history(&room, range));
            assert!(matches!(read, Asked::History { range: r, .. } if r == range), "{range:?}");
        }
        assert!(matches!(asked(&Command::leave(&room)), Asked::Leave { .. }));
        assert!(matches!(asked(&Command::members(&room)), Asked::Members { .. }));
        assert!(matches!(asked(&Command::search(&room, "x", 20, Some(9))), Asked::Search { .. }));
        assert!(matches!(asked(&Command::typing(&room, true)), Asked::Typing { active: true, .. }));
        assert!(matches!(asked(&Command::ping()), Asked::Ping));
    }
}
