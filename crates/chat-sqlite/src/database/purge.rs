use chat_core::{NewAct, RoomName};
use rusqlite::{Connection, Row};

use super::row::checksum;

/// The purges of a store that may go on at once.
const MAX_PURGES: u64 = 64;

/// A purge that goes on. The table `purges` has it until it is complete, so that an interrupted one is completed.
#[derive(Debug)]
pub(crate) struct Purge {
    /// The number of the row, 0 without one.
    pub(crate) id: i64,
    pub(crate) room: RoomName,
    pub(crate) act: NewAct,
    /// The last message that was looked at.
    pub(crate) after: u64,
    /// The last position whose message is deleted.
    pub(crate) up_to: u64,
    /// The time after which messages stay, in milliseconds since the Unix epoch. `None` if it does not decide.
    pub(crate) until: Option<u64>,
    /// The newest entry of the purge.
    pub(crate) newest: Option<u64>,
    /// The messages deleted so far.
    pub(crate) deleted: usize,
}

impl Purge {
    /// Returns a purge of the messages of a room up to a position, which has deleted nothing yet.
    pub(crate) fn new(id: i64, room: RoomName, act: NewAct, up_to: u64) -> Self {
        Self { id, room, act, after: 0, up_to, until: None, newest: None, deleted: 0 }
    }

    /// Adds a purge to the table. Returns the number of its row, or `None` if too many go on.
    pub(crate) fn insert(
        connection: &Connection,
        room: &RoomName,
        act: &NewAct,
        up_to: u64,
    ) -> rusqlite::Result<Option<i64>> {
        let purges: u64 =
            connection.prepare_cached("SELECT count(*) FROM purges")?.query_row((), |row| row.get(0))?;
        if purges >= MAX_PURGES {
            return Ok(None);
        }
        let act = serde_json::to_vec(act).expect("texts and numbers are always JSON");
        let sum = checksum(room, up_to, &act);
        connection
            .prepare_cached("INSERT INTO purges (room, up_to, sum, act) VALUES (?1, ?2, ?3, ?4)")?
            .execute((room.as_str(), up_to, sum, act))?;
        Ok(Some(connection.last_insert_rowid()))
    }

    /// Removes a purge from the table, because it is complete.
    pub(crate) fn remove(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM purges WHERE id = ?1")?.execute([self.id]).map(drop)
    }

    /// Reads the purges that were interrupted. A damaged one is left out.
    pub(crate) fn read_all(connection: &Connection) -> rusqlite::Result<Vec<Self>> {
        let mut statement = connection.prepare("SELECT id, room, up_to, sum, act FROM purges ORDER BY id")?;
        let purges = statement.query_map((), decode)?;
        purges.filter_map(Result::transpose).collect()
    }
}

fn decode(row: &Row<'_>) -> rusqlite::Result<Option<Purge>> {
    let (id, room, up_to): (i64, String, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (sum, act): (i64, Vec<u8>) = (row.get(3)?, row.get(4)?);
    let room = room.parse::<RoomName>().ok().filter(|room| checksum(room, up_to, &act) == sum);
    let purge = room.zip(serde_json::from_slice(&act).ok());
    Ok(purge.map(|(room, act)| Purge::new(id, room, act, up_to)))
}
