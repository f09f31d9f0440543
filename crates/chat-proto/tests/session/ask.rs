use bytes::Bytes;
use chat_proto::session::{Action, Operation, Outcome};
use chat_proto::{Appended, Gap, Page, Resumption, RoomName, Standing, Stored, User};
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) const ROOMS: [&str; 4] = ["a", "b", "c", "로비"];

/// What a text asks, in the words of the table in protocol.md section 3.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) text: String,
    pub(crate) reference: Option<String>,
    pub(crate) wish: Wish,
}

#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// `ping`.
    Pong,
    /// A command that is refused whatever the state, with this code.
    Refused(&'static str),
    /// `search`: refused, in a way that depends on membership.
    Search(&'static str),
    /// `typing`.
    Typing(&'static str, bool),
    /// A command of this `type` that the room answers, with this event.
    Room(&'static str, &'static str),
}

/// Any text that a peer may send, with a `ref` or without.
pub(crate) fn ask() -> impl Strategy<Value = Ask> {
    let reference = proptest::option::weighted(0.8, "[a-z]{0,3}|[가-힣]{21}");
    prop_oneof![20 => (wish(), reference).prop_map(|((wish, fields), reference)| Ask::new(wish, &fields, reference)), 2 => unreadable()]
}

impl Ask {
    pub(crate) fn new(wish: Wish, fields: &str, reference: Option<String>) -> Self {
        let text = match &reference {
            Some(reference) => format!(r#"{{{fields},"ref":"{reference}"}}"#),
            None => format!("{{{fields}}}"),
        };
        Self { text, reference, wish }
    }

    pub(crate) fn to_room(kind: &'static str, room: &'static str) -> Self {
        Self::new(Wish::Room(kind, room), &to_room(kind, room), Some(format!("{kind} {room}")))
    }

    pub(crate) fn mistake() -> Self {
        Self { text: "mistake".to_owned(), reference: None, wish: Wish::Refused("bad_json") }
    }
}

fn wish() -> impl Strategy<Value = (Wish, String)> {
    let kind = select(vec!["join", "join", "join", "leave", "send", "send", "history", "members"]);
    let room = || select(ROOMS.to_vec());
    prop_oneof![
        10 => (kind, room()).prop_map(|(kind, room)| (Wish::Room(kind, room), to_room(kind, room))),
        1 => (room(), any::<bool>()).prop_map(|(room, active)| {
            let fields = format!(r#""type":"typing","room":"{room}","active":{active}"#);
            (Wish::Typing(room, active), fields)
        }),
        1 => room().prop_map(|room| (Wish::Search(room), format!(r#""type":"search","room":"{room}","query":"x""#))),
        2 => Just((Wish::Pong, r#""type":"ping""#.to_owned())),
        1 => select(vec![
            (Wish::Refused("already_identified"), r#""type":"hello""#),
            (Wish::Refused("unknown_type"), r#""type":"shout""#),
            (Wish::Refused("bad_command"), r#""type":7"#),
            (Wish::Refused("bad_command"), r#""type":"send","room":"a""#),
            (Wish::Refused("bad_command"), r#""type":"ping","type":"ping""#),
            (Wish::Refused("bad_room"), r#""type":"join","room":"..""#),
            (Wish::Refused("bad_key"), r#""type":"send","room":"a","body":{},"key":"""#),
            (Wish::Refused("bad_cursor"), r#""type":"history","room":"a","before":1,"after":1"#),
        ]).prop_map(|(wish, fields)| (wish, fields.to_owned())),
    ]
}

/// Texts whose `ref` cannot be read or used.
fn unreadable() -> impl Strategy<Value = Ask> {
    let long = format!(r#"{{"type":"ping","ref":"{}"}}"#, "r".repeat(65));
    let texts = [
        ("", "bad_json"),
        ("[]", "bad_json"),
        (r#"{"type":"ping","ref":"1""#, "bad_json"),
        (r#"{"type":"ping","ref":1}"#, "bad_command"),
        (long.as_str(), "bad_command"),
    ];
    let asks =
        texts.map(|(text, code)| Ask { text: text.to_owned(), reference: None, wish: Wish::Refused(code) });
    select(asks.to_vec())
}

fn to_room(kind: &str, room: &str) -> String {
    let body = if kind == "send" { r#","body":{"text":"hi"}"# } else { "" };
    format!(r#""type":"{kind}","room":"{room}"{body}"#)
}

/// What a session must do for an ask.
pub(crate) enum Answer {
    Event(&'static str),
    Error(&'static str, Option<&'static str>),
    Typing(&'static str, bool),
    Perform(&'static str, &'static str),
}

pub(crate) fn known(room: &RoomName) -> &'static str {
    ROOMS.into_iter().find(|known| *known == room.as_str()).expect("a room that was asked for")
}

pub(crate) fn answer_to(kind: &str) -> &'static str {
    match kind {
        "join" => "joined",
        "leave" => "left",
        "send" => "sent",
        "history" => "history",
        _ => "members",
    }
}

pub(crate) fn kind_of(action: &Action) -> &'static str {
    match action {
        Action::Join(_) => "join",
        Action::Leave => "leave",
        Action::Send { .. } => "send",
        Action::History(_) => "history",
        Action::Members => "members",
    }
}

/// An outcome that fits the operation.
pub(crate) fn outcome(operation: &Operation, gap: bool) -> Outcome {
    match operation.action {
        Action::Join(_) => Outcome::Joined {
            standing: Standing { epoch: "e".to_owned(), head: 9, first: 6 },
            resumption: Resumption { after: 5, recovered: !gap, gap: gap.then_some(Gap { from: 1, to: 5 }) },
            members: 1,
        },
        Action::Leave => Outcome::Left,
        Action::Send { .. } => Outcome::Sent(Appended { seq: 10, at: 1, duplicate: gap }),
        Action::History(_) => {
            let stored = Stored { seq: 9, frame: Bytes::from_static(br#"{"type":"message"}"#) };
            Outcome::History(Page { epoch: "e".to_owned(), messages: vec![stored], more: gap })
        }
        Action::Members => Outcome::Members(vec![User::numbered_guest(1)]),
    }
}
