use std::collections::BTreeSet;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};

use super::Candidates;
use crate::database::row::{message_id, seq_of};

/// Positions that one query of the index covers. It bounds the time that the index needs for one result.
const WINDOW: u64 = 100_000;

/// A search for positions of a room.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) room: String,
    pub(super) expression: String,
    pub(super) before: u64,
    pub(super) limit: usize,
}

impl Query {
    /// Looks for candidates until `until`, or until there are enough. Returns `None` for a room that is not known.
    pub(super) fn run(
        &self,
        connection: &Connection,
        until: Instant,
    ) -> rusqlite::Result<Option<Candidates>> {
        let room = connection
            .prepare_cached("SELECT id, indexed, first FROM rooms WHERE name = ?1")?
            .query_row([&self.room], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, u64>(2)?)))
            .optional()?;
        let Some((room, indexed, first)): Option<(i64, u64, u64)> = room else { return Ok(None) };
        let (mut positions, mut end, first) = (Vec::new(), self.before, first.max(1));
        while end > first && positions.len() < self.limit {
            let left = self.limit - positions.len();
            let low = end.saturating_sub(WINDOW).max(first);
            let mut found = self.matches(connection, room, (low, end), left)?;
            // Newest first, so that each source has the newest of its positions.
            found.extend((low.max(indexed + 1)..end).rev().take(left));
            found.extend(gaps(connection, room, (low, end), left)?);
            let newest: Vec<u64> = found.iter().rev().take(left).copied().collect();
            end = match newest.last() {
                Some(oldest) if newest.len() >= left => *oldest,
                _ => low,
            };
            for seq in newest {
                positions.push((seq, place(connection, room, seq)?));
            }
            if Instant::now() >= until {
                break;
            }
        }
        // Nothing is left below the first position.
        Ok(Some(Candidates { positions, down_to: if end > first { end } else { 1 } }))
    }

    /// Returns the newest messages that match in the index, from the first position up to before the second one.
    fn matches(
        &self,
        connection: &Connection,
        room: i64,
        (low, end): (u64, u64),
        limit: usize,
    ) -> rusqlite::Result<BTreeSet<u64>> {
        let sql =
            "SELECT rowid FROM search WHERE search MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid DESC";
        let (first, last) = (message_id(room, low), message_id(room, end - 1));
        let mut matching = connection.prepare_cached(sql)?;
        let rows = matching.query_map((&self.expression, first, last), |row| row.get(0))?;
        rows.take(limit).map(|id| id.map(seq_of)).collect()
    }
}

/// Returns the newest positions that the index was not given.
fn gaps(
    connection: &Connection,
    room: i64,
    (low, end): (u64, u64),
    limit: usize,
) -> rusqlite::Result<Vec<u64>> {
    let sql = "SELECT id, last FROM gaps WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC";
    let mut gaps = connection.prepare_cached(sql)?;
    let mut rows = gaps.query((message_id(room, 0), message_id(room, end - 1)))?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let (first, last) = (seq_of(row.get(0)?), seq_of(row.get(1)?));
        if last < low {
            break;
        }
        found.extend((first.max(low)..=last.min(end - 1)).rev().take(limit - found.len()));
    }
    Ok(found)
}

/// Returns the place of the record with a position, or of one before it.
fn place(connection: &Connection, room: i64, seq: u64) -> rusqlite::Result<u64> {
    let sql = "SELECT place FROM places WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1";
    let range = (message_id(room, 0), message_id(room, seq));
    let place = connection.prepare_cached(sql)?.query_row(range, |row| row.get(0)).optional()?;
    Ok(place.unwrap_or(1))
}
