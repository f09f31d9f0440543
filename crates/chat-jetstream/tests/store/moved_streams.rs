//! Chats that move into several streams, and out of them.

use std::sync::Arc;

use chat_core::{Act, Limits, NewAct, NewMessage, RawValue, Store, User};
use chat_jetstream::{JetStreamStore, MoveError, OpenError, Options, Report};
use serde_json::{Value, json};

use crate::purges;
use crate::servers::{Servers, request};
use crate::support::{Opened, delete, edit, node};

/// The rooms of a chat: some in each of its streams.
const ROOMS: usize = 24;

fn options(stream: &str, streams: usize) -> Options {
    Options::default().with(|options| {
        (options.stream, options.streams, options.replicas) = (stream.to_owned(), streams, 1);
    })
}

fn user(id: &str) -> User {
    User::new(id, id).expect("a user")
}

async fn export(servers: &Servers, options: &Options) -> Result<String, MoveError> {
    let mut lines = Vec::new();
    let exported = JetStreamStore::export_all(&servers.addresses(), options, &mut lines).await?;
    assert_eq!(exported.unreadable, 0);
    Ok(String::from_utf8(lines).expect("UTF-8"))
}

async fn import(servers: &Servers, options: &Options, lines: &str) -> Result<(), MoveError> {
    JetStreamStore::import(&servers.addresses(), options, lines.as_bytes(), |_| ()).await?;
    let report = JetStreamStore::check(&servers.addresses(), options, |_| ()).await?;
    assert!(report.is_sound() && report.rooms == ROOMS as u64, "{report:?}");
    Ok(())
}

fn purge(id: &str) -> NewAct {
    NewAct::new(user("ops"), Act::Purge { user: user(id) }).by_host()
}

/// Makes a chat. In each room, two users are purged whose messages are between each other.
async fn fill(store: &JetStreamStore) {
    let limits = Arc::new(Limits::default());
    for number in 0..ROOMS {
        let name = format!("room-{number:02}");
        let room = Opened::open(store, &name, &limits).await;
        for id in ["eve", "bob", "ann", "bob", "eve", "ann"] {
            let body = RawValue::from_string(r#"{"text":"hi"}"#.to_owned()).expect("JSON");
            room.room.append(NewMessage::new(user(id), body)).await.expect("a receipt");
        }
        room.change("bob", 4, delete()).await.expect("a deletion");
        for id in ["eve", "bob"] {
            room.room.purge(purge(id)).await.expect("a receipt");
        }
        room.change("ann", 6, edit("other")).await.expect("an edit");
        store.follow(&user("ann").key(), &name.parse().expect("a name"), true, 99).await.expect("followed");
        room.room.mark(&user("ann").key(), 3).await.expect("marked");
    }
}

async fn info(servers: &Servers, stream: &str) -> Value {
    let client = servers.ready().await;
    request(&client, &format!("STREAM.INFO.{stream}"), &json!({})).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_moves_into_another_number_of_streams_with_all_rooms_and_purges() {
    let servers = Servers::start(1);
    servers.ready().await;
    let (old, new) = (options("old", 3), options("new", 2));
    let store = JetStreamStore::open(&servers.addresses(), options("old", 3)).await.expect("a store");
    fill(&store).await;
    let exported = export(&servers, &old).await.expect("exported");
    assert_eq!(JetStreamStore::rooms(&servers.addresses(), &old).await.expect("names").len(), ROOMS);
    import(&servers, &new, &exported).await.expect("imported");
    assert_eq!(export(&servers, &new).await.expect("exported"), exported);
    for stream in ["new", "new-2"] {
        let info = info(&servers, stream).await;
        assert!(info["state"]["messages"].as_u64() > Some(10), "{info}");
    }
    for (wrong, found) in [(options("old", 2), 3), (options("new", 1), 2)] {
        let refused = export(&servers, &wrong).await.expect_err("it has another number");
        let number = matches!(refused, MoveError::Open(OpenError::OtherStreams { found: number, .. }) if number == found);
        assert!(number, "{refused}");
    }
    let moved = JetStreamStore::open(&servers.addresses(), new).await.expect("a store");
    let limits = Arc::new(Limits::default());
    for number in 0..ROOMS {
        let name = format!("room-{number:02}");
        let (before, after) =
            (Opened::open(&store, &name, &limits).await, Opened::open(&moved, &name, &limits).await);
        assert_eq!(before.events().await, after.events().await, "{name}");
        let again = after.room.purge(purge("eve")).await.expect("a receipt");
        assert_eq!(again.seq, None, "nothing is left");
        assert_eq!(after.say("one more").await, before.say("one more").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_import_leaves_no_stream_of_it_after_the_next_one() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let store = JetStreamStore::open(&servers.addresses(), options("old", 1)).await.expect("a store");
    fill(&store).await;
    let exported = export(&servers, &options("old", 1)).await.expect("exported");
    let three = options("chat", 3);
    import(&servers, &three, &exported).await.expect("imported");
    let refused = import(&servers, &options("chat", 2), &exported).await.expect_err("it has rooms");
    assert!(matches!(refused, MoveError::HasRooms(_)), "{refused}");
    // The state before the last step: only the first stream is not complete.
    let mut config = info(&servers, "chat").await["config"].clone();
    config["metadata"]["chat-format"] = json!("import");
    let updated = request(&client, "STREAM.UPDATE.chat", &config).await.expect("an answer");
    assert!(updated["error"].is_null(), "{updated}");
    let refused =
        JetStreamStore::open(&servers.addresses(), options("chat", 3)).await.expect_err("unfinished");
    assert!(matches!(refused, OpenError::Unfinished(_)), "{refused}");
    import(&servers, &options("chat", 2), &exported).await.expect("imported again");
    assert_eq!(info(&servers, "chat-3").await["error"]["err_code"], 10_059, "it is removed");
    assert_eq!(export(&servers, &options("chat", 2)).await.expect("exported"), exported);
    // Without its first stream, the rooms of the others are not overwritten.
    request(&client, "STREAM.DELETE.chat", &json!({})).await.expect("removed");
    let refused = import(&servers, &options("chat", 2), &exported).await.expect_err("it has rooms");
    assert!(matches!(refused, MoveError::HasRooms(stream) if stream == "chat-2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_with_a_purge_that_is_not_complete_is_not_exported() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let (interrupted, seqs) = purges::interrupt(&servers, &limits).await;
    interrupted.close().await.expect("a store that can be closed");
    let refused = export(&servers, &options("chat", 1)).await.expect_err("a purge goes on");
    assert!(matches!(refused, MoveError::Purging(_)), "{refused}");
    let report = JetStreamStore::check(&servers.addresses(), &options("chat", 1), |_| ()).await;
    assert!(report.as_ref().is_ok_and(Report::is_sound), "{report:?}");
    let lobby = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    purges::is_completed(&servers, &lobby, &seqs).await;
    export(&servers, &options("chat", 1)).await.expect("exported");
}
