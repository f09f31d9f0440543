//! Checks of the numbers of markers and followed rooms, which limit them.

use rusqlite::Connection;

use super::check::Report;
use crate::database::row::GUESTS;

/// Checks the number of markers that a room records.
pub(super) fn check_markers(
    connection: &Connection,
    id: i64,
    name: &str,
    report: &mut Report,
) -> rusqlite::Result<()> {
    let sql = "SELECT (SELECT count(*) FROM markers WHERE room = r.id), markers FROM rooms r WHERE id = ?1";
    let (markers, recorded): (i64, i64) =
        connection.query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if markers != recorded {
        report.problem(|| format!("room {name}: it has {markers} markers, but {recorded} are recorded"));
    }
    Ok(())
}

/// Checks the number of rooms that guests follow, which the store records, and that each marker has a room.
pub(super) fn check_follows(connection: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let sql = "SELECT (SELECT count(*) FROM follows WHERE user >= ?1), guest_follows FROM store";
    let (follows, recorded): (i64, i64) =
        connection.query_row(sql, [GUESTS], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if follows != recorded {
        report.problem(|| format!("guests follow {follows} rooms, but {recorded} are recorded"));
    }
    let sql = "SELECT count(*) FROM markers WHERE room NOT IN (SELECT id FROM rooms)";
    let lost: i64 = connection.query_row(sql, (), |row| row.get(0))?;
    if lost > 0 {
        report.problem(|| format!("{lost} markers have no room"));
    }
    Ok(())
}
