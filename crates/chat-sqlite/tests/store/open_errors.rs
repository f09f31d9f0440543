//! Directories that cannot be opened. The error is one line, and the files do not change.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::disk::Disk;
use crate::support::{StoreDir, append, append_all, file_hash, read_all, room, set_file_length};
use chat_sqlite::{OpenError, Options, SqliteStore};
use rusqlite::Connection;

/// Creates a store of 60 messages and closes it.
async fn closed_store(dir: &StoreDir) {
    let store = dir.open();
    let lobby = room(&store, "lobby");
    append_all(&lobby, (0..60).map(|n| format!("{n} {}", "x".repeat(500)))).await;
    store.close_blocking();
}

/// Fails to open a store and checks that no file has changed. Returns the error.
fn open_error(dir: &StoreDir) -> OpenError {
    let files = || ["chat.db", "chat.db-wal", "chat.mark"].map(|name| file_hash(&dir.file(name)));
    let before = files();
    let error = SqliteStore::open(dir.path(), Options::default()).expect_err("refused");
    assert_eq!(files(), before, "{error}");
    let line = error.to_string();
    assert!(!line.contains('\n') && line.contains(dir.path().to_str().expect("UTF-8")), "{line}");
    error
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = fs::File::options().write(true).open(path).expect("a file");
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes)).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_is_not_a_store() {
    for garbage in [&b""[..], b"SQLite format 3\0", &[0; 8192], &[0xa5; 8192]] {
        let dir = StoreDir::new();
        closed_store(&dir).await;
        fs::write(dir.file("chat.db"), garbage).expect("written");
        let error = open_error(&dir);
        assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_program_is_not_a_store() {
    let dir = StoreDir::new();
    fs::create_dir(dir.path()).expect("a directory");
    dir.database().execute_batch("CREATE TABLE other (a); INSERT INTO other VALUES (1)").expect("written");
    assert!(open_error(&dir).to_string().contains("another program"));
    let copy = Connection::open(dir.file("chat.db")).expect("unchanged");
    assert_eq!(copy.query_row("SELECT a FROM other", (), |row| row.get(0)), Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_database_is_damaged() {
    let dir = StoreDir::new();
    closed_store(&dir).await;
    let whole = fs::read(dir.file("chat.db")).expect("a file");
    for length in [150, 4_096, whole.len() / 2, whole.len() - 4_096, whole.len() - 1] {
        fs::write(dir.file("chat.db"), &whole).expect("written");
        set_file_length(&dir.file("chat.db"), length as u64);
        let error = open_error(&dir);
        assert!(matches!(error, OpenError::Damaged { .. }), "{length}: {error}");
    }
    fs::write(dir.file("chat.db"), &whole).expect("written");
    let store = dir.open();
    assert_eq!(read_all(&room(&store, "lobby")).await.len(), 60, "the restored copy has all messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_a_zeroed_page_is_damaged() {
    let dir = StoreDir::new();
    closed_store(&dir).await;
    let whole = fs::read(dir.file("chat.db")).expect("a file");
    // Free pages contain no data.
    let used: Vec<u64> = {
        let database = dir.database();
        let mut pages = database.prepare("SELECT pageno FROM dbstat WHERE pageno > 1").expect("a statement");
        let pages = pages.query_map((), |row| row.get(0)).expect("pages");
        pages.collect::<Result<_, _>>().expect("numbers")
    };
    for page in used {
        fs::write(dir.file("chat.db"), &whole).expect("written");
        overwrite(&dir.file("chat.db"), (page - 1) * 4_096, &[0; 4_096]);
        let error = open_error(&dir);
        assert!(matches!(error, OpenError::Damaged { .. }), "{page}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_also_if_it_is_in_the_write_ahead_log_only() {
    let dir = StoreDir::new();
    closed_store(&dir).await;
    dir.database().execute_batch("PRAGMA user_version = 99").expect("written");
    assert!(matches!(open_error(&dir), OpenError::Newer { found: 99, .. }));

    let dir = StoreDir::new();
    closed_store(&dir).await;
    let newer = dir.database();
    newer.execute_batch("PRAGMA user_version = 99").expect("written");
    // Restores the files that the newer version cleans up, as if it had been killed.
    let (database, wal) =
        (fs::read(dir.file("chat.db")).expect("a file"), fs::read(dir.file("chat.db-wal")).expect("a file"));
    drop(newer);
    fs::write(dir.file("chat.db"), database).expect("written");
    fs::write(dir.file("chat.db-wal"), wal).expect("written");
    assert!(matches!(open_error(&dir), OpenError::Newer { found: 99, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_missing_database_is_not_created_again() {
    let dir = StoreDir::new();
    closed_store(&dir).await;
    fs::remove_file(dir.file("chat.db")).expect("removed");
    let error = open_error(&dir);
    assert!(
        matches!(&error, OpenError::Missing { .. }) && error.to_string().contains("chat.mark"),
        "{error}"
    );
    assert!(!dir.file("chat.db").exists());
    fs::remove_file(dir.file("chat.mark")).expect("removed");
    fs::write(dir.file("chat.db-wal"), "x").expect("written");
    assert!(open_error(&dir).to_string().contains("chat.db-wal"));
    fs::remove_file(dir.file("chat.db-wal")).expect("removed");
    assert_eq!(read_all(&room(&dir.open(), "lobby")).await, [], "an empty store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_refused_and_the_error_names_its_lock() {
    let dir = StoreDir::new();
    let store = dir.open();
    let error = SqliteStore::open(dir.path(), Options::default()).expect_err("refused");
    assert!(error.to_string().contains("chat.lock"), "{error}");
    append(&room(&store, "lobby"), "still works").await.expect("appended");
    store.close_blocking();
    dir.open().close_blocking();
}

#[test]
fn an_error_names_the_directory_that_cannot_be_created() {
    let dir = StoreDir::new();
    let error = SqliteStore::open(dir.path().join("deep"), Options::default()).expect_err("refused");
    assert!(matches!(error, OpenError::Io { .. }) && error.to_string().contains("deep"), "{error}");

    fs::write(dir.path(), "a file").expect("written");
    let error = SqliteStore::open(dir.path(), Options::default()).expect_err("refused");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_user_or_writable_by_others_is_refused() {
    for mode in [0o777, 0o770, 0o702] {
        let dir = StoreDir::new();
        closed_store(&dir).await;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("set");
        let error = open_error(&dir);
        assert!(matches!(error, OpenError::Insecure { .. }), "{mode:o}: {error}");
        assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
        assert!(matches!(SqliteStore::compact(dir.path()), Err(OpenError::Insecure { .. })), "{mode:o}");
    }
    let dir = StoreDir::new();
    closed_store(&dir).await;
    std::os::unix::fs::chown(dir.path(), Some(12_345), None).expect("changed");
    let error = open_error(&dir);
    assert!(error.to_string().contains("belongs to user 12345"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbolic_link_in_place_of_a_file_is_refused_and_not_followed() {
    for name in ["chat.mark", "chat.lock", "chat.db", "chat.db-wal", "chat.search", "chat.erasures"] {
        let dir = StoreDir::new();
        closed_store(&dir).await;
        let victim = dir.path().with_extension("victim");
        fs::write(&victim, "precious").expect("written");
        let _missing = fs::remove_file(dir.file(name));
        std::os::unix::fs::symlink(&victim, dir.file(name)).expect("linked");
        let error = SqliteStore::open(dir.path(), Options::default()).expect_err("refused");
        assert!(matches!(error, OpenError::Insecure { .. }), "{name}: {error}");
        assert_eq!(fs::read_to_string(&victim).expect("a file"), "precious", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_is_refused_with_one_line() {
    let dir = StoreDir::new();
    let disk = Disk::mount(&dir.path(), "4m");
    let inner = disk.path().join("store");
    let store = SqliteStore::open(&inner, Options::default()).expect("a store");
    append(&room(&store, "lobby"), "hi").await.expect("appended");
    store.close_blocking();
    let before = file_hash(&inner.join("chat.db"));
    disk.remount("ro");
    let error = SqliteStore::open(&inner, Options::default()).expect_err("refused").to_string();
    assert!(error.contains("Read-only") && !error.contains('\n'), "{error}");
    let error =
        SqliteStore::open(disk.path().join("new"), Options::default()).expect_err("refused").to_string();
    assert!(error.contains("Read-only") && !error.contains('\n'), "{error}");
    assert_eq!(file_hash(&inner.join("chat.db")), before);
}
