//! What the clients of a script can do, and how such scripts are made up.

use std::fmt;

use chat_conformance::client::Frame;
use proptest::prelude::*;
use proptest::sample::select;

/// The clients: two of them are one user.
pub(super) const CLIENTS: [&str; 4] = ["ann", "bob", "cid", "ann"];

/// The rooms: one more than a connection may be in.
pub(super) const ROOMS: [&str; 3] = ["lobby", "로비", "hall-2"];

/// One step of a script. A client that is not connected connects first.
#[derive(Clone, Debug)]
pub struct Step {
    pub(super) client: usize,
    pub(super) act: Act,
}

/// What a client does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// One command.
    Ask(Command, Manner),
    /// What is no command, or a wrong one.
    Say(&'static Malformed),
    /// So many messages to a room, in one write.
    Burst(usize, usize),
    /// A ping frame of so many bytes.
    Ping(usize),
    /// An end and, in one write with it, a message to a room ahead of it.
    End(Option<usize>, Ending),
}

/// How a command is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Whole,
    /// In three fragments, with a pong that nobody asked for between them.
    Fragments,
    /// Without a `ref`.
    Bare,
}

#[derive(Clone, Debug)]
pub(super) enum Command {
    Join(usize, From),
    Leave(usize),
    Send(usize, Option<u8>, Body),
    History(usize, Page),
    Members(usize),
    Typing(usize, bool),
    Ping,
}

/// Where a member starts to read.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Now,
    Last(u64),
    /// After what this client last saw of the room, on whatever connection.
    Seen,
    /// After a message so far behind the newest.
    Behind(u64),
    /// After a message that is still so far away.
    Ahead(u64),
    /// After a message of an epoch that never was.
    Stale(u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// One of a few texts.
    Text(u8),
    /// As long as may be.
    Longest,
    TooLong,
    Empty,
    Blank,
    Control,
    Other,
}

/// Which part of the history, as `before`, `after` and `limit` say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) from: Option<(bool, u64)>,
    pub(super) limit: Option<u64>,
}

/// A command that is wrong.
#[derive(Debug)]
pub(super) struct Malformed {
    /// `REF` in it is replaced by the `ref`.
    pub(super) text: &'static str,
    pub(super) code: &'static str,
    /// Whether one who is no member of the first room may as well be told that.
    pub(super) for_members: bool,
}

const fn malformed(text: &'static str, code: &'static str, for_members: bool) -> Malformed {
    Malformed { text, code, for_members }
}

const MALFORMED: &[Malformed] = &[
    malformed("", "bad_json", false),
    malformed("\u{feff}{}", "bad_json", false),
    malformed("[\"ping\"]", "bad_json", false),
    malformed(r#"{"type":"ping","#, "bad_json", false),
    malformed(r#"{"type":"ping","ref":"REF","ref":"REF"}"#, "bad_command", false),
    malformed(r#"{"type":"ping","ref":7}"#, "bad_command", false),
    malformed(r#"{"ref":"REF"}"#, "bad_command", false),
    malformed(r#"{"type":null,"ref":"REF"}"#, "bad_command", false),
    malformed(r#"{"type":"dance","ref":"REF"}"#, "unknown_type", false),
    malformed(r#"{"type":"hello","ref":"REF"}"#, "already_identified", false),
    malformed(r#"{"type":"join","ref":"REF"}"#, "bad_command", false),
    malformed(r#"{"type":"join","ref":"REF","room":"Lobby"}"#, "bad_room", false),
    malformed(r#"{"type":"join","ref":"REF","room":["lobby"]}"#, "bad_command", false),
    malformed(r#"{"type":"join","ref":"REF","room":"lobby","last":-1}"#, "bad_command", false),
    malformed(r#"{"type":"join","ref":"REF","room":"lobby","last":9007199254740992}"#, "bad_command", false),
    malformed(r#"{"type":"join","ref":"REF","room":"lobby","after":7}"#, "bad_command", false),
    malformed(
        r#"{"type":"join","ref":"REF","room":"lobby","last":1,"after":{"epoch":"e","seq":1}}"#,
        "bad_command",
        false,
    ),
    malformed(r#"{"type":"send","ref":"REF","room":"lobby"}"#, "bad_command", true),
    malformed(r#"{"type":"send","ref":"REF","room":"lobby","body":"hi"}"#, "bad_command", true),
    malformed(r#"{"type":"send","ref":"REF","room":"lobby","key":"","body":{"text":"hi"}}"#, "bad_key", true),
    malformed(r#"{"type":"send","ref":"REF","room":"","body":{"text":"hi"}}"#, "bad_room", false),
    malformed(r#"{"type":"history","ref":"REF","room":"lobby","before":2,"after":1}"#, "bad_cursor", true),
    malformed(r#"{"type":"history","ref":"REF","room":"lobby","limit":1.5}"#, "bad_command", true),
    malformed(r#"{"type":"typing","ref":"REF","room":"lobby","active":"yes"}"#, "bad_command", true),
    malformed(r#"{"type":"search","ref":"REF","room":"lobby","query":"hi"}"#, "unsupported", true),
];

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// A close frame, with a code or without.
    Close(Option<u16>),
    /// A FIN, within a frame or not.
    Fin { within_frame: bool },
    /// A reset, within a frame or not.
    Reset { within_frame: bool },
    /// Something that RFC 6455 or the protocol forbids.
    Breach(&'static Breach),
}

pub(super) struct Breach {
    name: &'static str,
    frames: fn() -> Vec<Frame>,
    /// The codes that may be answered.
    pub(super) codes: &'static [u16],
}

impl Breach {
    pub(super) fn bytes(&self) -> Vec<u8> {
        (self.frames)().iter().flat_map(Frame::encode).collect()
    }

    /// Whether it is a close frame.
    pub(super) fn is_close(&self) -> bool {
        self.name.starts_with("a close")
    }
}

const fn breach(name: &'static str, codes: &'static [u16], frames: fn() -> Vec<Frame>) -> Breach {
    Breach { name, frames, codes }
}

const BREACHES: &[Breach] = &[
    breach("a binary frame", &[1003], || vec![Frame::binary("{}")]),
    breach("an unmasked frame", &[1002], || vec![Frame::text("{}").unmasked()]),
    breach("a reserved bit", &[1002], || vec![Frame::text("{}").reserved(4)]),
    breach("a reserved opcode", &[1002], || vec![Frame::new(3, "")]),
    breach("a continuation of nothing", &[1002], || vec![Frame::continuation("{}")]),
    breach("a message inside another", &[1002], || vec![Frame::text("{").unfinished(), Frame::text("{}")]),
    breach("a ping in fragments", &[1002], || vec![Frame::ping("").unfinished()]),
    breach("text that is not UTF-8", &[1007], || vec![Frame::text(b"{\"type\":\"\xff\"}")]),
    breach("a frame that is too big", &[1009], || vec![Frame::text(" ".repeat(super::MAX_FRAME + 1))]),
    breach("fragments that are too big", &[1009], || {
        let half = " ".repeat(super::MAX_FRAME / 2 + 1);
        vec![Frame::text(&half).unfinished(), Frame::continuation(&half)]
    }),
    breach("a close of one byte", &[1002], || vec![Frame::new(8, [3])]),
    breach("a close with 999", &[1002], || vec![Frame::close(999, "")]),
    breach("a close with 1005", &[1002], || vec![Frame::close(1005, "")]),
    breach("a close with 5000", &[1002], || vec![Frame::close(5000, "")]),
    breach("a close reason that is not UTF-8", &[1002, 1007], || vec![Frame::close(1000, b"\xff")]),
];

/// Scripts of up to this many steps.
const LENGTH: usize = 40;

/// Any script.
pub fn script() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(
        (0..CLIENTS.len(), act()).prop_map(|(client, act)| Step { client, act }),
        1..LENGTH,
    )
}

fn act() -> impl Strategy<Value = Act> {
    let manner = prop_oneof![6 => Just(Manner::Whole), 1 => Just(Manner::Fragments), 1 => Just(Manner::Bare)];
    let words = prop_oneof![2 => Just(None), 1 => room().prop_map(Some)];
    prop_oneof![
        24 => (command(), manner).prop_map(|(command, manner)| Act::Ask(command, manner)),
        2 => (0..MALFORMED.len()).prop_map(|index| Act::Say(&MALFORMED[index])),
        4 => (room(), 2_usize..9).prop_map(|(room, count)| Act::Burst(room, count)),
        1 => (0_usize..126).prop_map(Act::Ping),
        3 => (words, ending()).prop_map(|(words, ending)| Act::End(words, ending)),
    ]
}

fn room() -> impl Strategy<Value = usize> {
    prop_oneof![5 => Just(0_usize), 2 => Just(1), 1 => Just(2)]
}

fn command() -> impl Strategy<Value = Command> {
    let from = prop_oneof![
        3 => Just(From::Now),
        2 => (0_u64..16).prop_map(From::Last),
        4 => Just(From::Seen),
        2 => (0_u64..16).prop_map(From::Behind),
        1 => (1_u64..3).prop_map(From::Ahead),
        1 => (0_u64..16).prop_map(From::Stale),
    ];
    let body = prop_oneof![
        10 => (0_u8..2).prop_map(Body::Text),
        1 => select(vec![Body::Longest, Body::TooLong, Body::Empty, Body::Blank, Body::Control, Body::Other]),
    ];
    let page = (proptest::option::of((any::<bool>(), 0_u64..24)), proptest::option::of(0_u64..8))
        .prop_map(|(from, limit)| Page { from, limit });
    prop_oneof![
        7 => (room(), from).prop_map(|(room, from)| Command::Join(room, from)),
        2 => room().prop_map(Command::Leave),
        7 => (room(), proptest::option::of(0_u8..2), body)
            .prop_map(|(room, key, body)| Command::Send(room, key, body)),
        3 => (room(), page).prop_map(|(room, page)| Command::History(room, page)),
        1 => room().prop_map(Command::Members),
        1 => (room(), any::<bool>()).prop_map(|(room, active)| Command::Typing(room, active)),
        1 => Just(Command::Ping),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        2 => select(vec![None, Some(1000), Some(1001), Some(3000), Some(4000), Some(4999)]).prop_map(Ending::Close),
        1 => any::<bool>().prop_map(|within_frame| Ending::Fin { within_frame }),
        2 => any::<bool>().prop_map(|within_frame| Ending::Reset { within_frame }),
        2 => (0..BREACHES.len()).prop_map(|index| Ending::Breach(&BREACHES[index])),
    ]
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", label(self.client))?;
        match &self.act {
            Act::Ask(command, Manner::Whole) => write!(f, "{command}"),
            Act::Ask(command, Manner::Fragments) => write!(f, "{command}, in fragments"),
            Act::Ask(command, Manner::Bare) => write!(f, "{command}, without a ref"),
            Act::Say(Malformed { text, .. }) => write!(f, "says `{text}`"),
            Act::Burst(room, count) => write!(f, "{count} messages to {} at once", ROOMS[*room]),
            Act::Ping(length) => write!(f, "a ping frame of {length} bytes"),
            Act::End(None, ending) => write!(f, "{ending}"),
            Act::End(Some(room), ending) => write!(f, "a message to {}, and {ending}", ROOMS[*room]),
        }
    }
}

/// How a client is called in a script.
pub(super) fn label(client: usize) -> String {
    let again = CLIENTS[..client].contains(&CLIENTS[client]);
    format!("{}{}", CLIENTS[client], if again { "'" } else { "" })
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(room, from) => match from {
                From::Now => write!(f, "join {}", ROOMS[*room]),
                From::Last(count) => write!(f, "join {}, last {count}", ROOMS[*room]),
                From::Seen => write!(f, "join {} after what it has seen", ROOMS[*room]),
                From::Behind(count) => write!(f, "join {} from {count} behind the head", ROOMS[*room]),
                From::Ahead(count) => write!(f, "join {} from {count} ahead of the head", ROOMS[*room]),
                From::Stale(seq) => write!(f, "join {} after {seq} of another epoch", ROOMS[*room]),
            },
            Self::Leave(room) => write!(f, "leave {}", ROOMS[*room]),
            Self::Send(room, None, body) => write!(f, "send {body:?} to {}", ROOMS[*room]),
            Self::Send(room, Some(key), body) => {
                write!(f, "send {body:?} to {} with key {key}", ROOMS[*room])
            }
            Self::History(room, Page { from, limit }) => {
                write!(f, "history of {}", ROOMS[*room])?;
                match from {
                    Some((true, seq)) => write!(f, " before {seq}")?,
                    Some((false, seq)) => write!(f, " after {seq}")?,
                    None => {}
                }
                limit.map_or(Ok(()), |limit| write!(f, ", limit {limit}"))
            }
            Self::Members(room) => write!(f, "members of {}", ROOMS[*room]),
            Self::Typing(room, active) => write!(f, "typing in {}: {active}", ROOMS[*room]),
            Self::Ping => f.write_str("ping"),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close(Some(code)) => write!(f, "closes with {code}"),
            Self::Close(None) => f.write_str("closes without a code"),
            Self::Fin { within_frame } => {
                write!(f, "FIN{}", if *within_frame { " within a frame" } else { "" })
            }
            Self::Reset { within_frame } => {
                write!(f, "RST{}", if *within_frame { " within a frame" } else { "" })
            }
            Self::Breach(breach) => f.write_str(breach.name),
        }
    }
}

impl fmt::Debug for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
