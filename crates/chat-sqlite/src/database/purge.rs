use chat_core::{NewAct, PurgePlaces, RoomName};
use rusqlite::{Connection, Row};

use super::row::checksum;

/// A purge that goes on. The table `purges` has it until it is complete, so that an interrupted one is completed.
#[derive(Clone, Debug)]
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

    /// Adds a purge to the table. If the same one goes on, its row gets the newer act and position instead. Returns the
    /// number of the row, or the reason why the purge must not begin.
    pub(crate) fn begin(
        connection: &Connection,
        room: &RoomName,
        act: &NewAct,
        up_to: u64,
    ) -> rusqlite::Result<Result<i64, &'static str>> {
        let (purges, damaged) = read(connection)?;
        let same = purges.iter().find(|purge| purge.is_same(room, act)).map(|purge| purge.id);
        // A damaged one takes a place too.
        let places = PurgePlaces::default().with(|places| places.total -= damaged.len().min(places.total));
        let others = purges.iter().map(|purge| (&purge.room, &purge.act));
        if same.is_none()
            && let Err(reason) = places.check(others, room, act)
        {
            return Ok(Err(reason));
        }
        let act = serde_json::to_vec(act).expect("texts and numbers are always JSON");
        let sum = checksum(room, up_to, &act);
        let id = connection
            .prepare_cached(
                "INSERT INTO purges (id, room, up_to, sum, act) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET up_to = ?3, sum = ?4, act = ?5 RETURNING id",
            )?
            .query_row((same, room.as_str(), up_to, sum, act), |row| row.get(0))?;
        Ok(Ok(id))
    }

    /// Returns `true` if an act is a repeat of this purge: the same user purges the same user in the same room.
    pub(crate) fn is_same(&self, room: &RoomName, act: &NewAct) -> bool {
        self.room == *room && self.act.repeats(act)
    }

    /// Removes a purge from the table, because it is complete.
    pub(crate) fn remove(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM purges WHERE id = ?1")?.execute([self.id]).map(drop)
    }

    /// Reads the purges that are not complete. A damaged one is left out.
    pub(crate) fn read_all(connection: &Connection) -> rusqlite::Result<Vec<Self>> {
        let (purges, _) = read(connection)?;
        Ok(purges)
    }

    /// Returns the numbers of the rows that are damaged.
    pub(crate) fn damaged(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
        let (_, damaged) = read(connection)?;
        Ok(damaged)
    }

    /// Reads the purges that were interrupted. Removes the damaged ones, because nobody can complete them.
    pub(crate) fn take_interrupted(connection: &Connection) -> rusqlite::Result<Vec<Self>> {
        let (purges, damaged) = read(connection)?;
        for id in damaged {
            connection.execute("DELETE FROM purges WHERE id = ?1", [id])?;
            tracing::error!(
                purge = id,
                "purge removed: it differs from its checksum; messages of its user may be left"
            );
        }
        Ok(purges)
    }
}

/// Reads the purges that are not complete, and the numbers of the rows that are damaged.
fn read(connection: &Connection) -> rusqlite::Result<(Vec<Purge>, Vec<i64>)> {
    let mut statement =
        connection.prepare_cached("SELECT id, room, up_to, sum, act FROM purges ORDER BY id")?;
    let mut rows = statement.query(())?;
    let (mut purges, mut damaged) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        match decode(id, row) {
            Some(purge) => purges.push(purge),
            None => damaged.push(id),
        }
    }
    Ok((purges, damaged))
}

fn decode(id: i64, row: &Row<'_>) -> Option<Purge> {
    let (room, up_to, sum): (String, u64, i64) = (row.get(1).ok()?, row.get(2).ok()?, row.get(3).ok()?);
    let act: Vec<u8> = row.get(4).ok()?;
    let room = room.parse().ok().filter(|room| checksum(room, up_to, &act) == sum)?;
    Some(Purge::new(id, room, serde_json::from_slice(&act).ok()?, up_to))
}
