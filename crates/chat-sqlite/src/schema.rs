use rusqlite::{Connection, TransactionBehavior};

/// What a file says in its header to be a chat store: `chat`.
pub(crate) const APPLICATION: u32 = 0x6368_6174;

/// The steps from an empty file to what this version knows; the number of those taken is the schema's version.
const STEPS: [&str; 2] = [V1, V2];

// A message's id is its room and its place there (`Place`), so that a room lies together, in order, and its part
// of the search index is a range.
const V1: &str = "
    CREATE TABLE store (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        identity TEXT NOT NULL,
        epoch TEXT NOT NULL,
        commits INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE rooms (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        head INTEGER NOT NULL,
        first INTEGER NOT NULL,
        keys INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        frame BLOB NOT NULL
    ) STRICT;
    CREATE TABLE keys (
        id INTEGER PRIMARY KEY,
        slot BLOB NOT NULL UNIQUE,
        at INTEGER NOT NULL,
        digest BLOB NOT NULL
    ) STRICT;
    CREATE VIRTUAL TABLE search USING fts5 (terms, content = '', contentless_delete = 1, tokenize = 'ascii');
";

// The index is written later than the messages, many at once: it has a room's messages up to `indexed`. It has no
// positions in it, which are most of its cost; what it was is not read any more, and built anew.
const V2: &str = "
    ALTER TABLE rooms ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
    DROP TABLE search;
    CREATE VIRTUAL TABLE search USING fts5
        (terms, content = '', contentless_delete = 1, tokenize = 'ascii', detail = 'none');
";

/// The version that this code writes.
#[expect(clippy::cast_possible_truncation, reason = "there will never be so many steps")]
pub(crate) const VERSION: u32 = STEPS.len() as u32;

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Never changes.
    pub(crate) store: String,
    /// Changes when positions may have been lost.
    pub(crate) epoch: String,
    /// Transactions so far.
    pub(crate) commits: u64,
}

/// Brings a store to [`VERSION`], each step in a transaction of its own, so that an end in between is no harm.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (done, step) in STEPS.iter().enumerate().skip(version as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", done + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Reads who the store is.
pub(crate) fn identity(connection: &Connection) -> rusqlite::Result<Identity> {
    connection.query_row("SELECT identity, epoch, commits FROM store", (), |row| {
        Ok(Identity { store: row.get(0)?, epoch: row.get(1)?, commits: row.get(2)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_the_first_version_is_built_anew() {
        let mut connection = Connection::open_in_memory().expect("a database");
        let first = "PRAGMA user_version = 1;
            INSERT INTO rooms (name, head, first, keys) VALUES ('lobby', 1, 1, 0);
            INSERT INTO search (rowid, terms) VALUES (1, 'hel ell llo');";
        connection.execute_batch(&format!("{V1}{first}")).expect("as it was");
        migrate(&mut connection).expect("a schema");
        let read = "SELECT head, indexed, (SELECT count(*) FROM search_docsize) FROM rooms";
        let row = connection.query_row(read, (), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        assert_eq!(row, Ok((1, 0, 0)));
    }
}
