mod purges;

use std::sync::Arc;
use std::time::Duration;

use chat_core::{Act, NewAct, NewMessage, RawValue, Role, User};
use rusqlite::Connection;

use super::*;
use crate::database::row::{key_slot, slot_owner};
use crate::database::{Purge, StuckRooms, migrate, schema_of_version};
use crate::write::key_counts::KeyCounts;
use crate::write::retention::{RetentionPolicy, RetentionSweep, SweepStep};

const DAY: u64 = 24 * 60 * 60 * 1_000;

fn prepare(connection: &mut Connection) {
    migrate(connection).expect("a schema");
    let sql =
        "INSERT INTO store (one, identity, epoch, commits) VALUES (1, 'a', 'b', 0) ON CONFLICT DO NOTHING";
    connection.execute(sql, ()).expect("inserted");
}

/// Appends a message for each key in one batch.
fn append(connection: &mut Connection, now: Now, keys: &[&str], max_keys: u64) -> Vec<Position> {
    let transaction = connection.transaction().expect("a transaction");
    let mut key_counts = KeyCounts::default();
    let limits =
        BatchLimits { max_keys, max_markers: 2, max_guest_follows: 2, is_full: false, is_repeat: false };
    let mut batch = AppendBatch::new(&transaction, now, limits, &mut key_counts);
    let mut append = |key: &str| {
        let key = IdempotencyKey { key: key.to_owned(), digest: [0; 20], window: DAY };
        let body = RawValue::from_string("{}".to_owned()).expect("JSON");
        let message = NewMessage::new(User::guest("ann").expect("a name"), body).with_key(key.key.clone());
        let room = "lobby".parse().expect("a room name");
        let message = PreparedMessage { room, message, key: Some(key) };
        match batch.append(&message).expect("no error") {
            Outcome::Stored(receipt, stored) => {
                let frame: serde_json::Value = serde_json::from_slice(&stored.frame).expect("JSON");
                assert_eq!(frame["at"], receipt.at);
                receipt
            }
            Outcome::Known(receipt) => receipt,
            Outcome::Changed(_) | Outcome::Purging { .. } => panic!("not a message"),
            Outcome::Refused(error) => panic!("{error}"),
        }
    };
    let receipts = keys.iter().map(|key| append(key)).collect();
    batch.finish().expect("no error");
    transaction.commit().expect("committed");
    receipts
}

/// Appends one message. Returns its `seq`, and `true` for a duplicate.
fn append_one(connection: &mut Connection, now: Now, key: &str, max_keys: u64) -> (u64, bool) {
    let receipt = append(connection, now, &[key], max_keys)[0];
    (receipt.seq.expect("a position"), receipt.duplicate)
}

/// The time `clock` of the system clock, `open_ms` after the store was created at `start`.
fn now(clock: u64, start: u64, open_ms: u64) -> Now {
    let store = start + open_ms;
    Now { at: clock, safe: clock.min(store), store, open_ms, is_plausible: true }
}

/// Appends messages at `clock`, the time of the system clock. Returns the times of the messages.
fn times(connection: &mut Connection, clock: u64, keys: &[&str]) -> Vec<u64> {
    append(connection, now(clock, clock, 0), keys, 9).iter().map(|receipt| receipt.at).collect()
}

fn sweep(connection: &mut Connection, now: Now) -> usize {
    let policy =
        RetentionPolicy { age: Some(Duration::from_millis(DAY)), messages: None, key_window: Some(DAY) };
    let transaction = connection.transaction().expect("a transaction");
    let step = {
        let mut key_counts = KeyCounts::default();
        RetentionSweep::default()
            .step(&transaction, policy, now, &mut key_counts, &StuckRooms::default(), |_| true)
            .expect("no error")
    };
    let SweepStep { deleted_rows, is_last } = step;
    assert!(is_last);
    transaction.commit().expect("committed");
    deleted_rows
}

#[test]
fn the_time_of_a_room_never_runs_backwards() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = || Connection::open(dir.path().join("chat.db")).expect("a database");
    let mut connection = open();
    prepare(&mut connection);
    assert_eq!(times(&mut connection, 2_000, &["a", "b"]), [2_000, 2_000]);
    assert_eq!(times(&mut connection, 1_000, &["c", "d"]), [2_000, 2_000], "the clock was set back");
    drop(connection);
    let mut connection = open();
    assert_eq!(times(&mut connection, 500, &["e"]), [2_000], "the clock was set back during a restart");
    assert_eq!(times(&mut connection, 2_001, &["f", "g"]), [2_001, 2_001]);
    assert_eq!(times(&mut connection, 3_000, &["c", "e", "f"]), [2_000, 2_000, 2_001], "duplicates");
    let stored = "SELECT count(*) FROM messages JOIN keys USING (id, at) WHERE at = 2000";
    assert_eq!(connection.query_row(stored, (), |row| row.get(0)), Ok(5));
}

#[test]
fn a_damaged_time_is_not_the_time_of_later_messages() {
    let mut connection = Connection::open_in_memory().expect("a database");
    prepare(&mut connection);
    assert_eq!(times(&mut connection, 2_000, &["a"]), [2_000]);
    assert_eq!(times(&mut connection, 3_000, &["b"]), [3_000]);
    connection.execute("UPDATE messages SET at = at + (1 << 40)", ()).expect("updated");
    assert_eq!(times(&mut connection, 1_000, &["c"]), [3_000], "the column is not used");
    connection.execute("UPDATE messages SET sum = sum + 1 WHERE id & 15 > 1", ()).expect("updated");
    assert_eq!(times(&mut connection, 1_000, &["d"]), [2_000], "the newest readable message counts");
    connection.execute("DELETE FROM messages", ()).expect("deleted");
    assert_eq!(times(&mut connection, 1_000, &["e"]), [1_000], "no message is left");
}

#[test]
fn a_clock_jump_expires_no_message_or_key_early() {
    let mut connection = Connection::open_in_memory().expect("a database");
    prepare(&mut connection);
    let start = 100 * DAY;
    let jumps = |at, passed| now(at, start, passed);
    assert_eq!(append_one(&mut connection, jumps(start, 0), "a", 9), (1, false));
    for (n, at) in (2..).zip([start + 50 * DAY, start - 50 * DAY, 0]) {
        let now = jumps(at, DAY - 1);
        assert_eq!(append_one(&mut connection, now, "a", 9), (1, true), "{at}");
        assert_eq!(append_one(&mut connection, now, &n.to_string(), 9), (n, false), "{at}");
        assert_eq!(append_one(&mut connection, now, &n.to_string(), 9), (n, true), "{at}");
        assert_eq!(sweep(&mut connection, now), 0, "{at}");
    }
    let later = jumps(start + DAY, DAY);
    assert_eq!(sweep(&mut connection, later), 2, "the first message and its key; the next ones seem younger");
    assert_eq!(append_one(&mut connection, later, "a", 9), (5, false));
}

#[test]
fn a_step_of_retention_deletes_a_limited_number_of_reactions() {
    let mut connection = Connection::open_in_memory().expect("a database");
    prepare(&mut connection);
    for key in ["a", "b"] {
        append_one(&mut connection, now(0, 0, 0), key, 9);
    }
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO reactions (message, reaction, user, seq, nth, name)
        SELECT (SELECT min(id) FROM messages) + i % 2, '+1', CAST(i AS BLOB), 1, i, 'Ann' FROM n";
    connection.execute(sql, ()).expect("inserted");
    let policy = RetentionPolicy { age: None, messages: Some(1), key_window: None };
    let left = "SELECT count(*) FROM reactions";
    let (mut sweep, mut steps, mut before) = (RetentionSweep::default(), 0, 2_000_u64);
    loop {
        let transaction = connection.transaction().expect("a transaction");
        let mut key_counts = KeyCounts::default();
        let step =
            sweep
                .step(&transaction, policy, now(0, 0, 0), &mut key_counts, &StuckRooms::default(), |_| false);
        let step = step.expect("no error");
        transaction.commit().expect("committed");
        let count: u64 = connection.query_row(left, (), |row| row.get(0)).expect("a number");
        assert!(before - count <= 256, "{} reactions in one step", before - count);
        (steps, before) = (steps + 1, count);
        if step.is_last {
            break;
        }
    }
    assert_eq!((steps, before), (4, 1_000), "those of the newest message stay");
}

#[test]
fn a_key_of_an_earlier_version_is_still_a_duplicate_after_the_migration() {
    let mut connection = Connection::open_in_memory().expect("a database");
    connection.execute_batch(&schema_of_version(4)).expect("a database of version 4");
    let (room, user): (RoomName, _) = ("lobby".parse().expect("a name"), User::guest("ann").expect("a name"));
    let body = RawValue::from_string("{}".to_owned()).expect("JSON");
    let stored = NewMessage::new(user.clone(), body).with_key("k".to_owned()).into_stored(room.clone(), 1, 7);
    let id = message_id(1, 1);
    let sql = "INSERT INTO rooms (name, head, first, keys) VALUES ('lobby', 1, 1, 1)";
    connection.execute(sql, ()).expect("inserted");
    let row = (id, 7, checksum(&room, 1, &stored.frame), &*stored.frame);
    connection
        .execute("INSERT INTO messages (id, at, sum, frame) VALUES (?1, ?2, ?3, ?4)", row)
        .expect("inserted");
    // Before version 5, a slot ended with the text of its key.
    let slot = [slot_owner(&key_slot(1, &user.key(), "k")), b"k"].concat();
    connection
        .execute("INSERT INTO keys (id, slot, at, digest) VALUES (?1, ?2, 7, ?3)", (id, slot, [0_u8; 20]))
        .expect("inserted");
    prepare(&mut connection);
    assert_eq!(append_one(&mut connection, now(9, 9, 0), "k", 9), (1, true));
    assert_eq!(append_one(&mut connection, now(9, 9, 0), "kk", 9), (2, false));
}

/// Commits what `work` does in one batch.
fn batch<T>(connection: &mut Connection, work: impl FnOnce(&mut AppendBatch<'_>) -> T) -> T {
    let transaction = connection.transaction().expect("a transaction");
    let mut key_counts = KeyCounts::default();
    let limits =
        BatchLimits { max_keys: 9, max_markers: 2, max_guest_follows: 2, is_full: false, is_repeat: false };
    let mut batch = AppendBatch::new(&transaction, now(1, 0, 0), limits, &mut key_counts);
    let result = work(&mut batch);
    batch.finish().expect("no error");
    transaction.commit().expect("committed");
    result
}

fn prepared_act(by: &str, act: Act, is_host: bool) -> PreparedAct {
    let by = NewAct::new(User::new(by, by).expect("a user"), act);
    let act = if is_host { by.by_host() } else { by };
    PreparedAct { room: "lobby".parse().expect("a name"), act, limits: Arc::default() }
}

/// A right holds at the place of each entry, also of a purge with several entries.
#[test]
fn a_purge_stops_when_its_user_loses_the_right() {
    let mut connection = Connection::open_in_memory().expect("a database");
    prepare(&mut connection);
    let owner = |role| Act::Role { user: User::new("boss", "boss").expect("a user"), role };
    batch(&mut connection, |batch| batch.govern(&prepared_act("ops", owner(Role::Owner), true)))
        .expect("a role");
    for _ in 0..70 {
        batch(&mut connection, |batch| {
            let body = RawValue::from_string("{}".to_owned()).expect("JSON");
            let message = NewMessage::new(User::new("eve", "eve").expect("a user"), body);
            batch.append(&PreparedMessage { room: "lobby".parse().expect("a name"), message, key: None })
        })
        .expect("appended");
    }
    let act = prepared_act("boss", Act::Purge { user: User::new("eve", "eve").expect("a user") }, false);
    let begun = batch(&mut connection, |batch| batch.begin_purge(&act)).expect("begun");
    assert_eq!(begun, Outcome::Purging { id: 1, up_to: 71 });
    let mut purge = Purge::read_all(&connection).expect("purges").pop().expect("a purge");
    assert!(matches!(batch(&mut connection, |batch| batch.purge(&mut purge, 9)), Ok(Ok(false))));
    assert_eq!((purge.newest, purge.deleted), (Some(72), 64));
    batch(&mut connection, |batch| batch.govern(&prepared_act("ops", owner(Role::None), true)))
        .expect("a role");
    let stopped = batch(&mut connection, |batch| batch.purge(&mut purge, 9)).expect("no error");
    assert_eq!(stopped, Err(ChangeError::Forbidden));
    assert!(Purge::read_all(&connection).expect("purges").is_empty());
}
