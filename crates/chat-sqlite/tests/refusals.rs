//! What is no store, or not ours to use, is refused in one line, and left as it is.

mod support;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use chat_sqlite::{OpenError, Options, Store};
use rusqlite::Connection;
use support::{Home, all, cut, hash, room, say};

/// A store of a few messages, closed in order.
async fn written(home: &Home) {
    let store = home.open();
    let lobby = room(&store, "lobby");
    for n in 0..60 {
        say(&lobby, &format!("{n} {}", "x".repeat(500))).await.expect("appended");
    }
    store.close();
}

/// Tries to open, and sees that nothing has changed; the error.
fn refused(home: &Home) -> OpenError {
    let files = || ["chat.db", "chat.db-wal", "chat.mark"].map(|name| hash(&home.file(name)));
    let before = files();
    let error = Store::open(home.path(), Options::default()).expect_err("refused");
    assert_eq!(files(), before, "{error}");
    let line = error.to_string();
    assert!(!line.contains('\n') && line.contains(home.path().to_str().expect("UTF-8")), "{line}");
    error
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = fs::File::options().write(true).open(path).expect("a file");
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes)).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_is_no_store() {
    for garbage in [&b""[..], b"SQLite format 3\0", &[0; 8192], &[0xa5; 8192]] {
        let home = Home::new();
        written(&home).await;
        fs::write(home.file("chat.db"), garbage).expect("written");
        let error = refused(&home);
        assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_another_program_is_no_store() {
    let home = Home::new();
    fs::create_dir(home.path()).expect("a directory");
    home.database().execute_batch("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)").expect("written");
    assert!(refused(&home).to_string().contains("another program"));
    let copy = Connection::open(home.file("chat.db")).expect("still theirs");
    assert_eq!(copy.query_row("SELECT a FROM theirs", (), |row| row.get(0)), Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_database_is_damaged_wherever_it_is_cut() {
    let home = Home::new();
    written(&home).await;
    let whole = fs::read(home.file("chat.db")).expect("a file");
    for length in [150, 4_096, whole.len() / 2, whole.len() - 4_096, whole.len() - 1] {
        fs::write(home.file("chat.db"), &whole).expect("written");
        cut(&home.file("chat.db"), length as u64);
        let error = refused(&home);
        assert!(matches!(error, OpenError::Damaged { .. }), "{length}: {error}");
    }
    fs::write(home.file("chat.db"), &whole).expect("written");
    let store = home.open();
    assert_eq!(all(&room(&store, "lobby")).await.len(), 60, "the copy put back is all it takes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_a_page_of_zeros_is_damaged() {
    let home = Home::new();
    written(&home).await;
    let whole = fs::read(home.file("chat.db")).expect("a file");
    // Those that are free hold nothing.
    let used: Vec<u64> = {
        let database = home.database();
        let mut pages = database.prepare("SELECT pageno FROM dbstat WHERE pageno > 1").expect("a statement");
        let pages = pages.query_map((), |row| row.get(0)).expect("pages");
        pages.collect::<Result<_, _>>().expect("numbers")
    };
    for page in used {
        fs::write(home.file("chat.db"), &whole).expect("written");
        overwrite(&home.file("chat.db"), (page - 1) * 4_096, &[0; 4_096]);
        let error = refused(&home);
        assert!(matches!(error, OpenError::Damaged { .. }), "{page}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_even_if_only_the_write_ahead_log_says_so() {
    let home = Home::new();
    written(&home).await;
    home.database().execute_batch("PRAGMA user_version = 99").expect("written");
    assert!(matches!(refused(&home), OpenError::Newer { found: 99, .. }));

    let home = Home::new();
    written(&home).await;
    let newer = home.database();
    newer.execute_batch("PRAGMA user_version = 99").expect("written");
    // What it would tidy up stays: as if that version had been killed.
    let (database, wal) = (
        fs::read(home.file("chat.db")).expect("a file"),
        fs::read(home.file("chat.db-wal")).expect("a file"),
    );
    drop(newer);
    fs::write(home.file("chat.db"), database).expect("written");
    fs::write(home.file("chat.db-wal"), wal).expect("written");
    assert!(matches!(refused(&home), OpenError::Newer { found: 99, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_database_is_gone_does_not_begin_anew() {
    let home = Home::new();
    written(&home).await;
    fs::remove_file(home.file("chat.db")).expect("removed");
    let error = refused(&home);
    assert!(
        matches!(&error, OpenError::Missing { .. }) && error.to_string().contains("chat.mark"),
        "{error}"
    );
    assert!(!home.file("chat.db").exists());
    fs::remove_file(home.file("chat.mark")).expect("removed");
    fs::write(home.file("chat.db-wal"), "x").expect("written");
    assert!(refused(&home).to_string().contains("chat.db-wal"));
    fs::remove_file(home.file("chat.db-wal")).expect("removed");
    assert_eq!(all(&room(&home.open(), "lobby")).await, [], "as it was told to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_refused_and_its_lock_is_named() {
    let home = Home::new();
    let store = home.open();
    let error = Store::open(home.path(), Options::default()).expect_err("refused");
    assert!(error.to_string().contains("chat.lock"), "{error}");
    say(&room(&store, "lobby"), "unhurt").await.expect("appended");
    store.close();
    home.open().close();
}

#[test]
fn a_place_where_nothing_can_be_written_is_named() {
    let home = Home::new();
    let error = Store::open(home.path().join("deep"), Options::default()).expect_err("refused");
    assert!(matches!(error, OpenError::Io { .. }) && error.to_string().contains("deep"), "{error}");

    fs::write(home.path(), "a file").expect("written");
    let error = Store::open(home.path(), Options::default()).expect_err("refused");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_mounted_for_reading_is_refused_in_one_line() {
    let home = Home::new();
    let disk = support::disk::Disk::mount(&home.path(), "4m");
    let inner = disk.path().join("store");
    let store = Store::open(&inner, Options::default()).expect("a store");
    say(&room(&store, "lobby"), "hi").await.expect("appended");
    store.close();
    let before = hash(&inner.join("chat.db"));
    disk.remount("ro");
    let error = Store::open(&inner, Options::default()).expect_err("refused").to_string();
    assert!(error.contains("Read-only") && !error.contains('\n'), "{error}");
    let error = Store::open(disk.path().join("new"), Options::default()).expect_err("refused").to_string();
    assert!(error.contains("Read-only") && !error.contains('\n'), "{error}");
    assert_eq!(hash(&inner.join("chat.db")), before);
}
