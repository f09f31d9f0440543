use std::collections::BTreeMap;
use std::env;
use std::process::Command;
use std::time::Duration;

use chat_core::{AppendError, Change, NewChange, Role, Search};
use chat_sqlite::{Durability, SqliteStore};
use tokio::runtime::Runtime;

use super::{reports, spawn};
use crate::support::{StoreDir, draft, guest, name, read_all, room};

#[test]
fn a_process_killed_while_writing_loses_no_message_with_durability_disk() {
    kill_repeatedly(Durability::Disk);
}

#[test]
fn a_process_killed_while_writing_loses_no_message_with_durability_process() {
    kill_repeatedly(Durability::Process);
}

/// Kills writing processes. `CHAT_CRASHES` sets the number of processes.
fn kill_repeatedly(durability: Durability) {
    let crashes = env::var("CHAT_CRASHES").map_or(10, |number| number.parse().expect("a number"));
    let dir = StoreDir::new();
    let mut acknowledged = BTreeMap::new();
    let mut epochs = Vec::new();
    for crash in 0..crashes {
        // Some processes are killed before the first acknowledgement.
        let child = spawn(None, &dir.path(), 32, durability);
        for line in reports(child, 1 + (crash * 37) % 300) {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["sent", seq, key] => {
                    let seq: u64 = seq.parse().expect("a number");
                    let before = acknowledged.insert(seq, key.to_owned());
                    assert_eq!(before, None, "seq {seq} was used twice");
                }
                ["epoch", epoch] => epochs.push(epoch.to_owned()),
                _ => panic!("unexpected report {line:?}"),
            }
        }
    }
    assert!(acknowledged.len() > crashes * 10, "{}", acknowledged.len());
    epochs.dedup();
    assert_eq!(epochs.len(), 1, "the epoch continues");
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    let highest = acknowledged.last_key_value().map_or(0, |(seq, _)| *seq);
    assert!(report.is_sound() && report.messages >= highest, "{report:?} before the store is opened");
    Runtime::new().expect("a runtime").block_on(verify(&dir, &acknowledged, &epochs[0]));
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

async fn verify(dir: &StoreDir, acknowledged: &BTreeMap<u64, String>, epoch: &str) {
    let store = dir.open();
    let lobby = room(&store, "lobby");
    assert_eq!(lobby.bounds().await.expect("bounds").epoch, epoch);
    let mut keys = BTreeMap::new();
    for (seq, stored) in (1..).zip(read_all(&lobby).await) {
        assert_eq!(stored.seq, seq, "no hole");
        let event: serde_json::Value = serde_json::from_slice(&stored.frame).expect("JSON");
        assert_eq!(event["seq"], stored.seq);
        let key = event["key"].as_str().expect("a key").to_owned();
        assert_eq!(event["body"]["text"], key.as_str());
        assert_eq!(keys.insert(key, stored.seq), None, "no message is stored twice");
    }
    for (seq, key) in acknowledged {
        assert_eq!(keys.get(key), Some(seq), "{key} was acknowledged");
    }
    // A client repeats a message that was stored but not acknowledged.
    for (key, seq) in keys.iter().rev().take(100) {
        let again = lobby.append(draft(&guest("ann"), Some(key), key)).await.expect("known");
        assert_eq!((again.seq, again.duplicate), (*seq, true));
        let other = lobby.append(draft(&guest("ann"), Some(key), "other")).await;
        assert_eq!(other, Err(AppendError::KeyConflict));
    }
    store.close_blocking();
}

/// Kills each process a little later, until five of them have created a store.
#[test]
fn a_process_killed_while_creating_a_store_leaves_a_complete_store_or_none() {
    let mut created = 0;
    let mut delay = Duration::ZERO;
    while created < 5 {
        let dir = StoreDir::new();
        let mut child = spawn(None, &dir.path(), 1, Durability::Disk);
        std::thread::sleep(delay);
        child.kill().and_then(|()| child.wait()).expect("killed");
        created += usize::from(dir.file("chat.db").exists());
        dir.open().close_blocking();
        assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound(), "{delay:?}");
        delay += Duration::from_millis(2);
    }
}

/// Kills a migrating process at its first write to the disk, the next one at its second write, and so on until one
/// process finishes.
#[test]
fn a_process_killed_at_any_write_of_a_migration_loses_no_message() {
    let dir = StoreDir::new();
    let runtime = Runtime::new().expect("a runtime");
    let (epoch, messages) = runtime.block_on(async {
        let store = dir.open();
        let lobby = room(&store, "lobby");
        for n in 1..=50 {
            let (key, text) = (format!("k{n}"), format!("word{n}"));
            lobby.append(draft(&guest("ann"), Some(&key), &text)).await.expect("appended");
        }
        let before = (lobby.bounds().await.expect("bounds").epoch, read_all(&lobby).await);
        store.close_blocking();
        before
    });
    for write in 1..1_000 {
        downgrade(&dir);
        let exported = SqliteStore::export(dir.path(), &name("lobby"), &mut Vec::new()).expect("exported");
        assert_eq!(exported.messages, 50, "an earlier version");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e"]);
        strace.arg(format!("inject=pwrite64:signal=SIGKILL:when={write}"));
        let status = spawn(Some(strace), &dir.path(), 0, Durability::Disk).wait().expect("ended");
        assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound(), "after write {write}");
        runtime.block_on(async {
            let store = dir.open();
            let lobby = room(&store, "lobby");
            assert_eq!(lobby.bounds().await.expect("bounds").epoch, epoch, "after write {write}");
            assert_eq!(read_all(&lobby).await, messages, "after write {write}");
            let search = Search::new("word50", 2);
            let found = lobby.search(search).await.expect("found").messages;
            assert_eq!(found, messages[49..], "after write {write}");
            let repeated = lobby.append(draft(&guest("ann"), Some("k50"), "word50")).await;
            assert!(repeated.is_ok_and(|again| again.seq == 50 && again.duplicate), "after write {write}");
            if status.success() {
                let pin =
                    NewChange::new(guest("bob"), 50, Change::Pin { on: true }).with_role(Role::Moderator);
                assert_eq!(lobby.change(pin).await.map(|done| done.seq), Ok(Some(51)));
            }
            store.close_blocking();
        });
        if status.success() {
            assert!(write > 20, "there were only {write} writes");
            return;
        }
    }
    panic!("no process finished the migration");
}

/// Reverts a store to version 1 of its schema.
fn downgrade(dir: &StoreDir) {
    let version_1 = "
        BEGIN;
        DROP VIEW all_messages;
        DROP VIEW all_keys;
        DROP TABLE staged;
        DROP TABLE purges;
        DROP TABLE markers;
        DROP TABLE follows;
        ALTER TABLE rooms DROP COLUMN markers;
        ALTER TABLE store DROP COLUMN guest_follows;
        DROP INDEX threads;
        DROP TABLE pins;
        ALTER TABLE messages DROP COLUMN thread;
        ALTER TABLE messages DROP COLUMN deleted;
        DROP TABLE changes;
        DROP TABLE reactions;
        DROP TABLE rules;
        DROP TABLE standings;
        ALTER TABLE rooms DROP COLUMN governed;
        ALTER TABLE rooms DROP COLUMN changes;
        ALTER TABLE messages DROP COLUMN guest;
        ALTER TABLE messages DROP COLUMN connection;
        ALTER TABLE messages DROP COLUMN edited;
        ALTER TABLE messages DROP COLUMN reacted;
        ALTER TABLE messages DROP COLUMN pinned;
        UPDATE keys SET slot = CAST(substr(slot, 1, length(slot) - 20) || 'k' || (id & 255) AS BLOB);
        ALTER TABLE store DROP COLUMN seen_at;
        ALTER TABLE store DROP COLUMN open_ms;
        ALTER TABLE store DROP COLUMN reserved_seq;
        ALTER TABLE rooms DROP COLUMN empty_ms;
        ALTER TABLE keys DROP COLUMN open_ms;
        CREATE VIRTUAL TABLE search USING fts5 (terms, content = '', contentless_delete = 1, tokenize = 'ascii');
        INSERT INTO search (rowid, terms) SELECT id, 'wor ord' FROM messages;
        PRAGMA user_version = 1;
        COMMIT;";
    dir.database().execute_batch(version_1).expect("executed");
}
