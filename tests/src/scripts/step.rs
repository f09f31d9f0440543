//! The steps of a script, and how scripts are made up.

use std::collections::BTreeSet;
use std::fmt;

use chat_conformance::client::Frame;
use proptest::prelude::*;
use proptest::sample::select;

use super::command::{Command, From, Malformed, command, malformed};

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
    ProtocolViolation(&'static ProtocolViolation),
}

pub(super) struct ProtocolViolation {
    name: &'static str,
    frames: fn() -> Vec<Frame>,
    /// The codes that may be answered.
    pub(super) codes: &'static [u16],
}

impl Act {
    /// The room whose members may do it.
    fn wants_member(&self) -> Option<usize> {
        match self {
            Self::Ask(Command::Join(..) | Command::Ping, _) | Self::Say(_) | Self::Ping(_) => None,
            Self::Ask(
                Command::Leave(room)
                | Command::Send(room, ..)
                | Command::History(room, _)
                | Command::Members(room)
                | Command::Search(room, _)
                | Command::Typing(room, _),
                _,
            )
            | Self::Burst(room, _) => Some(*room),
            Self::End(room, _) => *room,
        }
    }
}

impl Manner {
    /// A text as the bytes of its frames.
    pub(super) fn bytes(self, text: &str) -> Vec<u8> {
        if self != Self::Fragments {
            return Frame::text(text).encode();
        }
        let (first, rest) = text.as_bytes().split_at(text.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        let frames = [
            Frame::text(first).unfinished(),
            Frame::pong("unasked"),
            Frame::continuation(second).unfinished(),
            Frame::continuation(third),
        ];
        frames.iter().flat_map(Frame::encode).collect()
    }
}

impl ProtocolViolation {
    pub(super) fn bytes(&self) -> Vec<u8> {
        (self.frames)().iter().flat_map(Frame::encode).collect()
    }

    /// Whether it is a close frame.
    pub(super) fn is_close(&self) -> bool {
        self.name.starts_with("a close")
    }
}

const fn breach(name: &'static str, codes: &'static [u16], frames: fn() -> Vec<Frame>) -> ProtocolViolation {
    ProtocolViolation { name, frames, codes }
}

const BREACHES: &[ProtocolViolation] = &[
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

/// Steps that are made up for a script, at most.
const LENGTH: usize = 40;

/// Any script.
pub fn script() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..CLIENTS.len(), act()).prop_map(|(client, act)| Step { client, act });
    let is_strange = prop_oneof![14 => Just(false), 1 => Just(true)];
    proptest::collection::vec((step, is_strange), 1..LENGTH).prop_map(joining)
}

/// Has clients join the rooms in which they do something, but for the steps that are strange: most of what is made up
/// would be refused.
fn joining(steps: Vec<(Step, bool)>) -> Vec<Step> {
    let mut joined = BTreeSet::new();
    let mut script = Vec::new();
    for (step, is_strange) in steps {
        let client = step.client;
        if let Some(room) = step.act.wants_member()
            && !is_strange
            && joined.insert((client, room))
        {
            let join = Act::Ask(Command::Join(room, From::Seen), Manner::Whole);
            script.push(Step { client, act: join });
        }
        match &step.act {
            Act::Ask(Command::Join(room, _), _) => drop(joined.insert((client, *room))),
            Act::Ask(Command::Leave(room), _) => drop(joined.remove(&(client, *room))),
            Act::End(..) => joined.retain(|(other, _)| *other != client),
            _ => {}
        }
        script.push(step);
    }
    script
}

fn act() -> impl Strategy<Value = Act> {
    let manner = prop_oneof![6 => Just(Manner::Whole), 1 => Just(Manner::Fragments), 1 => Just(Manner::Bare)];
    let words = prop_oneof![2 => Just(None), 1 => room().prop_map(Some)];
    prop_oneof![
        24 => (command(), manner).prop_map(|(command, manner)| Act::Ask(command, manner)),
        2 => malformed().prop_map(Act::Say),
        4 => (room(), 2_usize..9).prop_map(|(room, count)| Act::Burst(room, count)),
        1 => (0_usize..126).prop_map(Act::Ping),
        3 => (words, ending()).prop_map(|(words, ending)| match ending {
            // Whether what is ahead of a reset is read, nobody can know.
            Ending::Reset { .. } => Act::End(None, ending),
            _ => Act::End(words, ending),
        }),
    ]
}

pub(super) fn room() -> impl Strategy<Value = usize> {
    prop_oneof![8 => Just(0_usize), 2 => Just(1), 1 => Just(2)]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        2 => select(vec![None, Some(1000), Some(1001), Some(3000), Some(4000), Some(4999)]).prop_map(Ending::Close),
        1 => any::<bool>().prop_map(|within_frame| Ending::Fin { within_frame }),
        2 => any::<bool>().prop_map(|within_frame| Ending::Reset { within_frame }),
        2 => (0..BREACHES.len()).prop_map(|index| Ending::ProtocolViolation(&BREACHES[index])),
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
            Self::ProtocolViolation(breach) => f.write_str(breach.name),
        }
    }
}

impl fmt::Debug for ProtocolViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
