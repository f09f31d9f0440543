//! The rows of the rules of a room, and of the standings of its users. Each has a checksum.

use chat_core::{RoomName, RoomRules, Standing};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::row::checksum;

/// Returns the rules of a room, or `None` if it was not created.
pub(crate) fn read_rules(
    connection: &Connection,
    room: &RoomName,
    id: i64,
) -> rusqlite::Result<Option<RoomRules>> {
    let read = |row: &Row<'_>| decode(room, "", row);
    connection
        .prepare_cached("SELECT sum, rules FROM rules WHERE room = ?1")?
        .query_row([id], read)
        .optional()
}

pub(crate) fn write_rules(
    connection: &Connection,
    room: &RoomName,
    id: i64,
    rules: &RoomRules,
) -> rusqlite::Result<()> {
    let (sum, text) = encode(room, "", rules);
    let sql = "INSERT OR REPLACE INTO rules (room, sum, rules) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute((id, sum, text)).map(drop)
}

/// Returns the standing that a room keeps for the id of a user.
pub(crate) fn read_standing(
    connection: &Connection,
    room: &RoomName,
    id: i64,
    user: &str,
) -> rusqlite::Result<Standing> {
    let read = |row: &Row<'_>| decode(room, user, row);
    let sql = "SELECT sum, standing FROM standings WHERE room = ?1 AND user = ?2";
    Ok(connection.prepare_cached(sql)?.query_row((id, user), read).optional()?.unwrap_or_default())
}

/// Writes the standing of a user. One that is the default is removed.
pub(crate) fn write_standing(
    connection: &Connection,
    room: &RoomName,
    id: i64,
    user: &str,
    standing: Standing,
) -> rusqlite::Result<()> {
    if standing.is_default() {
        let sql = "DELETE FROM standings WHERE room = ?1 AND user = ?2";
        return connection.prepare_cached(sql)?.execute((id, user)).map(drop);
    }
    let (sum, text) = encode(room, user, &standing);
    let is_owner = standing.role == chat_core::Role::Owner;
    let sql =
        "INSERT OR REPLACE INTO standings (room, user, owner, sum, standing) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute((id, user, is_owner, sum, text)).map(drop)
}

/// Removes the standings of a room that have ended at this time. One that is damaged stays.
pub(crate) fn remove_ended_standings(
    connection: &Connection,
    room: &RoomName,
    id: i64,
    now: u64,
) -> rusqlite::Result<()> {
    let sql = "SELECT sum, standing, user FROM standings WHERE room = ?1 AND owner = 0";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    let mut ended = Vec::new();
    while let Some(row) = rows.next()? {
        let user: String = row.get(2)?;
        if decode(room, &user, row).is_ok_and(|standing: Standing| standing.has_ended(now)) {
            ended.push(user);
        }
    }
    ended.iter().try_for_each(|user| write_standing(connection, room, id, user, Standing::default()))
}

/// Returns the numbers of owners and of standings of a room.
pub(crate) fn count_standings(connection: &Connection, id: i64) -> rusqlite::Result<(u64, u64)> {
    connection
        .prepare_cached("SELECT coalesce(sum(owner), 0), count(*) FROM standings WHERE room = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn encode(room: &RoomName, user: &str, value: &impl Serialize) -> (i64, String) {
    let text = serde_json::to_string(value).expect("words, texts and numbers are always JSON");
    (sum(room, user, &text), text)
}

/// Reads a row `(sum, text)`. A damaged row is an error: nobody gets a right from it.
fn decode<T: DeserializeOwned>(room: &RoomName, user: &str, row: &Row<'_>) -> rusqlite::Result<T> {
    let text: String = row.get(1)?;
    let value = serde_json::from_str(&text).ok().filter(|_| row.get(0) == Ok(sum(room, user, &text)));
    value.ok_or(rusqlite::Error::InvalidQuery)
}

fn sum(room: &RoomName, user: &str, text: &str) -> i64 {
    checksum(room, 0, [user, "\0", text].concat().as_bytes())
}
