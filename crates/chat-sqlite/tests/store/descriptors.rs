//! A process that has no file descriptor left.

use std::fs::File;
use std::sync::Arc;

use chat_core::{Range, Search};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::process::{is_single_test, run_single_test};
use crate::support::{StoreDir, append, read_all, room};

const TEST: &str = "descriptors::an_open_store_works_without_free_descriptors";

#[test]
fn an_open_store_works_without_free_descriptors() {
    if !is_single_test(TEST) {
        return run_single_test(TEST);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dir = StoreDir::new();
    let store = dir.open();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum }).expect("set");
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    runtime.block_on(async {
        let lobby = room(&store, "lobby");
        append(&lobby, "an apple").await.expect("appended");
        let joins: Vec<_> = (0..90)
            .map(|n| {
                let (lobby, other) = (Arc::clone(&lobby), room(&store, &format!("room-{n}")));
                tokio::spawn(async move {
                    append(&other, "hi").await.expect("appended");
                    assert_eq!(other.bounds().await.expect("bounds").head, 1);
                    assert_eq!(lobby.read(Range::newest(9)).await.expect("a page").messages.len(), 1);
                    let search = Search::new("apple".to_owned(), 9);
                    assert_eq!(lobby.search(search).await.expect("found").messages.len(), 1);
                })
            })
            .collect();
        for join in joins {
            join.await.expect("served");
        }
    });
    assert!(File::open("/dev/null").is_err(), "all descriptors were in use");
    drop(taken);
    let found = runtime.block_on(async { read_all(&room(&store, "room-7")).await.len() });
    assert_eq!(found, 1);
    assert!(store.close_blocking());
}
