//! The files of a store, and the functions that read a store without opening it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{StoreDir, append, file_hash, name, room};
use chat_sqlite::SqliteStore;

/// The names and permissions of the files in a store's directory.
fn files(dir: &StoreDir) -> BTreeMap<String, u32> {
    let entries = fs::read_dir(dir.path()).expect("a directory");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("there").permissions().mode() & 0o777;
            (entry.file_name().into_string().expect("UTF-8"), mode)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_are_accessible_to_the_owner_only() {
    let dir = StoreDir::new();
    let store = dir.open();
    append(&room(&store, "lobby"), "between us").await.expect("appended");
    let mode = fs::metadata(dir.path()).expect("a directory").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    let files = files(&dir);
    for made in ["chat.db", "chat.db-wal", "chat.db-shm", "chat.mark", "chat.lock"] {
        assert_eq!(files.get(made), Some(&0o600), "{made}");
    }
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_directory_keeps_its_permissions() {
    let dir = StoreDir::new();
    fs::create_dir(dir.path()).expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).expect("set");
    dir.open().close_blocking();
    assert_eq!(fs::metadata(dir.path()).expect("a directory").permissions().mode() & 0o777, 0o750);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_a_closed_store_changes_no_file() {
    let dir = StoreDir::new();
    let store = dir.open();
    append(&room(&store, "lobby"), "hi").await.expect("appended");
    store.close_blocking();
    let (before, database) = (files(&dir), file_hash(&dir.file("chat.db")));
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
    assert_eq!(SqliteStore::rooms(dir.path()).expect("rooms"), [name("lobby")]);
    assert_eq!(SqliteStore::export(dir.path(), &name("lobby"), Vec::new()).expect("exported").messages, 1);
    assert_eq!((files(&dir), file_hash(&dir.file("chat.db"))), (before, database));
}

#[test]
fn reading_a_missing_store_names_the_missing_file() {
    let dir = StoreDir::new();
    let error = SqliteStore::check(dir.path(), |_| ()).expect_err("none").to_string();
    let path = dir.file("chat.db");
    assert!(error.contains(&format!("{}: No such file", path.display())), "{error}");
    assert!(!dir.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_reports_impossible_numbers() {
    let dir = StoreDir::new();
    let store = dir.open();
    append(&room(&store, "lobby"), "hi").await.expect("appended");
    store.close_blocking();
    for change in ["first = 0, head = 0", "head = 9223372036854775807", "first = -1", "keys = -1"] {
        let sql = format!(
            "DELETE FROM messages; UPDATE rooms SET first = 1, head = 1, keys = 0; UPDATE rooms SET {change}"
        );
        dir.database().execute_batch(&sql).expect("executed");
        assert!(!SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound(), "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_a_crashed_store_keeps_its_write_ahead_log() {
    let dir = StoreDir::new();
    let store = dir.open();
    append(&room(&store, "lobby"), "hi").await.expect("appended");
    let copies = ["chat.db", "chat.db-wal"].map(|name| (name, fs::read(dir.file(name)).expect("a file")));
    store.close_blocking();
    for (name, bytes) in &copies {
        fs::write(dir.file(name), bytes).expect("written");
    }
    assert_eq!(SqliteStore::export(dir.path(), &name("lobby"), Vec::new()).expect("exported").messages, 1);
    for (name, bytes) in &copies {
        assert!(&fs::read(dir.file(name)).expect("a file") == bytes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_can_be_opened_and_closed_during_an_export() {
    let dir = StoreDir::new();
    let store = dir.open();
    for _ in 0..3 {
        append(&room(&store, "lobby"), "hi").await.expect("appended");
    }
    store.close_blocking();
    let mut opened = None;
    let writes = std::io::LineWriter::new(CallOnWrite(|| {
        // In the middle of the export.
        opened.get_or_insert_with(|| dir.open());
    }));
    let exported = SqliteStore::export(dir.path(), &name("lobby"), writes).expect("exported");
    assert_eq!(exported.messages, 3);
    let store = opened.expect("the export wrote");
    assert_eq!(append(&room(&store, "lobby"), "on").await.map(|appended| appended.seq), Ok(4));
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

/// A writer that calls a function at each write.
struct CallOnWrite<F>(F);

impl<F: FnMut()> std::io::Write for CallOnWrite<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.0)();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
