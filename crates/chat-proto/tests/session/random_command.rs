use bytes::Bytes;
use chat_proto::room::{Joined, Marked};
use chat_proto::session::{Action, Operation, Outcome};
use chat_proto::{
    Act, AppendReceipt, Change, ChangeReceipt, Gap, LogBounds, Page, PresenceMode, Resumption, Rights, Role,
    RoomName, Roster, SearchPage, StoredMessage, User,
};
use proptest::prelude::*;
use proptest::sample::select;

/// The fields of a `hello`.
const HELLO: &str = r#""type":"hello","token":"t""#;

pub(crate) const ROOMS: [&str; 4] = ["a", "b", "c", "로비"];

/// The text of a command, and the expected reply by the table in PROTOCOL.md, section 3.
#[derive(Clone, Debug)]
pub(crate) struct RandomCommand {
    pub(crate) text: String,
    pub(crate) reference: Option<String>,
    pub(crate) expected: Expected,
}

#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// `ping`.
    Pong,
    /// A command that is refused in every state, with this code, for this room.
    Refused(&'static str, Option<&'static str>),
    /// `typing`.
    Typing(&'static str, bool),
    /// A command of this `type` that the room answers, with this event.
    Room(&'static str, &'static str),
    /// `hello`.
    Hello,
}

/// Returns any text that a peer may send, with or without a `ref`.
pub(crate) fn random_command() -> impl Strategy<Value = RandomCommand> {
    let reference = proptest::option::weighted(0.8, "[a-z]{0,3}|[가-힣]{21}");
    prop_oneof![20 => (command(), reference).prop_map(|((expected, fields), reference)| RandomCommand::new(expected, &fields, reference)), 2 => unreadable()]
}

impl Expected {
    /// Returns the tokens that the command costs.
    pub(crate) fn cost(&self) -> u32 {
        match self {
            Self::Room("join" | "leave" | "create" | "follow" | "unfollow", _) => 2,
            Self::Room("history" | "messages" | "thread" | "members" | "search" | "purge", _)
            | Self::Hello => 5,
            _ => 1,
        }
    }
}

impl RandomCommand {
    pub(crate) fn new(expected: Expected, fields: &str, reference: Option<String>) -> Self {
        let text = match &reference {
            Some(reference) => format!(r#"{{{fields},"ref":"{reference}"}}"#),
            None => format!("{{{fields}}}"),
        };
        Self { text, reference, expected }
    }

    pub(crate) fn to_room(kind: &'static str, room: &'static str) -> Self {
        Self::new(Expected::Room(kind, room), &to_room(kind, room), Some(format!("{kind} {room}")))
    }

    pub(crate) fn ping() -> Self {
        Self::new(Expected::Pong, r#""type":"ping""#, None)
    }

    pub(crate) fn mistake() -> Self {
        Self { text: "mistake".to_owned(), reference: None, expected: Expected::Refused("bad_json", None) }
    }
}

fn command() -> impl Strategy<Value = (Expected, String)> {
    let kind = select(vec![
        "join", "join", "join", "leave", "send", "send", "edit", "delete", "react", "pin", "create", "role",
        "restrict", "purge", "history", "messages", "thread", "search", "members", "read", "follow",
        "unfollow",
    ]);
    let room = || select(ROOMS.to_vec());
    prop_oneof![
        10 => (kind, room()).prop_map(|(kind, room)| (Expected::Room(kind, room), to_room(kind, room))),
        1 => (room(), any::<bool>()).prop_map(|(room, active)| {
            let fields = format!(r#""type":"typing","room":"{room}","active":{active}"#);
            (Expected::Typing(room, active), fields)
        }),
        2 => Just((Expected::Pong, r#""type":"ping""#.to_owned())),
        2 => Just((Expected::Hello, HELLO.to_owned())),
        1 => select(vec![
            ("bad_command", None, r#""type":"hello""#),
            ("unknown_type", None, r#""type":"shout""#),
            ("bad_command", None, r#""type":7"#),
            ("bad_command", Some("a"), r#""type":"send","room":"a""#),
            ("bad_command", None, r#""type":"ping","type":"ping""#),
            ("bad_room", None, r#""type":"join","room":"..""#),
            ("bad_command", Some("a"), r#""type":"join","room":"a","with":"7""#),
            ("bad_command", None, r#""type":"join","with":"""#),
            ("bad_command", None, r#""type":"join","with":7"#),
            ("bad_key", Some("a"), r#""type":"send","room":"a","body":{},"key":"""#),
            ("bad_command", Some("a"), r#""type":"read","room":"a""#),
            ("bad_command", Some("a"), r#""type":"follow","room":"a""#),
            ("bad_room", None, r#""type":"rooms","after":"..""#),
            ("bad_cursor", Some("a"), r#""type":"history","room":"a","before":1,"after":1"#),
            ("bad_query", Some("a"), r#""type":"search","room":"a","query":" ""#),
        ]).prop_map(|(code, room, fields)| (Expected::Refused(code, room), fields.to_owned())),
    ]
}

/// Texts whose `ref` cannot be read or used.
fn unreadable() -> impl Strategy<Value = RandomCommand> {
    let long = format!(r#"{{"type":"ping","ref":"{}"}}"#, "r".repeat(65));
    let texts = [
        ("", "bad_json"),
        ("[]", "bad_json"),
        (r#"{"type":"ping","ref":"1""#, "bad_json"),
        (r#"{"type":"ping","ref":1}"#, "bad_command"),
        (long.as_str(), "bad_command"),
    ];
    let commands = texts.map(|(text, code)| RandomCommand {
        text: text.to_owned(),
        reference: None,
        expected: Expected::Refused(code, None),
    });
    select(commands.to_vec())
}

fn to_room(kind: &str, room: &str) -> String {
    let rest = match kind {
        "edit" => r#","seq":9,"body":{"text":"ho"}"#,
        "delete" => r#","seq":9"#,
        "react" => r#","seq":9,"reaction":"+1","on":true"#,
        "pin" => r#","seq":9,"on":false"#,
        "create" => r#","join":"members""#,
        "role" => r#","user":"7","role":"member""#,
        "restrict" => r#","user":"7","what":"ban""#,
        "purge" => r#","user":"7""#,
        "messages" => r#","seqs":[9,7]"#,
        "thread" => r#","thread":9,"before":12"#,
        "send" => r#","body":{"text":"hi"},"reply_to":8,"thread":7,"mentions":["ann"]"#,
        "search" => r#","query":"hi""#,
        "read" => r#","seq":0"#,
        "follow" => r#","on":true"#,
        "unfollow" => r#","on":false"#,
        _ => "",
    };
    let kind = match kind {
        "messages" | "thread" => "history",
        "unfollow" => "follow",
        kind => kind,
    };
    format!(r#""type":"{kind}","room":"{room}"{rest}"#)
}

/// The effect that a session must have for a command.
pub(crate) enum Answer {
    Event(&'static str),
    Error(&'static str, Option<&'static str>),
    /// `rate_limited`, with these milliseconds to wait.
    RateLimited(u64),
    Typing(&'static str, bool),
    Perform(&'static str, &'static str),
    Identify,
}

pub(crate) fn known(room: &RoomName) -> &'static str {
    ROOMS.into_iter().find(|known| *known == room.as_str()).expect("a room that was asked for")
}

pub(crate) fn answer_to(kind: &str) -> &'static str {
    match kind {
        "join" => "joined",
        "leave" => "left",
        "send" => "sent",
        "edit" | "delete" | "react" | "pin" | "create" | "role" | "restrict" | "purge" | "follow"
        | "unfollow" => "done",
        "read" => "read",
        "history" | "messages" | "thread" => "history",
        "search" => "found",
        _ => "members",
    }
}

pub(crate) fn kind_of(action: &Action) -> &'static str {
    match action {
        Action::Join(_) | Action::JoinDirect { .. } => "join",
        Action::Leave => "leave",
        Action::Send { .. } => "send",
        Action::Change { change: Change::Edit { .. }, .. } => "edit",
        Action::Change { change: Change::Delete { .. }, .. } => "delete",
        Action::Change { change: Change::React { .. }, .. } => "react",
        Action::Change { .. } => "pin",
        Action::Govern(Act::Create { .. }) => "create",
        Action::Govern(Act::Role { .. }) => "role",
        Action::Govern(Act::Restrict { .. }) => "restrict",
        Action::Govern(_) => "purge",
        Action::Messages(_) => "messages",
        Action::Thread(..) => "thread",
        Action::History(_) => "history",
        Action::Search(_) => "search",
        Action::Members { .. } => "members",
        Action::Read(_) => "read",
        Action::Follow(on) => {
            if *on {
                "follow"
            } else {
                "unfollow"
            }
        }
    }
}

/// An outcome that fits the operation. A connection that was not a member gets a membership.
pub(crate) fn outcome(operation: &Operation, gap: bool, is_member: bool) -> Outcome<&'static str> {
    let stored = StoredMessage::new(9, Bytes::from_static(br#"{"type":"message"}"#));
    match operation.action {
        Action::Join(_) | Action::JoinDirect { .. } => {
            let bounds = LogBounds::new("e", 9).with_first(6);
            let gap = gap.then_some(Gap { from: 1, to: 5 });
            let resumption = Resumption { after: 5, recovered: gap.is_none(), gap };
            let membership = (!is_member).then(|| known(&operation.room));
            Outcome::Joined {
                membership,
                joined: Box::new(Joined {
                    bounds,
                    resumption,
                    members: 1,
                    presence: PresenceMode::Each,
                    role: Role::None,
                    may: Rights::default(),
                    with: None,
                    title: None,
                    restricted: None,
                }),
                unread: None,
            }
        }
        Action::Leave => Outcome::Left,
        Action::Read(seq) => Outcome::Read(Marked::new("e", seq)),
        Action::Follow(on) => Outcome::Followed(on),
        Action::Send { .. } => {
            let receipt = AppendReceipt::new("e", 10, 1);
            Outcome::Sent(if gap { receipt.repeated() } else { receipt })
        }
        Action::Change { .. } | Action::Govern(_) if gap => Outcome::Changed(ChangeReceipt::unchanged("e")),
        Action::Change { .. } | Action::Govern(_) => Outcome::Changed(ChangeReceipt::new("e", 10)),
        Action::History(_) | Action::Messages(_) | Action::Thread(..) => {
            Outcome::History(Page::new("e", vec![stored]).with_more(gap))
        }
        Action::Search(_) => Outcome::Found(SearchPage::new(vec![stored]).with_more(gap)),
        Action::Members { .. } => {
            let mut roster = Roster::default();
            roster.enter(&User::unnamed_guest(1));
            Outcome::Members(roster.page(None, 1))
        }
    }
}
