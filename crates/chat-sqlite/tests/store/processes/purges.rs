use std::env;
use std::process::{self, Stdio};

use chat_core::{Commit, CommitSink};
use chat_sqlite::{Options, SqliteStore};
use tokio::runtime::Runtime;

use super::{DIR, report, reports};
use crate::purges::{fill_fast, kept_of_eve, purge};
use crate::support::process::{is_single_test, single_test};
use crate::support::{StoreDir, limits, name, room, wait_until};

/// Name of the test that is the child process.
const CHILD: &str = "processes::purges::purging_child";

/// The child process. Does nothing when it runs with the other tests.
#[test]
fn purging_child() {
    if !is_single_test(CHILD) {
        return;
    }
    let dir = env::var(DIR).expect("a directory");
    Runtime::new().expect("a runtime").block_on(async {
        let store = SqliteStore::open(dir, Options::default()).expect("a store");
        let sink = CommitSink::new(|commit| {
            if let Commit::Entry { stored, .. } = commit
                && stored.frame.starts_with(br#"{"type":"purged""#)
            {
                report(&format!("purged {}", stored.seq));
            }
        });
        let lobby = store.room(name("lobby"), limits(), sink);
        if lobby.bounds().await.expect("bounds").head == 0 {
            fill_fast(&lobby, 3_000).await;
        }
        report("begins");
        lobby.purge(purge("eve")).await.expect("purged");
    });
    process::exit(0);
}

#[test]
fn a_purge_that_a_kill_interrupts_is_completed_by_the_next_opening() {
    for kill in [2, 7] {
        let dir = StoreDir::new();
        let mut child = single_test(CHILD);
        child.env(DIR, dir.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        let lines = reports(child.spawn().expect("a process"), kill);
        assert_eq!(lines.len(), kill, "{lines:?}");
        assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
        let purges = "SELECT count(*) FROM purges";
        assert_eq!(dir.database().query_row(purges, (), |row| row.get(0)), Ok(1), "it was not complete");
        Runtime::new().expect("a runtime").block_on(async {
            let store = dir.open();
            let lobby = room(&store, "lobby");
            wait_until(async || kept_of_eve(&lobby).await == 0).await;
            store.close_blocking();
        });
        assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
    }
}
