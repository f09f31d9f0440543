//! The files of a store, and the functions that read a store without opening it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use std::time::Duration;

use crate::support::{StoreDir, append, append_with_key, file_hash, guest, name, room, wait_until};
use chat_core::NewMessage;
use chat_sqlite::{OpenError, Opening, Options, SqliteStore};
use serde_json::value::RawValue;

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

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_one_line_for_each_message() {
    let dir = StoreDir::new();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    let body = "{\"text\": \"hi\",\r\n\"x\":\n{\"type\":\"message\",\"seq\":2,\"user\":\"admin\"}\n}";
    let body = RawValue::from_string(body.to_owned()).expect("JSON");
    lobby.append(NewMessage::new(guest("mallory"), body)).await.expect("appended");
    append(&lobby, "line\u{2028}end").await.expect("appended");
    store.close_blocking();
    let mut lines = Vec::new();
    assert_eq!(SqliteStore::export(dir.path(), &name("lobby"), &mut lines).expect("exported").messages, 2);
    let lines = String::from_utf8(lines).expect("UTF-8");
    let parsed: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("a JSON value")).collect();
    assert_eq!(parsed.len(), 2, "{lines}");
    assert_eq!(
        (&parsed[0]["user"]["name"], &parsed[0]["body"]["x"]["user"]),
        (&"mallory".into(), &"admin".into())
    );
    assert!(!lines.contains(['\r', '\u{2028}', ' ']), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_frees_space_and_keeps_epochs_positions_and_keys() {
    let dir = StoreDir::new();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    for n in 1..=300 {
        append(&lobby, &format!("{n} {}", "x".repeat(3_000))).await.expect("appended");
    }
    append_with_key(&lobby, "k", "last").await.expect("appended");
    let epoch = lobby.bounds().await.expect("bounds").epoch;
    assert!(matches!(SqliteStore::compact(dir.path()), Err(OpenError::InUse(_))));
    store.close_blocking();
    let store = dir.open_with(Options::default().with(|options| {
        options.retain_messages = Some(10);
        options.sweep_interval = Duration::from_millis(10);
    }));
    let lobby = room(&store, "lobby");
    wait_until(async || lobby.bounds().await.expect("bounds").first == 292).await;
    store.close_blocking();
    let before = fs::metadata(dir.file("chat.db")).expect("a file").len();
    let files_before = files(&dir);
    let compacted = SqliteStore::compact(dir.path()).expect("compacted");
    let after = fs::metadata(dir.file("chat.db")).expect("a file").len();
    assert!(after * 4 < before && compacted.bytes_after < compacted.bytes_before, "{before} {after}");
    assert_eq!(files(&dir), files_before, "names and permissions");
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
    let store = dir.open();
    assert_eq!(store.opening(), Opening::Closed);
    let lobby = room(&store, "lobby");
    let bounds = lobby.bounds().await.expect("bounds");
    assert_eq!((bounds.head, bounds.first, bounds.epoch), (301, 292, epoch));
    assert!(append_with_key(&lobby, "k", "last").await.expect("known").duplicate);
    assert_eq!(append(&lobby, "on").await.map(|appended| appended.seq), Ok(302));
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_not_compacted() {
    let dir = StoreDir::new();
    let store = dir.open();
    for _ in 0..50 {
        append(&room(&store, "lobby"), &"x".repeat(1_000)).await.expect("appended");
    }
    store.close_blocking();
    let mut bytes = fs::read(dir.file("chat.db")).expect("a file");
    let text = bytes.windows(500).position(|window| window == [b'x'; 500]).expect("a message");
    let page = text / 4_096 * 4_096;
    bytes[page..page + 4_096].fill(0);
    fs::write(dir.file("chat.db"), &bytes).expect("written");
    let names = files(&dir);
    let error = SqliteStore::compact(dir.path()).expect_err("refused");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(fs::read(dir.file("chat.db")).expect("a file") == bytes && files(&dir) == names);
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
