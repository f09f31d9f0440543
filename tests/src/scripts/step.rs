//! The steps of a script, and the generator of scripts.

use std::collections::BTreeSet;
use std::fmt;

use chat_conformance::client::Frame;
use proptest::prelude::*;
use proptest::sample::select;

use super::command::{Command, From, command};
use super::malformed::{Malformed, malformed};

/// The users of the clients. Two clients are the same user.
pub(super) const CLIENTS: [&str; 4] = ["ann", "bob", "cid", "ann"];

/// The user who is an owner of each room.
pub(super) const OWNER: &str = "bob";

/// The rooms. They exceed the limit for one connection by one.
pub(super) const ROOMS: [&str; 3] = ["lobby", "로비", "hall-2"];

/// One step of a script. A client without a connection connects first.
#[derive(Clone, Debug)]
pub struct Step {
    pub(super) client: usize,
    pub(super) action: Action,
}

/// The action of a client.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A valid command.
    Command(Command, Framing),
    /// An invalid command.
    Malformed(&'static Malformed),
    /// Several messages to a room, in one write: the room and the number of messages.
    Burst(usize, usize),
    /// A ping frame with this number of bytes.
    Ping(usize),
    /// The end of the connection. A message to a room may precede it, in the same write.
    End(Option<usize>, Ending),
}

/// The frames of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    OneFrame,
    /// Three fragments, with an unsolicited pong between them.
    Fragments,
    /// One frame, without a `ref`.
    WithoutRef,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// A close frame, with or without a code.
    Close(Option<u16>),
    /// A FIN, possibly within a frame.
    Fin { within_frame: bool },
    /// A reset, possibly within a frame.
    Reset { within_frame: bool },
    /// Frames that RFC 6455 or the protocol forbids.
    ProtocolViolation(&'static ProtocolViolation),
}

pub(super) struct ProtocolViolation {
    name: &'static str,
    frames: fn() -> Vec<Frame>,
    /// The close codes that the server may use.
    pub(super) codes: &'static [u16],
}

impl Action {
    /// Returns the room that the client must be a member of.
    fn wants_member(&self) -> Option<usize> {
        match self {
            Self::Command(Command::Join(..) | Command::Rooms | Command::Ping, _)
            | Self::Malformed(_)
            | Self::Ping(_) => None,
            Self::Command(
                Command::Leave(room)
                | Command::Send(room, ..)
                | Command::Change(room, ..)
                | Command::Purge(room, _)
                | Command::History(room, _)
                | Command::Thread(room, ..)
                | Command::Read(room, _)
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

impl Framing {
    /// Returns the encoded frames of a text.
    pub(super) fn bytes(self, text: &str) -> Vec<u8> {
        if self != Self::Fragments {
            return Frame::text(text).encode();
        }
        let (first, rest) = text.as_bytes().split_at(text.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        let frames = [
            Frame::text(first).unfinished(),
            Frame::pong("unsolicited"),
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

    /// Returns true if the violation is a close frame.
    pub(super) fn is_close(&self) -> bool {
        self.name.starts_with("a close")
    }
}

const fn violation(
    name: &'static str,
    codes: &'static [u16],
    frames: fn() -> Vec<Frame>,
) -> ProtocolViolation {
    ProtocolViolation { name, frames, codes }
}

const VIOLATIONS: &[ProtocolViolation] = &[
    violation("a binary frame", &[1003], || vec![Frame::binary("{}")]),
    violation("an unmasked frame", &[1002], || vec![Frame::text("{}").unmasked()]),
    violation("a reserved bit", &[1002], || vec![Frame::text("{}").reserved(4)]),
    violation("a reserved opcode", &[1002], || vec![Frame::new(3, "")]),
    violation("a continuation of nothing", &[1002], || vec![Frame::continuation("{}")]),
    violation("a message inside another", &[1002], || vec![Frame::text("{").unfinished(), Frame::text("{}")]),
    violation("a ping in fragments", &[1002], || vec![Frame::ping("").unfinished()]),
    violation("text that is not UTF-8", &[1007], || vec![Frame::text(b"{\"type\":\"\xff\"}")]),
    violation("a frame that is too big", &[1009], || vec![Frame::text(" ".repeat(super::MAX_FRAME + 1))]),
    violation("fragments that are too big", &[1009], || {
        let half = " ".repeat(super::MAX_FRAME / 2 + 1);
        vec![Frame::text(&half).unfinished(), Frame::continuation(&half)]
    }),
    violation("a close of one byte", &[1002], || vec![Frame::new(8, [3])]),
    violation("a close with 999", &[1002], || vec![Frame::close(999, "")]),
    violation("a close with 1005", &[1002], || vec![Frame::close(1005, "")]),
    violation("a close with 5000", &[1002], || vec![Frame::close(5000, "")]),
    violation("a close reason that is not UTF-8", &[1002, 1007], || vec![Frame::close(1000, b"\xff")]),
];

/// The maximum number of generated steps of a script.
const LENGTH: usize = 40;

/// Generates a script.
pub fn script() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..CLIENTS.len(), action()).prop_map(|(client, action)| Step { client, action });
    let is_strange = prop_oneof![14 => Just(false), 1 => Just(true)];
    proptest::collection::vec((step, is_strange), 1..LENGTH).prop_map(joining)
}

/// Inserts joins before actions in a room. A step marked as strange gets none: otherwise most steps would be refused.
fn joining(steps: Vec<(Step, bool)>) -> Vec<Step> {
    let mut joined = BTreeSet::new();
    let mut script = Vec::new();
    for (step, is_strange) in steps {
        let client = step.client;
        if let Some(room) = step.action.wants_member()
            && !is_strange
            && joined.insert((client, room))
        {
            let join = Action::Command(Command::Join(room, From::Seen), Framing::OneFrame);
            script.push(Step { client, action: join });
        }
        match &step.action {
            Action::Command(Command::Join(room, _), _) => drop(joined.insert((client, *room))),
            Action::Command(Command::Leave(room), _) => drop(joined.remove(&(client, *room))),
            Action::End(..) => joined.retain(|(other, _)| *other != client),
            _ => {}
        }
        script.push(step);
    }
    script
}

fn action() -> impl Strategy<Value = Action> {
    let framing = prop_oneof![6 => Just(Framing::OneFrame), 1 => Just(Framing::Fragments), 1 => Just(Framing::WithoutRef)];
    let words = prop_oneof![2 => Just(None), 1 => room().prop_map(Some)];
    prop_oneof![
        24 => (command(), framing).prop_map(|(command, framing)| Action::Command(command, framing)),
        2 => malformed().prop_map(Action::Malformed),
        4 => (room(), 2_usize..9).prop_map(|(room, count)| Action::Burst(room, count)),
        1 => (0_usize..126).prop_map(Action::Ping),
        3 => (words, ending()).prop_map(|(words, ending)| match ending {
            // A message ahead of a reset may or may not be read.
            Ending::Reset { .. } => Action::End(None, ending),
            _ => Action::End(words, ending),
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
        2 => (0..VIOLATIONS.len()).prop_map(|index| Ending::ProtocolViolation(&VIOLATIONS[index])),
    ]
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", label(self.client))?;
        match &self.action {
            Action::Command(command, Framing::OneFrame) => write!(f, "{command}"),
            Action::Command(command, Framing::Fragments) => write!(f, "{command}, in fragments"),
            Action::Command(command, Framing::WithoutRef) => write!(f, "{command}, without a ref"),
            Action::Malformed(Malformed { text, .. }) => write!(f, "sends `{text}`"),
            Action::Burst(room, count) => write!(f, "{count} messages to {} at once", ROOMS[*room]),
            Action::Ping(length) => write!(f, "a ping frame of {length} bytes"),
            Action::End(None, ending) => write!(f, "{ending}"),
            Action::End(Some(room), ending) => write!(f, "a message to {}, and {ending}", ROOMS[*room]),
        }
    }
}

/// Returns the name of a client in a script.
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
            Self::ProtocolViolation(violation) => f.write_str(violation.name),
        }
    }
}

impl fmt::Debug for ProtocolViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
