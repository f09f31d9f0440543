//! What a store makes in its directory, and what those who look at it leave there.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use chat_sqlite::Store;
use support::{Home, hash, name, room, say};

/// The names and permissions of all that is in a store's directory.
fn files(home: &Home) -> BTreeMap<String, u32> {
    let entries = fs::read_dir(home.path()).expect("a directory");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("there").permissions().mode() & 0o777;
            (entry.file_name().into_string().expect("UTF-8"), mode)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_may_read_what_people_wrote() {
    let home = Home::new();
    let store = home.open();
    say(&room(&store, "lobby"), "between us").await.expect("appended");
    let mode = fs::metadata(home.path()).expect("a directory").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    let files = files(&home);
    for made in ["chat.db", "chat.db-wal", "chat.db-shm", "chat.mark", "chat.lock"] {
        assert_eq!(files.get(made), Some(&0o600), "{made}");
    }
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_there_stays_as_open_as_it_is() {
    let home = Home::new();
    fs::create_dir(home.path()).expect("a directory");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o750)).expect("set");
    home.open().close();
    assert_eq!(fs::metadata(home.path()).expect("a directory").permissions().mode() & 0o777, 0o750);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_store_that_is_closed_leaves_nothing_behind() {
    let home = Home::new();
    let store = home.open();
    say(&room(&store, "lobby"), "hi").await.expect("appended");
    store.close();
    let (before, database) = (files(&home), hash(&home.file("chat.db")));
    assert!(Store::check(home.path(), |_| ()).expect("a report").is_sound());
    assert_eq!(Store::rooms(home.path()).expect("rooms"), [name("lobby")]);
    assert_eq!(Store::export(home.path(), &name("lobby"), Vec::new()).expect("exported").messages, 1);
    assert_eq!((files(&home), hash(&home.file("chat.db"))), (before, database));
}

#[test]
fn looking_for_a_store_where_there_is_none_says_where() {
    let home = Home::new();
    let error = Store::check(home.path(), |_| ()).expect_err("none").to_string();
    let path = home.file("chat.db");
    assert!(error.contains(&format!("{}: No such file", path.display())), "{error}");
    assert!(!home.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_no_store_writes_are_told_as_problems() {
    let home = Home::new();
    let store = home.open();
    say(&room(&store, "lobby"), "hi").await.expect("appended");
    store.close();
    for spoil in ["first = 0, head = 0", "head = 9223372036854775807", "first = -1", "keys = -1"] {
        let spoil = format!(
            "DELETE FROM messages; UPDATE rooms SET first = 1, head = 1, keys = 0; UPDATE rooms SET {spoil}"
        );
        home.database().execute_batch(&spoil).expect("spoilt");
        assert!(!Store::check(home.path(), |_| ()).expect("a report").is_sound(), "{spoil}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_store_that_was_not_closed_leaves_its_log_alone() {
    let home = Home::new();
    let store = home.open();
    say(&room(&store, "lobby"), "hi").await.expect("appended");
    let copies = ["chat.db", "chat.db-wal"].map(|name| (name, fs::read(home.file(name)).expect("a file")));
    store.close();
    for (name, bytes) in &copies {
        fs::write(home.file(name), bytes).expect("written");
    }
    assert_eq!(Store::export(home.path(), &name("lobby"), Vec::new()).expect("exported").messages, 1);
    for (name, bytes) in &copies {
        assert!(&fs::read(home.file(name)).expect("a file") == bytes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_may_be_opened_and_closed_while_somebody_looks_at_it() {
    let home = Home::new();
    let store = home.open();
    for _ in 0..3 {
        say(&room(&store, "lobby"), "hi").await.expect("appended");
    }
    store.close();
    let mut opened = None;
    let writes = std::io::LineWriter::new(Interrupted(|| {
        // In the middle of an export.
        opened.get_or_insert_with(|| home.open());
    }));
    let exported = Store::export(home.path(), &name("lobby"), writes).expect("exported");
    assert_eq!(exported.messages, 3);
    let store = opened.expect("the export has written");
    assert_eq!(say(&room(&store, "lobby"), "on").await.map(|appended| appended.seq), Ok(4));
    store.close();
    assert!(Store::check(home.path(), |_| ()).expect("a report").is_sound());
}

/// Does something at every write.
struct Interrupted<F>(F);

impl<F: FnMut()> std::io::Write for Interrupted<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.0)();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
