use rusqlite::types::Value;
use rusqlite::{ErrorCode, Row, Transaction};

/// Rows on each side of an erased message that are written again.
const ROWS: usize = 64;

/// Bytes of frames on each side above which no further row is written again.
const BYTES: usize = 64 * 1024;

const COLUMNS: &str = "id, at, sum, frame, guest, connection, edited, reacted, pinned";

/// Writes the rows around an erased message again.
///
/// `PRAGMA secure_delete` overwrites the row itself. But when SQLite distributes rows among pages, it leaves copies of
/// them in the free space of these pages. Such pages contain the neighbours of the row. Once they are empty, they
/// become free pages, which are overwritten completely.
pub(super) fn rewrite_neighbours(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    let before = format!("SELECT {COLUMNS} FROM messages WHERE id <= ?1 ORDER BY id DESC");
    let after = format!("SELECT {COLUMNS} FROM messages WHERE id > ?1 ORDER BY id");
    let rows = read(transaction, &before, id).and_then(|mut rows| {
        rows.reverse();
        rows.extend(read(transaction, &after, id)?);
        Ok(rows)
    });
    let rows = match rows {
        // A damaged page near the message must not refuse its deletion.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => return Ok(()),
        rows => rows?,
    };
    let ids = |row: Option<&[Value; 9]>| row.map(|row| row[0].clone());
    let (Some(first), Some(last)) = (ids(rows.first()), ids(rows.last())) else { return Ok(()) };
    transaction.prepare_cached("DELETE FROM messages WHERE id BETWEEN ?1 AND ?2")?.execute((first, last))?;
    let insert = format!("INSERT INTO messages ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    let mut insert = transaction.prepare_cached(&insert)?;
    for row in rows {
        insert.execute(row)?;
    }
    Ok(())
}

fn read(transaction: &Transaction<'_>, sql: &str, id: i64) -> rusqlite::Result<Vec<[Value; 9]>> {
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while found.len() < ROWS
        && bytes < BYTES
        && let Some(row) = rows.next()?
    {
        bytes += row.get_ref(3)?.as_blob().map_or(0, <[u8]>::len);
        found.push(values(row)?);
    }
    Ok(found)
}

fn values(row: &Row<'_>) -> rusqlite::Result<[Value; 9]> {
    let mut values = [const { Value::Null }; 9];
    for (column, value) in values.iter_mut().enumerate() {
        *value = row.get(column)?;
    }
    Ok(values)
}
