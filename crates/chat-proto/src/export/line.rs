use std::borrow::Cow;
use std::ops::Not;

use serde::{Deserialize, Serialize};

use super::digest;
use crate::{ChangeKind, Event, InvalidEvent, RawEvent, Restriction, Role, RoomName, RoomRules, User};

/// One line of an export.
///
/// # Examples
///
/// ```
/// use chat_proto::ExportLine;
///
/// let text = r#"{"type":"room","room":"lobby","seq":0}"#;
/// let ExportLine::Room { room, first, .. } = ExportLine::parse(text)? else { panic!("another line") };
/// assert_eq!((room.as_str(), first), ("lobby", 1));
/// # Ok::<(), chat_proto::InvalidExport>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are those of docs/export.md")]
pub enum ExportLine {
    /// The first line.
    Export { version: u64 },
    /// The beginning of a room.
    Room {
        room: RoomName,
        seq: u64,
        #[serde(default = "one", skip_serializing_if = "is_one")]
        first: u64,
        #[serde(default, skip_serializing_if = "Not::not")]
        governed: bool,
    },
    /// The rules of a room that was created.
    Rules {
        room: RoomName,
        #[serde(flatten)]
        rules: RoomRules,
    },
    /// The role and the restriction of a user.
    Standing {
        room: RoomName,
        user: String,
        #[serde(default)]
        role: Role,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restricted: Option<Restriction>,
    },
    /// An entry that is an event: a message in its present form, or an act.
    #[serde(skip)]
    Event { event: Box<Event>, guest: bool },
    /// An entry that changes a message.
    Changed {
        room: RoomName,
        seq: u64,
        at: u64,
        by: User,
        #[serde(default, skip_serializing_if = "Not::not")]
        guest: bool,
        target: u64,
        what: ChangeKind,
    },
    /// Entries that could not be read.
    Lost { room: RoomName, seq: u64, to: u64 },
    /// A reaction of a user, placed by the entry `seq`.
    Reaction {
        room: RoomName,
        target: u64,
        seq: u64,
        reaction: String,
        user: User,
        #[serde(default, skip_serializing_if = "Not::not")]
        guest: bool,
    },
    /// The key with which an entry was stored.
    Key {
        room: RoomName,
        seq: u64,
        at: u64,
        user: String,
        #[serde(default, skip_serializing_if = "Not::not")]
        guest: bool,
        #[serde(with = "digest")]
        key: [u8; 20],
        #[serde(with = "digest")]
        content: [u8; 20],
        age_ms: u64,
    },
    /// The marker of a user.
    Marker {
        room: RoomName,
        user: String,
        #[serde(default, skip_serializing_if = "Not::not")]
        guest: bool,
        seq: u64,
    },
    /// A room that a user follows.
    Follow {
        user: String,
        #[serde(default, skip_serializing_if = "Not::not")]
        guest: bool,
        room: RoomName,
    },
    /// The last line, with the CRC-32 of all lines before it.
    End {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crc32: Option<u32>,
    },
}

/// The reason why a text is not an export. The text of the error repeats nothing of a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the texts of the errors say it")]
pub enum InvalidExport {
    #[error("it is not a JSON object with a `type` (column {column})")]
    NotJson { column: usize },
    #[error("no line of an export has this `type`")]
    UnknownType,
    #[error("a field of this `{0}` is missing or invalid")]
    Fields(&'static str),
    #[error(transparent)]
    Event(#[from] InvalidEvent),
    #[error("a user has an id of 1 to 255 bytes, and a name of 1 to 128 bytes, without control characters")]
    User,
    #[error("the first line of an export is {{\"type\":\"export\",\"version\":1}}")]
    NoVersion,
    #[error("it has version {found} of the format, but this program reads version {known}")]
    UnknownVersion { found: u64, known: u64 },
    #[error("it is about the room {found}, but the last `room` line was not")]
    OtherRoom { found: RoomName },
    #[error("the room {0} comes a second time")]
    RoomTwice(RoomName),
    #[error("the room {0} comes too late: sort the rooms by the bytes of their names")]
    RoomOrder(RoomName),
    #[error("a room has positions from `first` on, at least 1, and `seq` is at least `first` - 1")]
    Bounds,
    #[error("its `seq` is {found}, but the next entry of the room has {expected}")]
    Hole { expected: u64, found: u64 },
    #[error("the room {room} needs an entry {expected} here: its `seq` is {seq}")]
    Unfinished { room: RoomName, expected: u64, seq: u64 },
    #[error("its `at` is earlier than that of the entry before it")]
    Time,
    #[error("it names an entry that does not come before it")]
    Position,
    #[error(
        "a direct room, and no other, has `direct` with its users sorted by `id`, and `join` is `members`"
    )]
    Direct,
    #[error("the direct room of these users is {expected}")]
    DirectName { expected: RoomName },
    #[error("a direct room has a line `rules` before its messages")]
    DirectWithoutRules,
    #[error("a line of this type comes before the line above it")]
    Order,
    #[error("the export ends here without its last line, {{\"type\":\"end\"}}: it is incomplete")]
    Truncated,
    #[error("the export has ended in the line above")]
    AfterEnd,
}

/// The fields that decide how the rest of a line is read.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    guest: bool,
}

impl ExportLine {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// [`InvalidExport`] if it is not one JSON object with the fields of its type.
    pub fn parse(text: &str) -> Result<Self, InvalidExport> {
        let head: Head<'_> =
            serde_json::from_str(text).map_err(|error| InvalidExport::NotJson { column: error.column() })?;
        let kind = match &*head.kind {
            "message" | "role" | "settings" | "purged" => {
                let event = RawEvent::parse(text)?.to_event()?;
                return Ok(Self::Event { event: Box::new(event), guest: head.guest });
            }
            "export" => "export",
            "room" => "room",
            "rules" => "rules",
            "standing" => "standing",
            "changed" => "changed",
            "lost" => "lost",
            "reaction" => "reaction",
            "key" => "key",
            "marker" => "marker",
            "follow" => "follow",
            "end" => "end",
            _ => return Err(InvalidExport::UnknownType),
        };
        let line = serde_json::from_str(text).map_err(|_| InvalidExport::Fields(kind))?;
        Ok(match line {
            Self::Changed { room, seq, at, by, guest, target, what } => {
                Self::Changed { room, seq, at, by: by.with_guest(guest), guest, target, what }
            }
            line => line,
        })
    }

    /// Writes the line, with its line end.
    ///
    /// # Panics
    ///
    /// Never: every line is a map of strings, numbers and JSON that was checked before.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Event { event, guest } => {
                let mut line = one_line(&event.encode());
                if *guest {
                    line.truncate(line.len().saturating_sub(2));
                    line.extend_from_slice(b",\"guest\":true}\n");
                }
                line
            }
            line => one_line(&serde_json::to_vec(line).expect("a line is always JSON")),
        }
    }
}

fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(number: &u64) -> bool {
    *number == 1
}

/// Returns a JSON value as one line: without white space between its tokens, and with escaped line ends in its strings.
///
/// A body is stored byte for byte, so it may contain line ends that would look like further messages.
pub fn one_line(json: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(json.len() + 1);
    let mut is_string = false;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        let mut length = 1;
        match byte {
            b'"' => is_string = !is_string,
            b'\\' if is_string => length = 2,
            b' ' | b'\t' | b'\n' | b'\r' if !is_string => length = 0,
            _ => {}
        }
        // These characters end a line for some programs: NEL, LINE SEPARATOR, PARAGRAPH SEPARATOR.
        let escaped: Option<(&[u8], usize)> = match json.get(at..).unwrap_or_default() {
            [0xc2, 0x85, ..] => Some((b"\\u0085", 2)),
            [0xe2, 0x80, 0xa8, ..] => Some((b"\\u2028", 3)),
            [0xe2, 0x80, 0xa9, ..] => Some((b"\\u2029", 3)),
            _ => None,
        };
        if let Some((escape, skipped)) = escaped {
            line.extend(escape);
            at += skipped;
        } else {
            line.extend(json.iter().skip(at).take(length));
            at += length.max(1);
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_compact_line() {
        for (json, line) in [
            ("{ \"a\" :\n [1.0,\t2e3 ,\r\n\"b \\\" c\\\\\" ] }", "{\"a\":[1.0,2e3,\"b \\\" c\\\\\"]}\n"),
            ("\"\u{85}\u{2028}\u{2029}\u{e9}\"", "\"\\u0085\\u2028\\u2029\u{e9}\"\n"),
        ] {
            assert_eq!(one_line(json.as_bytes()), line.as_bytes());
            let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).expect("JSON");
            assert_eq!(value(line.as_bytes()), value(json.as_bytes()));
        }
    }
}
