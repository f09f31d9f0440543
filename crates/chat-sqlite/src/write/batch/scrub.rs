use rusqlite::types::Value;
use rusqlite::{ErrorCode, Row, Transaction};

/// Rows on each side of an erased message that are written again.
const ROWS: usize = 64;

/// Bytes of frames on each side above which no further row is written again.
const BYTES: usize = 64 * 1024;

const COLUMNS: &str = "id, at, sum, frame, guest, connection, edited, reacted, pinned, thread, deleted";

/// The values of the columns of a message.
type MessageRow = [Value; 11];

/// Writes the rows around an erased message again.
///
/// `PRAGMA secure_delete` overwrites the row itself. But when SQLite distributes rows among pages, it leaves copies of
/// them in the free space of these pages. Such pages contain the neighbours of the row. Once they are empty, they
/// become free pages, which are overwritten completely.
///
/// The messages are sorted. Those that are close to each other are in one window of rows, which is written once.
pub(super) fn rewrite_neighbours(transaction: &Transaction<'_>, erased: &[i64]) -> rusqlite::Result<()> {
    let mut done = i64::MIN;
    for id in erased {
        if *id > done {
            done = rewrite_around(transaction, *id)?;
        }
    }
    Ok(())
}

/// Returns the last message whose neighbours are among the rows that were written.
fn rewrite_around(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<i64> {
    let before = format!("SELECT {COLUMNS} FROM messages WHERE id <= ?1 ORDER BY id DESC");
    let after = format!("SELECT {COLUMNS} FROM messages WHERE id > ?1 ORDER BY id");
    let rows = read(transaction, &before, id).and_then(|mut rows| {
        rows.reverse();
        let after = read(transaction, &after, id)?;
        // The second half of the rows after the message are its neighbours only.
        let done = if after.len() < ROWS { after.last() } else { after.get(ROWS / 2) };
        let done = done.and_then(|row| match row[0] {
            Value::Integer(id) => Some(id),
            _ => None,
        });
        rows.extend(after);
        Ok((rows, done.unwrap_or(id)))
    });
    let (rows, done) = match rows {
        // A damaged page near the message must not refuse its deletion.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => return Ok(id),
        rows => rows?,
    };
    let ids = |row: Option<&MessageRow>| row.map(|row| row[0].clone());
    let (Some(first), Some(last)) = (ids(rows.first()), ids(rows.last())) else { return Ok(id) };
    transaction.prepare_cached("DELETE FROM messages WHERE id BETWEEN ?1 AND ?2")?.execute((first, last))?;
    let insert =
        format!("INSERT INTO messages ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
    let mut insert = transaction.prepare_cached(&insert)?;
    for row in rows {
        insert.execute(row)?;
    }
    Ok(done)
}

fn read(transaction: &Transaction<'_>, sql: &str, id: i64) -> rusqlite::Result<Vec<MessageRow>> {
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

fn values(row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    let mut values: MessageRow = [const { Value::Null }; 11];
    for (column, value) in values.iter_mut().enumerate() {
        *value = row.get(column)?;
    }
    Ok(values)
}
