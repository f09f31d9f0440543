//! What a client asks: one JSON object in one text frame.

use serde_json::value::RawValue;

use crate::fields::Fields;
use crate::{ErrorCode, Limits, Range, RoomName, Search};

/// A command as its sender meant it, checked as far as that needs no state.
#[derive(Debug)]
pub enum Command {
    /// Speak for a user from now on.
    Hello,
    /// Become a member of a room.
    Join {
        /// Which room.
        room: RoomName,
        /// Which messages are wanted first.
        from: JoinFrom,
    },
    /// Stop being a member of a room.
    Leave {
        /// Which room.
        room: RoomName,
    },
    /// Write a message.
    Send {
        /// Where to.
        room: RoomName,
        /// The idempotency key.
        key: Option<String>,
        /// The message as it came.
        body: Box<RawValue>,
    },
    /// Read a room's log.
    History {
        /// Which room.
        room: RoomName,
        /// Which part of it.
        range: Range,
    },
    /// Ask who is in a room.
    Members {
        /// Which room.
        room: RoomName,
    },
    /// Search a room's log.
    Search {
        /// Which room.
        room: RoomName,
        /// What for.
        search: Search,
    },
    /// Say that the user is, or is no longer, writing.
    Typing {
        /// Where.
        room: RoomName,
        /// Whether they are.
        active: bool,
    },
    /// Ask for a sign of life above the WebSocket's own.
    Ping,
}

/// Which messages a member wants first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinFrom {
    /// Those to come.
    Now,
    /// The newest so many, then those to come.
    Last(u64),
    /// All after this position, then those to come.
    After {
        /// The `epoch` in which the position was seen.
        epoch: String,
        /// The `seq` of the last message seen.
        seq: u64,
    },
}

/// A command, or why it is none, with the `ref` that its reply must carry.
#[derive(Debug)]
pub struct Parsed {
    /// The `ref`, where one was given that can be used.
    pub reference: Option<String>,
    /// What was asked.
    pub command: Result<Command, Invalid>,
}

/// Why a text is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong.
    pub code: ErrorCode,
    /// The room that it was meant for, where one was named.
    pub room: Option<RoomName>,
}

/// Reads one text frame.
pub fn parse(text: &[u8], limits: &Limits) -> Parsed {
    let invalid = |fields: &Fields<'_>, code| Invalid { code, room: room(fields).ok() };
    match Fields::parse(text) {
        Ok(fields) => match reference(&fields, limits) {
            Ok(reference) => {
                let command = command(&fields, limits).map_err(|code| invalid(&fields, code));
                Parsed { reference, command }
            }
            Err(code) => Parsed { reference: None, command: Err(invalid(&fields, code)) },
        },
        Err(code) => match Fields::salvage(text) {
            // Whoever sent a `ref` waits for a reply with it, however bad the rest is.
            Some(fields) => {
                let reference = reference(&fields, limits).ok().flatten();
                Parsed { reference, command: Err(invalid(&fields, code)) }
            }
            None => Parsed { reference: None, command: Err(Invalid { code, room: None }) },
        },
    }
}

fn reference(fields: &Fields<'_>, limits: &Limits) -> Result<Option<String>, ErrorCode> {
    const RULE: &str = "`ref` must be a string that is not too long";
    match fields.string("ref", RULE)? {
        Some(text) if text.len() > limits.wire.max_ref_bytes => Err(ErrorCode::BadCommand(RULE)),
        reference => Ok(reference),
    }
}

fn command(fields: &Fields<'_>, limits: &Limits) -> Result<Command, ErrorCode> {
    const TYPE: &str = "`type` must be a string";
    let kind = fields.string("type", TYPE)?.ok_or(ErrorCode::BadCommand(TYPE))?;
    Ok(match kind.as_str() {
        "hello" => {
            fields.string("token", "`token` must be a string")?;
            fields.string("name", "`name` must be a string")?;
            Command::Hello
        }
        "join" => Command::Join { room: room(fields)?, from: from(fields)? },
        "leave" => Command::Leave { room: room(fields)? },
        "send" => Command::Send { room: room(fields)?, key: key(fields, limits)?, body: body(fields)? },
        "history" => Command::History { room: room(fields)?, range: range(fields, limits)? },
        "members" => Command::Members { room: room(fields)? },
        "search" => Command::Search { room: room(fields)?, search: search(fields, limits)? },
        "typing" => {
            const ACTIVE: &str = "`active` must be true or false";
            let active = fields.boolean("active", ACTIVE)?.ok_or(ErrorCode::BadCommand(ACTIVE))?;
            Command::Typing { room: room(fields)?, active }
        }
        "ping" => Command::Ping,
        _ => return Err(ErrorCode::UnknownType),
    })
}

const BEFORE: &str = "`before` must be an integer from 0 to 2^53-1";
const BODY: &str = "`body` must be an object";

fn room(fields: &Fields<'_>) -> Result<RoomName, ErrorCode> {
    const RULE: &str = "`room` must be a string";
    fields.string("room", RULE)?.ok_or(ErrorCode::BadCommand(RULE))?.parse()
}

fn from(fields: &Fields<'_>) -> Result<JoinFrom, ErrorCode> {
    const AFTER: &str = "`after` must be an object with a string `epoch` and an integer `seq`";
    let last = fields.integer("last", "`last` must be an integer from 0 to 2^53-1")?;
    let Some(after) = fields.nested("after", AFTER)? else {
        return Ok(last.map_or(JoinFrom::Now, JoinFrom::Last));
    };
    if last.is_some() {
        return Err(ErrorCode::BadCommand("`after` and `last` exclude each other"));
    }
    let epoch = after.string("epoch", AFTER)?.ok_or(ErrorCode::BadCommand(AFTER))?;
    let seq = after.integer("seq", AFTER)?.ok_or(ErrorCode::BadCommand(AFTER))?;
    Ok(JoinFrom::After { epoch, seq })
}

fn key(fields: &Fields<'_>, limits: &Limits) -> Result<Option<String>, ErrorCode> {
    match fields.string("key", "`key` must be a string")? {
        Some(key) if key.is_empty() || key.len() > limits.wire.max_key_bytes => Err(ErrorCode::BadKey),
        key => Ok(key),
    }
}

fn body(fields: &Fields<'_>) -> Result<Box<RawValue>, ErrorCode> {
    fields.object("body", BODY)?.map(ToOwned::to_owned).ok_or(ErrorCode::BadCommand(BODY))
}

fn range(fields: &Fields<'_>, limits: &Limits) -> Result<Range, ErrorCode> {
    let before = fields.integer("before", BEFORE)?;
    let after = fields.integer("after", "`after` must be an integer from 0 to 2^53-1")?;
    let limit = limit(fields, limits.wire.default_page_messages, limits.wire.max_page_messages)?;
    match (before, after) {
        (Some(_), Some(_)) => Err(ErrorCode::BadCursor),
        (Some(before), None) => Ok(Range::Before { seq: before, limit }),
        (None, Some(after)) => Ok(Range::After { seq: after, limit }),
        (None, None) => Ok(Range::Before { seq: u64::MAX, limit }),
    }
}

fn search(fields: &Fields<'_>, limits: &Limits) -> Result<Search, ErrorCode> {
    const QUERY: &str = "`query` must be a string";
    let search = Search {
        query: fields.string("query", QUERY)?.ok_or(ErrorCode::BadCommand(QUERY))?,
        limit: limit(fields, limits.wire.default_search_messages, limits.wire.max_search_messages)?,
        before: fields.integer("before", BEFORE)?.unwrap_or(u64::MAX),
    };
    if search.is_valid(limits) { Ok(search) } else { Err(ErrorCode::BadQuery) }
}

fn limit(fields: &Fields<'_>, default: usize, max: usize) -> Result<usize, ErrorCode> {
    let limit = fields.integer("limit", "`limit` must be an integer from 0 to 2^53-1")?;
    Ok(limit.map_or(default, |limit| usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, max)))
}
