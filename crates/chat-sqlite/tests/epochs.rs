//! An epoch's positions are never given out twice, whatever is lost; and it goes on where nothing is.

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use chat_core::Room;
use chat_sqlite::{Durability, Options};
use support::{Home, all, room, say, seqs};

/// The files of a store, to be put back as they were.
struct Copies(Vec<(PathBuf, Option<Vec<u8>>)>);

impl Copies {
    fn of(home: &Home, names: &[&str]) -> Self {
        Self(names.iter().map(|name| (home.file(name), fs::read(home.file(name)).ok())).collect())
    }

    fn put_back(&self) {
        for (path, bytes) in &self.0 {
            match bytes {
                Some(bytes) => fs::write(path, bytes).expect("written"),
                None => drop(fs::remove_file(path)),
            }
        }
    }
}

const ALL: [&str; 3] = ["chat.db", "chat.db-wal", "chat.mark"];

async fn epoch(room: &Arc<dyn Room>) -> String {
    room.bounds().await.expect("a standing").epoch
}

/// A store of three messages, as a process leaves it that is killed; its epoch.
async fn killed(home: &Home, options: &Options) -> String {
    let store = home.open_with(options.clone());
    let lobby = room(&store, "lobby");
    for _ in 0..3 {
        say(&lobby, "hi").await.expect("appended");
    }
    let epoch = epoch(&lobby).await;
    let copies = Copies::of(home, &ALL);
    store.close();
    copies.put_back();
    epoch
}

/// The epoch and the messages of a store that is opened again.
async fn opened(home: &Home) -> (String, Vec<u64>) {
    let store = home.open();
    let lobby = room(&store, "lobby");
    let found = (epoch(&lobby).await, seqs(&all(&lobby).await));
    store.close();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_epoch_goes_on() {
    for durability in [Durability::Disk, Durability::Process] {
        let home = Home::new();
        let before = killed(&home, &Options { durability, ..Options::default() }).await;
        assert!(fs::metadata(home.file("chat.db-wal")).expect("a file").len() > 0);
        assert_eq!(opened(&home).await, (before.clone(), vec![1, 2, 3]));
        assert_eq!(opened(&home).await.0, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_write_ahead_log_a_store_begins_a_new_epoch() {
    let lose: [fn(&Home); 4] = [
        |home| fs::remove_file(home.file("chat.db-wal")).expect("removed"),
        |home| fs::write(home.file("chat.db-wal"), "").expect("written"),
        |home| fs::write(home.file("chat.db-wal"), vec![0xa5; 50_000]).expect("written"),
        |home| {
            // The last transaction alone is torn.
            let mut wal = fs::read(home.file("chat.db-wal")).expect("a file");
            let last = wal.len() - 10;
            wal[last] ^= 1;
            fs::write(home.file("chat.db-wal"), wal).expect("written");
        },
    ];
    for (n, lose) in lose.into_iter().enumerate() {
        let home = Home::new();
        let before = killed(&home, &Options::default()).await;
        lose(&home);
        let (after, messages) = opened(&home).await;
        assert_ne!(after, before, "{n}");
        assert!(messages.len() < 3, "{n}: {messages:?}");
        assert_eq!(opened(&home).await, (after, messages), "{n}: that one goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_database_begins_a_new_epoch() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    say(&lobby, "hi").await.expect("appended");
    let before = epoch(&lobby).await;
    store.close();
    let older = Copies::of(&home, &["chat.db"]);
    let store = home.open();
    say(&room(&store, "lobby"), "lost").await.expect("appended");
    store.close();
    older.put_back();
    let (after, messages) = opened(&home).await;
    assert_eq!(messages, [1]);
    assert_ne!(after, before, "position 2 was given out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_its_own_mark_begins_a_new_epoch() {
    let spoil: [fn(&Home); 4] = [
        |home| fs::remove_file(home.file("chat.mark")).expect("removed"),
        |home| fs::write(home.file("chat.mark"), "").expect("written"),
        |home| {
            let mut mark = fs::read(home.file("chat.mark")).expect("a file");
            mark[60] ^= 1;
            fs::write(home.file("chat.mark"), mark).expect("written");
        },
        |home| {
            let other = Home::new();
            other.open().close();
            fs::copy(other.file("chat.mark"), home.file("chat.mark")).expect("copied");
        },
    ];
    for (n, spoil) in spoil.into_iter().enumerate() {
        let home = Home::new();
        let before = killed(&home, &Options::default()).await;
        spoil(&home);
        let (after, messages) = opened(&home).await;
        assert_eq!(messages, [1, 2, 3], "{n}: nothing is lost by that");
        assert_ne!(after, before, "{n}");
        assert_eq!(opened(&home).await.0, after, "{n}: that one goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_end_of_the_machine_only_what_was_on_the_disk_keeps_its_epoch() {
    for (durability, in_order, goes_on) in [
        (Durability::Disk, false, true),
        (Durability::Process, false, false),
        (Durability::Process, true, true),
    ] {
        let home = Home::new();
        let options = Options { durability, ..Options::default() };
        let before = killed(&home, &options).await;
        if in_order {
            home.open_with(options).close();
        }
        // As if it had been written in an earlier life of the machine.
        let mark = fs::read_to_string(home.file("chat.mark")).expect("a file");
        let (line, _) = mark.rsplit_once(" sum ").expect("a sum");
        let boot = line.split(' ').skip_while(|word| *word != "boot").nth(1).expect("a boot");
        let line = line.replace(boot, "00000000-0000-0000-0000-000000000000");
        let sum = crc32fast::hash(line.as_bytes());
        fs::write(home.file("chat.mark"), format!("{line} sum {sum:08x}\n")).expect("written");
        assert_eq!(opened(&home).await.0 == before, goes_on, "{durability:?} {in_order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_half_made_is_made_anew() {
    let home = Home::new();
    fs::create_dir(home.path()).expect("a directory");
    for name in ["chat.db.new", "chat.db.new-journal", "chat.db.new-wal", "chat.lock"] {
        fs::write(home.file(name), "half").expect("written");
    }
    assert_eq!(opened(&home).await.1, [0; 0]);
    assert!(!home.file("chat.db.new").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_a_copy_begins_a_new_epoch_and_one_that_was_moved_goes_on() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    say(&lobby, "hi").await.expect("appended");
    let before = epoch(&lobby).await;
    store.close();
    let aside = home.path().with_extension("aside");
    fs::rename(home.path(), &aside).expect("moved");
    let mut epochs = vec![before.clone()];
    // The second time the names, and perhaps the numbers, are those of files that have just been removed.
    for _ in 0..2 {
        fs::create_dir(home.path()).expect("a directory");
        for entry in fs::read_dir(&aside).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            fs::copy(aside.join(&name), home.path().join(&name)).expect("copied");
        }
        let (copied, messages) = opened(&home).await;
        assert_eq!(messages, [1]);
        assert!(!epochs.contains(&copied), "what came after the copy was taken has the same positions");
        assert_eq!(opened(&home).await.0, copied, "once");
        epochs.push(copied);
        fs::remove_dir_all(home.path()).expect("removed");
    }
    fs::rename(&aside, home.path()).expect("moved");
    assert_eq!(opened(&home).await, (before, vec![1]));
}
