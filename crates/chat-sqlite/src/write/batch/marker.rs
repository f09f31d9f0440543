use chat_core::{RoomName, UserKey};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{AppendBatch, Outcome, Position, refused};
use crate::database::row::{GUESTS, user_column};

/// A new position of a marker.
#[derive(Debug)]
pub(crate) struct PreparedMarker {
    pub(crate) room: RoomName,
    pub(crate) user: UserKey,
    pub(crate) seq: u64,
}

/// A room that a user follows, or follows no longer.
#[derive(Debug)]
pub(crate) struct PreparedFollow {
    pub(crate) room: RoomName,
    pub(crate) user: UserKey,
    pub(crate) on: bool,
    /// Rooms that a user may follow.
    pub(crate) max: usize,
}

impl AppendBatch<'_> {
    /// Moves a marker forward. The outcome has its present position, and none if the new one is beyond the head.
    pub(crate) fn mark(&mut self, marker: &PreparedMarker) -> rusqlite::Result<Outcome> {
        let PreparedMarker { room, user, seq } = marker;
        let row = self.row(room)?;
        let head = match row {
            Some(row) => row.head,
            None => self.reserved_seq()?,
        };
        if *seq > head {
            return Ok(self.answer(None, false));
        }
        let Some(row) = row else { return Ok(self.answer(Some(0), false)) };
        let user_column = user_column(user);
        let known: Option<u64> = self
            .transaction
            .prepare_cached("SELECT seq FROM markers WHERE room = ?1 AND user = ?2")?
            .query_row((row.id, &user_column), |row| row.get(0))
            .optional()?;
        if known.unwrap_or_default() >= *seq {
            return Ok(self.answer(Some(known.unwrap_or_default()), false));
        }
        if known.is_none() {
            if self.limits.is_full {
                return Ok(refused("the store has reached its disk quota"));
            }
            if !self.make_place_for_marker(row.id, &user_column)? {
                return Ok(refused("the room has too many markers"));
            }
        }
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO markers (room, user, seq) VALUES (?1, ?2, ?3)")?
            .execute((row.id, &user_column, seq))?;
        self.has_marked = true;
        Ok(self.answer(Some(*seq), true))
    }

    /// Counts one more marker of a room. If there are too many, the marker of a guest is removed, because anyone can
    /// take any number of guest names. Returns `false` if there is none.
    fn make_place_for_marker(&self, room: i64, user: &[u8]) -> rusqlite::Result<bool> {
        let markers: u64 = self
            .transaction
            .prepare_cached("SELECT markers FROM rooms WHERE id = ?1")?
            .query_row([room], |row| row.get(0))?;
        if markers < self.limits.max_markers {
            let sql = "UPDATE rooms SET markers = markers + 1 WHERE id = ?1";
            return self.transaction.prepare_cached(sql)?.execute([room]).map(|_| true);
        }
        let next = "SELECT user FROM markers WHERE room = ?1 AND user > max(?2, ?3) ORDER BY user LIMIT 1";
        let last = "SELECT user FROM markers WHERE room = ?1 AND user > ?3 AND user <> ?2
            ORDER BY user DESC LIMIT 1";
        let Some(guest) = self.first_of([next, last], params![room, user, GUESTS])? else { return Ok(false) };
        let sql = "DELETE FROM markers WHERE room = ?1 AND user = ?2";
        self.transaction.prepare_cached(sql)?.execute((room, guest)).map(|_| true)
    }

    /// Lets a user follow a room, or ends that. The outcome has no position if the user follows too many rooms. Direct
    /// rooms count separately.
    pub(crate) fn follow(&mut self, follow: &PreparedFollow) -> rusqlite::Result<Outcome> {
        let PreparedFollow { room, user, on, max } = follow;
        let (column, name) = (user_column(user), room.as_str());
        if !on {
            let removed = self
                .transaction
                .prepare_cached("DELETE FROM follows WHERE user = ?1 AND room = ?2")?
                .execute((&column, name))?;
            self.count_follows(user, -i64::from(removed > 0))?;
            self.has_marked |= removed > 0;
            return Ok(self.answer(Some(0), removed > 0));
        }
        let (followed, is_followed): (usize, bool) = self
            .transaction
            .prepare_cached(
                "SELECT count(*), coalesce(max(room = ?2), 0) FROM follows
                    WHERE user = ?1 AND (room GLOB 'direct-*') = ?3",
            )?
            .query_row((&column, name, room.is_direct()), |row| Ok((row.get(0)?, row.get(1)?)))?;
        if is_followed {
            return Ok(self.answer(Some(0), false));
        }
        if followed >= *max {
            return Ok(self.answer(None, false));
        }
        if self.limits.is_full {
            return Ok(refused("the store has reached its disk quota"));
        }
        if user.is_guest() && !self.make_place_for_follow(&column)? {
            return Ok(refused("guests follow too many rooms"));
        }
        self.transaction
            .prepare_cached("INSERT INTO follows (user, room) VALUES (?1, ?2)")?
            .execute((&column, name))?;
        self.count_follows(user, 1)?;
        self.has_marked = true;
        Ok(self.answer(Some(0), true))
    }

    /// Removes the rooms that other guests follow, if guests follow too many. Returns `false` if there is no other one.
    fn make_place_for_follow(&self, user: &[u8]) -> rusqlite::Result<bool> {
        let followed: u64 = self
            .transaction
            .prepare_cached("SELECT guest_follows FROM store")?
            .query_row((), |row| row.get(0))?;
        if followed < self.limits.max_guest_follows {
            return Ok(true);
        }
        let next = "SELECT user FROM follows WHERE user > max(?1, ?2) ORDER BY user LIMIT 1";
        let last = "SELECT user FROM follows WHERE user > ?2 AND user <> ?1 ORDER BY user DESC LIMIT 1";
        let Some(guest) = self.first_of([next, last], params![user, GUESTS])? else { return Ok(false) };
        let sql = "DELETE FROM follows WHERE user = ?1";
        let removed = self.transaction.prepare_cached(sql)?.execute([guest])?;
        self.transaction
            .prepare_cached("UPDATE store SET guest_follows = guest_follows - ?1")?
            .execute([removed])
            .map(|_| true)
    }

    fn count_follows(&self, user: &UserKey, change: i64) -> rusqlite::Result<()> {
        if change == 0 || !user.is_guest() {
            return Ok(());
        }
        let sql = "UPDATE store SET guest_follows = guest_follows + ?1";
        self.transaction.prepare_cached(sql)?.execute([change]).map(drop)
    }

    /// Returns the user of the first of two queries that finds one.
    fn first_of(
        &self,
        queries: [&str; 2],
        parameters: &[&dyn rusqlite::ToSql],
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        for query in queries {
            let mut statement = self.transaction.prepare_cached(query)?;
            let found = statement.query_row(parameters, |row| row.get(0)).optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn answer(&self, seq: Option<u64>, has_changed: bool) -> Outcome {
        Outcome::Known(Position { seq, at: self.now.at, duplicate: !has_changed })
    }
}

/// Deletes up to `limit` markers of a room. Returns their number.
pub(crate) fn delete_markers(
    transaction: &Transaction<'_>,
    room: i64,
    limit: usize,
) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM markers WHERE room = ?1
        AND user IN (SELECT user FROM markers WHERE room = ?1 ORDER BY user LIMIT ?2)";
    let deleted = transaction.prepare_cached(sql)?.execute((room, limit))?;
    if deleted > 0 {
        transaction
            .prepare_cached("UPDATE rooms SET markers = max(markers - ?2, 0) WHERE id = ?1")?
            .execute((room, deleted))?;
    }
    Ok(deleted)
}
