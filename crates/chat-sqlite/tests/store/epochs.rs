//! Epochs: no `seq` is used twice within one epoch, and an epoch continues if nothing was lost.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::support::{StoreDir, append, append_all, open_lobby, read_all, room, seqs};
use chat_core::Room;
use chat_sqlite::{Durability, Options};

/// Copies of a store's files, to restore them later.
struct Copies(Vec<(PathBuf, Option<Vec<u8>>)>);

impl Copies {
    fn of(dir: &StoreDir, names: &[&str]) -> Self {
        Self(names.iter().map(|name| (dir.file(name), fs::read(dir.file(name)).ok())).collect())
    }

    fn restore(&self) {
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
    room.bounds().await.expect("bounds").epoch
}

/// Creates a store of three messages in the state of a killed process. Returns its epoch.
async fn crashed_store(dir: &StoreDir, options: &Options) -> String {
    let store = dir.open_with(options.clone());
    let lobby = room(&store, "lobby");
    append_all(&lobby, (0..3).map(|_| "hi")).await;
    let epoch = epoch(&lobby).await;
    let copies = Copies::of(dir, &ALL);
    store.close_blocking();
    copies.restore();
    epoch
}

/// Opens a store again. Returns its epoch and its messages.
async fn reopen(dir: &StoreDir) -> (String, Vec<u64>) {
    let store = dir.open();
    let lobby = room(&store, "lobby");
    let found = (epoch(&lobby).await, seqs(&read_all(&lobby).await));
    store.close_blocking();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_continues_after_a_kill() {
    for durability in [Durability::Disk, Durability::Process] {
        let dir = StoreDir::new();
        let before =
            crashed_store(&dir, &Options::default().with(|options| options.durability = durability)).await;
        assert!(fs::metadata(dir.file("chat.db-wal")).expect("a file").len() > 0);
        assert_eq!(reopen(&dir).await, (before.clone(), vec![1, 2, 3]));
        assert_eq!(reopen(&dir).await.0, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_its_write_ahead_log_starts_a_new_epoch() {
    let losses: [fn(&StoreDir); 4] = [
        |dir| fs::remove_file(dir.file("chat.db-wal")).expect("removed"),
        |dir| fs::write(dir.file("chat.db-wal"), "").expect("written"),
        |dir| fs::write(dir.file("chat.db-wal"), vec![0xa5; 50_000]).expect("written"),
        |dir| {
            // Damages the last transaction only.
            let mut wal = fs::read(dir.file("chat.db-wal")).expect("a file");
            let last = wal.len() - 10;
            wal[last] ^= 1;
            fs::write(dir.file("chat.db-wal"), wal).expect("written");
        },
    ];
    for (n, lose) in losses.into_iter().enumerate() {
        let dir = StoreDir::new();
        let before = crashed_store(&dir, &Options::default()).await;
        lose(&dir);
        let (after, messages) = reopen(&dir).await;
        assert_ne!(after, before, "{n}");
        assert!(messages.len() < 3, "{n}: {messages:?}");
        assert_eq!(reopen(&dir).await, (after, messages), "{n}: the new epoch continues");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_database_starts_a_new_epoch() {
    let (dir, store, lobby) = open_lobby();
    append(&lobby, "hi").await.expect("appended");
    let before = epoch(&lobby).await;
    store.close_blocking();
    let older = Copies::of(&dir, &["chat.db"]);
    let store = dir.open();
    append(&room(&store, "lobby"), "lost").await.expect("appended");
    store.close_blocking();
    older.restore();
    let (after, messages) = reopen(&dir).await;
    assert_eq!(messages, [1]);
    assert_ne!(after, before, "seq 2 was used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_its_own_commit_mark_starts_a_new_epoch() {
    let changes: [fn(&StoreDir); 4] = [
        |dir| fs::remove_file(dir.file("chat.mark")).expect("removed"),
        |dir| fs::write(dir.file("chat.mark"), "").expect("written"),
        |dir| {
            let mut mark = fs::read(dir.file("chat.mark")).expect("a file");
            mark[60] ^= 1;
            fs::write(dir.file("chat.mark"), mark).expect("written");
        },
        |dir| {
            let other = StoreDir::new();
            other.open().close_blocking();
            fs::copy(other.file("chat.mark"), dir.file("chat.mark")).expect("copied");
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let dir = StoreDir::new();
        let before = crashed_store(&dir, &Options::default()).await;
        change(&dir);
        let (after, messages) = reopen(&dir).await;
        assert_eq!(messages, [1, 2, 3], "{n}: no message is lost");
        assert_ne!(after, before, "{n}");
        assert_eq!(reopen(&dir).await.0, after, "{n}: the new epoch continues");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_an_open_store_with_durability_process_starts_a_new_epoch() {
    for (durability, is_closed, continues) in [
        (Durability::Disk, false, true),
        (Durability::Process, false, false),
        (Durability::Process, true, true),
    ] {
        let dir = StoreDir::new();
        let options = Options::default().with(|options| options.durability = durability);
        let before = crashed_store(&dir, &options).await;
        if is_closed {
            dir.open_with(options).close_blocking();
        }
        // Replaces the boot id by that of an earlier boot.
        let mark = fs::read_to_string(dir.file("chat.mark")).expect("a file");
        let (line, _) = mark.rsplit_once(" sum ").expect("a sum");
        let boot = line.split(' ').skip_while(|word| *word != "boot").nth(1).expect("a boot");
        let line = line.replace(boot, "00000000-0000-0000-0000-000000000000");
        let sum = crc32fast::hash(line.as_bytes());
        fs::write(dir.file("chat.mark"), format!("{line} sum {sum:08x}\n")).expect("written");
        assert_eq!(reopen(&dir).await.0 == before, continues, "{durability:?} {is_closed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_creation_is_repeated() {
    let dir = StoreDir::new();
    fs::create_dir(dir.path()).expect("a directory");
    for name in ["chat.db.new", "chat.db.new-journal", "chat.db.new-wal", "chat.lock"] {
        fs::write(dir.file(name), "half").expect("written");
    }
    assert_eq!(reopen(&dir).await.1, [0; 0]);
    assert!(!dir.file("chat.db.new").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_directory_starts_a_new_epoch_and_a_renamed_one_continues() {
    let (dir, store, lobby) = open_lobby();
    append(&lobby, "hi").await.expect("appended");
    let before = epoch(&lobby).await;
    store.close_blocking();
    let aside = dir.path().with_extension("aside");
    fs::rename(dir.path(), &aside).expect("moved");
    let mut epochs = vec![before.clone()];
    // The second round has the same names, and perhaps the same inodes, as the files removed in the first.
    for _ in 0..2 {
        fs::create_dir(dir.path()).expect("a directory");
        for entry in fs::read_dir(&aside).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            fs::copy(aside.join(&name), dir.path().join(&name)).expect("copied");
        }
        let (copied, messages) = reopen(&dir).await;
        assert_eq!(messages, [1]);
        assert!(!epochs.contains(&copied), "messages after the copy may have used the same seq");
        assert_eq!(reopen(&dir).await.0, copied, "the new epoch continues");
        epochs.push(copied);
        fs::remove_dir_all(dir.path()).expect("removed");
    }
    fs::rename(&aside, dir.path()).expect("moved");
    assert_eq!(reopen(&dir).await, (before, vec![1]));
}
