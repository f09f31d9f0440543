use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::row::hashed_slot;

/// The `application_id` in the header of a database that is a chat store: `chat` in ASCII.
pub(crate) const APPLICATION_ID: u32 = 0x6368_6174;

/// The migrations from an empty database. The version of a schema is the number of its migrations.
const MIGRATIONS: [&str; 10] = [V1, V2, V3, V4, V5, V6, V7, V8, V10, V11];

// A message's id combines the number of its room and its `seq` (`row::message_id`). So a room is one range of ids, in
// order, in `messages` and in `search`.
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

// The index is written after the messages, many at a time: it contains a room's messages up to `indexed`. It stores no
// positions (`detail = 'none'`), because they are most of its cost. The old index is dropped and built again.
const V2: &str = "
    ALTER TABLE rooms ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
    DROP TABLE search;
    CREATE VIRTUAL TABLE search USING fts5
        (terms, content = '', contentless_delete = 1, tokenize = 'ascii', detail = 'none');
";

// `seen_at` is the time of the store (`write::clock`), `open_ms` the time for which it has been open. Ages are computed
// from them. `empty_ms` is `open_ms` at the time since when a room has been empty, or 0. `reserved_seq` is the highest
// `seq` of all deleted rooms: a room that is created again begins above it.
const V3: &str = "
    ALTER TABLE store ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE store ADD COLUMN open_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE store ADD COLUMN reserved_seq INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE rooms ADD COLUMN empty_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE keys ADD COLUMN open_ms INTEGER NOT NULL DEFAULT 0;
    UPDATE store SET seen_at = coalesce((SELECT max(
        (SELECT at FROM messages WHERE id BETWEEN r.id << 36 AND (r.id << 36) + 68719476735 ORDER BY id DESC LIMIT 1)
    ) FROM rooms r), 0);
";

// The search index is in a database of its own: see `search::database`.
const V4: &str = "
    DROP TABLE search;
    ALTER TABLE rooms DROP COLUMN indexed;
";

// `messages.frame` is the present form of a message, folded. `edited`, `reacted` and `pinned` are the `seq`s of its newest
// changes of these kinds. `guest` and `connection` are those of the author: `guest` is NULL for a message of an earlier
// version. A change is an entry of its own, without the state of the message; `target` is the id of the message.
// `rooms.changes` is the number of a room's changes. `reactions.nth` orders the reactions of one entry.
const V5: &str = "
    ALTER TABLE rooms ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE messages ADD COLUMN guest INTEGER;
    ALTER TABLE messages ADD COLUMN connection INTEGER;
    ALTER TABLE messages ADD COLUMN edited INTEGER;
    ALTER TABLE messages ADD COLUMN reacted INTEGER;
    ALTER TABLE messages ADD COLUMN pinned INTEGER;
    CREATE TABLE changes (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        target INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        entry BLOB NOT NULL
    ) STRICT;
    CREATE TABLE reactions (
        message INTEGER NOT NULL,
        reaction TEXT NOT NULL,
        user BLOB NOT NULL,
        seq INTEGER NOT NULL,
        nth INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (message, reaction, user)
    ) STRICT, WITHOUT ROWID;
";

// `thread` is the id of the message with which the thread of a message begins. `deleted` is the `seq` of the deletion; it
// is NULL for a message that an earlier version has deleted. `pins` has the pinned messages. The changes name those that
// may be pinned, because a scan of all messages would take long.
const V6: &str = "
    ALTER TABLE messages ADD COLUMN thread INTEGER;
    ALTER TABLE messages ADD COLUMN deleted INTEGER;
    CREATE INDEX threads ON messages (thread) WHERE thread IS NOT NULL;
    CREATE TABLE pins (message INTEGER PRIMARY KEY) STRICT;
    INSERT INTO pins SELECT id FROM (SELECT id, CAST(frame AS TEXT) AS frame FROM messages
            WHERE id IN (SELECT target FROM changes WHERE kind = 4))
        WHERE CASE WHEN json_valid(frame) THEN json_extract(frame, '$.pinned') END;
";

// An act is a row of `changes` with the kind 5 and the target 0, whose `entry` is its event. `rooms.governed` is 1 from
// the first act of a room on. `rules` has the rules of a room that was created, `standings` the roles and restrictions of
// users, by their ids. Both stay when retention deletes the acts.
const V7: &str = "
    ALTER TABLE rooms ADD COLUMN governed INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE rules (
        room INTEGER PRIMARY KEY,
        sum INTEGER NOT NULL,
        rules TEXT NOT NULL
    ) STRICT;
    CREATE TABLE standings (
        room INTEGER NOT NULL,
        user TEXT NOT NULL,
        owner INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        standing TEXT NOT NULL,
        PRIMARY KEY (room, user)
    ) STRICT, WITHOUT ROWID;
";

// A marker is of the present epoch of the store. `user` is the column of `reactions`. `rooms.markers` is the number of a
// room's markers, `store.guest_follows` that of the rooms that guests follow. A followed room may have no row.
const V8: &str = "
    ALTER TABLE rooms ADD COLUMN markers INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE store ADD COLUMN guest_follows INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE markers (
        room INTEGER NOT NULL,
        user BLOB NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (room, user)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE follows (
        user BLOB NOT NULL,
        room TEXT NOT NULL,
        PRIMARY KEY (user, room)
    ) STRICT, WITHOUT ROWID;
";

// A purge is a row of `changes` with the kind 6 and the target 0, whose `entry` is its event. `purges` has those that are
// not complete; `up_to` is the head of the room at the beginning, and `act` the act as JSON.
const V10: &str = "
    CREATE TABLE purges (
        id INTEGER PRIMARY KEY,
        room TEXT NOT NULL,
        up_to INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        act BLOB NOT NULL
    ) STRICT;
";

// `staged` has messages in the order of their arrival that are not in `messages` yet, with their keys: `write::staging`
// says why. A message with a change, a thread or a link is never staged. The views have all messages and keys.
const V11: &str = "
    CREATE TABLE staged (
        nth INTEGER PRIMARY KEY,
        id INTEGER NOT NULL,
        at INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        frame BLOB NOT NULL,
        guest INTEGER,
        connection INTEGER,
        slot BLOB,
        open_ms INTEGER,
        digest BLOB
    ) STRICT;
    CREATE VIEW all_messages AS
        SELECT id, at, sum, frame, guest, thread FROM messages
        UNION ALL SELECT id, at, sum, frame, guest, CAST(NULL AS INTEGER) FROM staged;
    CREATE VIEW all_keys AS
        SELECT id, slot, at, open_ms, digest FROM keys
        UNION ALL SELECT id, slot, at, open_ms, digest FROM staged WHERE slot IS NOT NULL;
";

/// The number of migrations after which `keys.slot` has a digest in place of the text of a key.
const KEYS_ARE_HASHED: usize = 5;

/// The schema version that this crate writes.
#[expect(clippy::cast_possible_truncation, reason = "there are few migrations")]
pub(crate) const VERSION: u32 = MIGRATIONS.len() as u32;

/// Brings a database to [`VERSION`]. Each migration is one transaction, so a crash between two of them does no harm.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (done, migration) in MIGRATIONS.iter().enumerate().skip(version as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        if done + 1 == KEYS_ARE_HASHED {
            hash_keys(&transaction)?;
        }
        transaction.pragma_update(None, "user_version", done + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Replaces the texts of keys by their digests. The text of a client may repeat its message.
fn hash_keys(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut ids = transaction.prepare("SELECT id FROM keys")?;
    let ids = ids.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    for id in ids {
        let slot: Vec<u8> = transaction
            .prepare_cached("SELECT slot FROM keys WHERE id = ?1")?
            .query_row([id], |row| row.get(0))?;
        transaction
            .prepare_cached("UPDATE keys SET slot = ?2 WHERE id = ?1")?
            .execute((id, hashed_slot(&slot)))?;
    }
    Ok(())
}

/// Returns the statements that make a database of an earlier version.
#[cfg(test)]
pub(crate) fn schema_of_version(version: usize) -> String {
    format!("{} PRAGMA user_version = {version};", MIGRATIONS[..version].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_keep_rooms_and_find_the_newest_time() {
        let mut connection = Connection::open_in_memory().expect("a database");
        let first = "PRAGMA user_version = 1;
            INSERT INTO store (one, identity, epoch, commits) VALUES (1, 'a', 'b', 3);
            INSERT INTO rooms (name, head, first, keys) VALUES ('lobby', 1, 1, 0), ('hall', 2, 1, 0);
            INSERT INTO messages (id, at, sum, frame) VALUES
                (68719476737, 7, 0, x''), (137438953473, 8, 0, x''), (137438953474, 9, 0, x'');
            INSERT INTO search (rowid, terms) VALUES (1, 'hel ell llo');";
        connection.execute_batch(&format!("{V1}{first}")).expect("a database of version 1");
        migrate(&mut connection).expect("a schema");
        let read = "SELECT (SELECT sum(head) FROM rooms), seen_at, open_ms,
            (SELECT count(*) FROM sqlite_schema WHERE name LIKE 'search%') FROM store";
        let row =
            connection.query_row(read, (), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        assert_eq!(row, Ok((3, 9, 0, 0)));
    }
}
