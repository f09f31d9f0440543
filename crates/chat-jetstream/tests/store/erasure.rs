use std::fs;
use std::path::Path;
use std::sync::Arc;

use chat_core::{ChangeError, Limits, Range, Store};
use futures_util::future::join_all;

use crate::servers::{ALONE, NO_ERASURE, Servers};
use crate::support::{Opened, body, delete, edit, eventually, node, node_of, react, text};

const SECRETS: [&str; 2] = ["sesame-open-1", "sesame-open-2"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_erases_all_texts_of_the_message_from_the_files_and_no_other() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let (store, other) = (node(&servers, |_| {}).await, node(&servers, |_| {}).await);
    let lobby = Opened::open(&store, "lobby", &limits).await;
    let elsewhere = Opened::open(&other, "lobby", &limits).await;
    // They share records.
    let texts = ["before", SECRETS[0], "after"];
    join_all(texts.iter().map(|text| lobby.append(text, Some(text)))).await;
    let said = lobby.texts().await;
    let target = seq_of(&said, SECRETS[0]);
    assert_eq!(lobby.change("ann", target, edit(SECRETS[1])).await.expect("an edit").seq, Some(4));
    assert_eq!(lobby.change("bob", target, react()).await.expect("a reaction").seq, Some(5));
    for secret in SECRETS {
        assert!(finds(servers.home(0), secret), "{secret} is in the files before the deletion");
    }
    assert_eq!(lobby.change("zoe", target, delete()).await.expect("a deletion").seq, Some(6));
    for secret in SECRETS {
        assert!(!finds(servers.home(0), secret), "{secret} is in no file after the deletion");
    }
    assert!(finds(servers.home(0), "before") && finds(servers.home(0), "after"));
    for room in [&lobby, &elsewhere] {
        room.hears_of_erased(&[target, 4, 5]).await;
        let events = room.events().await;
        assert_eq!(events[&target]["deleted"]["by"]["id"], "zoe");
        let kept = events.iter().filter(|(seq, _)| **seq != target);
        let kept: Vec<_> = kept.map(|(seq, event)| (*seq, body(event))).collect();
        assert_eq!(kept, said.iter().filter(|(seq, _)| *seq != target).cloned().collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_knows_nothing_knows_the_keys_of_deleted_messages() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let lobby = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    for (key, seq) in [("a", 1), ("b", 2), ("c", 3)] {
        assert_eq!(lobby.append("hi", Some(key)).await.expect("a receipt").seq, seq);
    }
    // The copies of the first records are all that is left of them.
    for seq in [1, 2] {
        lobby.change("zoe", seq, delete()).await.expect("a deletion");
    }
    let lobby = Opened::open(&node_of(&servers, ALONE).await, "lobby", &limits).await;
    for (key, seq) in [("a", 1), ("b", 2), ("c", 3)] {
        let repeated = lobby.append("hi", Some(key)).await.expect("a receipt");
        assert_eq!((repeated.seq, repeated.duplicate), (seq, true));
    }
}

fn seq_of(said: &[(u64, String)], text: &str) -> u64 {
    said.iter().find(|(_, said)| said == text).expect("the message").0
}

/// The node that deletes may not remove messages of the stream, so that it is interrupted at that place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_completes_a_deletion_that_was_interrupted() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let interrupted = node_of(&servers, NO_ERASURE).await;
    let lobby = Opened::open(&interrupted, "lobby", &limits).await;
    for text in ["before", SECRETS[0], "after"] {
        lobby.say(text).await;
    }
    assert_eq!(lobby.change("ann", 2, edit(SECRETS[1])).await.expect("an edit").seq, Some(4));
    let deleted = lobby.change("zoe", 2, delete()).await;
    assert!(matches!(deleted, Err(ChangeError::Unavailable(_))), "{deleted:?}");
    assert!(finds_any(servers.home(0)), "the texts are there");
    let events = lobby.events().await;
    assert!(events[&2]["body"].is_null() && events[&2]["deleted"]["by"]["id"] == "zoe", "{:?}", events[&2]);
    interrupted.close().await.expect("a store that can be closed");
    let lobby = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    eventually("the texts are erased", || async { !finds_any(servers.home(0)) }).await;
    let repeated = lobby.change("zoe", 2, delete()).await.expect("a receipt");
    assert_eq!((repeated.seq, repeated.duplicate), (Some(5), true));
    let page = lobby.room.read(Range::before(2, 9)).await.expect("a page");
    assert_eq!(page.messages.iter().map(|stored| text(&stored.frame)).collect::<Vec<_>>(), ["before"]);
}

/// The other node has the room open all the time, and its writer knows the keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_was_interrupted_is_completed_while_the_room_is_in_use() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let lobby = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    for text in SECRETS {
        lobby.say(text).await;
    }
    let interrupted = Opened::open(&node_of(&servers, NO_ERASURE).await, "lobby", &limits).await;
    for seq in [1, 2] {
        let deleted = interrupted.change("zoe", seq, delete()).await;
        assert!(matches!(deleted, Err(ChangeError::Unavailable(_))), "{deleted:?}");
    }
    assert!(finds_any(servers.home(0)), "the texts are there");
    lobby.say("after").await;
    eventually("the texts are erased", || async { !finds_any(servers.home(0)) }).await;
}

/// The files of a server have the text in the log of the replication too, which the server compacts later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_keep_no_earlier_copy_of_a_record_whose_second_deletion_was_interrupted() {
    let servers = Servers::start(3);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let store = node(&servers, |options| options.replicas = 3).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    // Those that come while the first one is stored share a record.
    join_all(["first", "second", SECRETS[0], SECRETS[1]].map(|text| lobby.append(text, None))).await;
    let said = lobby.texts().await;
    let targets = SECRETS.map(|secret| seq_of(&said, secret));
    lobby.change("zoe", targets[0], delete()).await.expect("a deletion");
    store.close().await.expect("a store that can be closed");
    let interrupted = node_of(&servers, NO_ERASURE).await;
    let lobby = Opened::open(&interrupted, "lobby", &limits).await;
    let deleted = lobby.change("zoe", targets[1], delete()).await;
    assert!(matches!(deleted, Err(ChangeError::Unavailable(_))), "{deleted:?}");
    let streams: Vec<_> =
        (0..3).map(|number| servers.home(number).join("jetstream/$G/streams/chat")).collect();
    assert!(streams.iter().any(|stream| finds(stream, SECRETS[1])), "the text is in the earlier copy");
    interrupted.close().await.expect("a store that can be closed");
    let lobby = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    let repeated = lobby.change("zoe", targets[1], delete()).await.expect("a receipt");
    assert!(repeated.duplicate, "{repeated:?}");
    eventually("the texts are erased", || async { !streams.iter().any(|stream| finds_any(stream)) }).await;
    let left: Vec<_> = said.iter().filter(|(seq, _)| !targets.contains(seq)).map(|(seq, _)| *seq).collect();
    let events = lobby.events().await;
    let whole = events.iter().filter(|(_, event)| !event["body"].is_null()).map(|(seq, _)| *seq);
    assert_eq!(whole.collect::<Vec<_>>(), left);
}

fn finds_any(directory: &Path) -> bool {
    SECRETS.iter().any(|secret| finds(directory, secret))
}

/// Returns true if a file below a directory has this text.
pub(crate) fn finds(directory: &Path, text: &str) -> bool {
    let files = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    files.into_iter().any(|path| {
        if path.is_dir() {
            return finds(&path, text);
        }
        // A file may be removed meanwhile.
        fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    })
}
