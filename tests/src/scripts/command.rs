//! The commands of a script, valid and invalid, and their generators.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::change::{Change, change};
use super::links::{Links, links};
use super::step::{CLIENTS, ROOMS, room};
use super::{MAX_BODY, with_reference};

/// A command. A room is an index into [`ROOMS`].
#[derive(Clone, Debug)]
pub(super) enum Command {
    Join(usize, From),
    Leave(usize),
    Send(usize, Option<u8>, Body, Links),
    /// A change of the entry this far behind the newest.
    Change(usize, u64, Change),
    /// A purge of the messages of one of the users.
    Purge(usize, &'static str),
    History(usize, Page),
    /// The messages of the thread that begins with the entry this far behind the newest.
    Thread(usize, u64, Page),
    /// Moves the marker to the entry this far behind the newest.
    Read(usize, u64),
    Rooms,
    Members(usize),
    Search(usize, Query),
    Typing(usize, bool),
    Ping,
}

/// The position from which a member reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Now,
    Last(u64),
    /// After the last message that this client saw of the room, on any connection.
    Seen,
    /// After the message this far behind the newest.
    Behind(u64),
    /// After the message this far ahead of the newest, which does not exist yet.
    Ahead(u64),
    /// After a message of an epoch that never existed.
    Stale(u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// A short text, one for each number.
    Text(u8),
    /// A text of the maximum length.
    Longest,
    TooLong,
    Empty,
    Blank,
    Control,
    Other,
}

/// The part of the history that `before`, `after` and `limit` select.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) from: Option<(bool, u64)>,
    pub(super) limit: Option<u64>,
}

/// The parameters of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query {
    pub(super) words: &'static str,
    pub(super) before: Option<u64>,
    pub(super) limit: Option<u64>,
}

/// Queries that find most texts, some, the longest, those of a burst, or none.
const WORDS: [&str; 6] = ["안녕", "1 안녕", "녕\u{3000}0", "XXX", "1.5", "mood"];

impl Command {
    /// Returns the room of a command that names entries by their distance from the newest one.
    pub(super) fn room(&self) -> Option<usize> {
        match self {
            Self::Change(room, ..)
            | Self::Purge(room, _)
            | Self::Send(room, ..)
            | Self::Thread(room, ..)
            | Self::Read(room, _) => Some(*room),
            _ => None,
        }
    }

    /// Returns the command as JSON. `after` is the position in a `join`, and `head` the newest entry of the room.
    pub(super) fn json(&self, reference: Option<&str>, after: Option<&(String, u64)>, head: u64) -> Value {
        let mut command = match self {
            Self::Join(room, _) => json!({"type": "join", "room": ROOMS[*room]}),
            Self::Leave(room) => json!({"type": "leave", "room": ROOMS[*room]}),
            Self::Send(room, _, body, links) => {
                let mut send = links.json(head);
                (send["type"], send["room"], send["body"]) =
                    (json!("send"), json!(ROOMS[*room]), body.json());
                send
            }
            Self::Change(room, back, change) => change.json(ROOMS[*room], target(head, *back), head),
            Self::Purge(room, user) => json!({"type": "purge", "room": ROOMS[*room], "user": user}),
            Self::History(room, _) => json!({"type": "history", "room": ROOMS[*room]}),
            Self::Thread(room, back, _) => {
                json!({"type": "history", "room": ROOMS[*room], "thread": target(head, *back)})
            }
            Self::Read(room, back) => {
                json!({"type": "read", "room": ROOMS[*room], "seq": target(head, *back)})
            }
            Self::Rooms => json!({"type": "rooms"}),
            Self::Members(room) => json!({"type": "members", "room": ROOMS[*room]}),
            Self::Search(room, Query { words, before, limit }) => {
                let mut search = json!({"type": "search", "room": ROOMS[*room], "query": words});
                for (field, number) in [("before", before), ("limit", limit)] {
                    if let Some(number) = number {
                        search[field] = json!(number);
                    }
                }
                search
            }
            Self::Typing(room, active) => json!({"type": "typing", "room": ROOMS[*room], "active": active}),
            Self::Ping => json!({"type": "ping"}),
        };
        if let Self::Send(_, Some(key), ..) = self {
            command["key"] = json!(key.to_string());
        }
        if let Self::Join(_, From::Last(count)) = self {
            command["last"] = json!(count);
        }
        if let Some((epoch, seq)) = after {
            command["after"] = json!({"epoch": epoch, "seq": seq});
        }
        if let Self::History(_, Page { from, limit }) | Self::Thread(_, _, Page { from, limit }) = self {
            match from {
                Some((true, seq)) => command["before"] = json!(seq),
                Some((false, seq)) => command["after"] = json!(seq),
                None => {}
            }
            if let Some(limit) = limit {
                command["limit"] = json!(limit);
            }
        }
        with_reference(reference, command)
    }
}

/// Returns the position of an entry this far behind the newest.
pub(super) fn target(head: u64, back: u64) -> u64 {
    head.saturating_sub(back).max(1)
}

impl Body {
    pub(super) fn json(self) -> Value {
        match self {
            Self::Text(number) => json!({"text": format!("안녕 {number}"), "mood": 1.50}),
            Self::Longest => json!({"text": "x".repeat(MAX_BODY)}),
            Self::TooLong => json!({"text": "x".repeat(MAX_BODY + 1)}),
            Self::Empty => json!({"text": ""}),
            Self::Blank => json!({"text": " \n\t\u{2800}"}),
            Self::Control => json!({"text": "a\u{7}b"}),
            Self::Other => json!({"words": "hi"}),
        }
    }

    /// Returns the error code of a body that the server must refuse.
    pub(super) fn error_code(self) -> Option<&'static str> {
        match self {
            Self::Text(_) | Self::Longest => None,
            Self::TooLong => Some("body_too_large"),
            Self::Empty | Self::Blank => Some("empty_body"),
            Self::Control | Self::Other => Some("bad_body"),
        }
    }
}

/// Generates a valid command.
pub(super) fn command() -> impl Strategy<Value = Command> {
    let from = prop_oneof![
        3 => Just(From::Now),
        2 => (0_u64..12).prop_map(From::Last),
        4 => Just(From::Seen),
        2 => (0_u64..12).prop_map(From::Behind),
        1 => (1_u64..3).prop_map(From::Ahead),
        1 => (0_u64..12).prop_map(From::Stale),
    ];
    let body = prop_oneof![
        9 => Just(Body::Text(0)),
        3 => Just(Body::Text(1)),
        1 => select(vec![Body::Longest, Body::TooLong, Body::Empty, Body::Blank, Body::Control, Body::Other]),
    ];
    let page = || {
        (proptest::option::of((any::<bool>(), 0_u64..20)), proptest::option::of(0_u64..8))
            .prop_map(|(from, limit)| Page { from, limit })
    };
    let query = (select(&WORDS[..]), proptest::option::of(0_u64..20), proptest::option::of(0_u64..5))
        .prop_map(|(words, before, limit)| Query { words, before, limit });
    let behind = prop_oneof![6 => 0_u64..5, 1 => 0_u64..20];
    prop_oneof![
        6 => (room(), from).prop_map(|(room, from)| Command::Join(room, from)),
        2 => room().prop_map(Command::Leave),
        10 => (room(), proptest::option::weighted(0.5, 0_u8..3), body, links())
            .prop_map(|(room, key, body, links)| Command::Send(room, key, body, links)),
        9 => (room(), behind.clone(), change()).prop_map(|(room, back, change)| Command::Change(room, back, change)),
        3 => (room(), page()).prop_map(|(room, page)| Command::History(room, page)),
        2 => (room(), behind.clone(), page()).prop_map(|(room, back, page)| Command::Thread(room, back, page)),
        3 => (room(), behind).prop_map(|(room, back)| Command::Read(room, back)),
        1 => Just(Command::Rooms),
        1 => (room(), select(&CLIENTS[..])).prop_map(|(room, user)| Command::Purge(room, user)),
        1 => room().prop_map(Command::Members),
        2 => (room(), query).prop_map(|(room, query)| Command::Search(room, query)),
        1 => (room(), any::<bool>()).prop_map(|(room, active)| Command::Typing(room, active)),
        1 => Just(Command::Ping),
    ]
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(room, from) => match from {
                From::Now => write!(f, "join {}", ROOMS[*room]),
                From::Last(count) => write!(f, "join {}, last {count}", ROOMS[*room]),
                From::Seen => write!(f, "join {} after the last message seen", ROOMS[*room]),
                From::Behind(count) => write!(f, "join {} from {count} behind the head", ROOMS[*room]),
                From::Ahead(count) => write!(f, "join {} from {count} ahead of the head", ROOMS[*room]),
                From::Stale(seq) => write!(f, "join {} after {seq} of another epoch", ROOMS[*room]),
            },
            Self::Leave(room) => write!(f, "leave {}", ROOMS[*room]),
            Self::Send(room, None, body, links) => write!(f, "send {body:?} to {}{links}", ROOMS[*room]),
            Self::Send(room, Some(key), body, links) => {
                write!(f, "send {body:?} to {} with key {key}{links}", ROOMS[*room])
            }
            Self::Change(room, back, change) => {
                write!(f, "{change} the entry {back} behind the head of {}", ROOMS[*room])
            }
            Self::Purge(room, user) => write!(f, "purge {user} in {}", ROOMS[*room]),
            Self::History(room, page) => write!(f, "history of {}{page}", ROOMS[*room]),
            Self::Thread(room, back, page) => {
                write!(
                    f,
                    "history of the thread of the entry {back} behind the head of {}{page}",
                    ROOMS[*room]
                )
            }
            Self::Read(room, back) => write!(f, "read {} up to {back} behind the head", ROOMS[*room]),
            Self::Rooms => f.write_str("rooms"),
            Self::Members(room) => write!(f, "members of {}", ROOMS[*room]),
            Self::Search(room, query) => write!(f, "search {} for {query:?}", ROOMS[*room]),
            Self::Typing(room, active) => write!(f, "typing in {}: {active}", ROOMS[*room]),
            Self::Ping => f.write_str("ping"),
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some((true, seq)) => write!(f, " before {seq}")?,
            Some((false, seq)) => write!(f, " after {seq}")?,
            None => {}
        }
        self.limit.map_or(Ok(()), |limit| write!(f, ", limit {limit}"))
    }
}
