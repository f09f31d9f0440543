use std::io::{self, Write};
use std::path::Path;

use chat_core::RoomName;
use rusqlite::{Connection, OptionalExtension};

use super::connect;
use crate::OpenError;
use crate::database::Paths;
use crate::database::row::{message_id, verified_frame};

/// The result of [`SqliteStore::export`](crate::SqliteStore::export).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Messages written.
    pub messages: u64,
    /// Messages omitted because they differ from their checksum.
    pub unreadable: u64,
}

pub(crate) fn export(dir: &Path, room: &RoomName, mut to: impl Write) -> io::Result<Exported> {
    let connection = connect(dir).map_err(io::Error::other)?;
    let mut exported = Exported::default();
    let Some(id) = room_id(&connection, room).map_err(io::Error::other)? else {
        return Ok(exported);
    };
    let sql = "SELECT id, sum, frame FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
    let mut statement = connection.prepare(sql).map_err(io::Error::other)?;
    let range = (message_id(id, 0), message_id(id, u64::MAX));
    let mut rows = statement.query(range).map_err(io::Error::other)?;
    while let Some(row) = rows.next().map_err(io::Error::other)? {
        match verified_frame(room, row).map_err(io::Error::other)? {
            (_, Some(frame)) => {
                to.write_all(&json_line(frame))?;
                exported.messages += 1;
            }
            (_, None) => exported.unreadable += 1,
        }
    }
    to.flush()?;
    Ok(exported)
}

pub(crate) fn rooms(dir: &Path) -> Result<Vec<RoomName>, OpenError> {
    let connection = connect(dir)?;
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare("SELECT name FROM rooms ORDER BY name")?;
        statement.query_map((), |row| row.get(0))?.collect()
    };
    let names = read().map_err(OpenError::sqlite(&Paths::of(dir).database))?;
    // The checksums of a room with a damaged name do not match either, so its messages cannot be read.
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

fn room_id(connection: &Connection, room: &RoomName) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM rooms WHERE name = ?1";
    connection.query_row(sql, [room.as_str()], |row| row.get(0)).optional()
}

/// Returns a JSON value as one line: without white space between its tokens, and with escaped line ends in its strings.
///
/// A body is stored byte for byte, so it may contain line ends that would look like further messages.
fn json_line(json: &[u8]) -> Vec<u8> {
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
            assert_eq!(json_line(json.as_bytes()), line.as_bytes());
            let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).expect("JSON");
            assert_eq!(value(line.as_bytes()), value(json.as_bytes()));
        }
    }
}
