use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use chat_core::{
    Act, AppendError, Change, ChangeError, Limits, Links, NewAct, NewMessage, PostRule, Range, RawValue,
    Role, RoomRules, Search, Store, ThreadError, User,
};
use chat_jetstream::{JetStreamStore, Options};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::servers::{ALONE, Servers, request};
use crate::support::{Opened, delete, edit, eventually, node, node_of, react};

/// The age of messages that are removed. A node listens to the others for 3 s before it removes any.
const AGE: Duration = Duration::from_millis(2_500);

/// Opens a node that removes messages of this age.
async fn aging(servers: &Servers, change: impl FnOnce(&mut Options)) -> JetStreamStore {
    node(servers, |options| {
        options.retain_age = Some(AGE);
        change(options);
    })
    .await
}

/// Limits with keys that are forgotten before messages are too old.
fn short_keys() -> Arc<Limits> {
    Arc::new(Limits::default().with(|limits| limits.rooms.key_window = Duration::from_millis(100)))
}

/// Returns the subjects of all messages of a stream, and their numbers.
async fn subjects(client: &Client, stream: &str) -> Vec<(String, u64)> {
    let query = json!({ "subjects_filter": ">" });
    let info = request(client, &format!("STREAM.INFO.{stream}"), &query).await.expect("a stream");
    let subjects = info["state"]["subjects"].as_object().cloned().unwrap_or_default();
    subjects.into_iter().map(|(subject, count)| (subject, count.as_u64().expect("a number"))).collect()
}

/// Waits until a room has this oldest position.
async fn begins_at(room: &Opened, first: u64) {
    eventually(&format!("the oldest position {first}"), || async {
        room.room.bounds().await.is_ok_and(|bounds| bounds.first == first)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_messages_leave_rooms_that_nobody_has_open_and_their_positions_go_on() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = short_keys();
    let store = aging(&servers, |options| options.streams = 3).await;
    let mut epochs = Vec::new();
    for number in 0..10 {
        let room = Opened::open(&store, &format!("room-{number}"), &limits).await;
        for text in ["1", "2", "3"] {
            room.say(text).await;
        }
        epochs.push(room.room.bounds().await.expect("bounds").epoch);
    }
    eventually("only the ends of the rooms are left", || async {
        let mut left = Vec::new();
        for stream in ["chat", "chat-2", "chat-3"] {
            left.extend(subjects(&client, stream).await);
        }
        left.len() == 10 && left.iter().all(|(subject, count)| subject.contains(".m.") && *count == 1)
    })
    .await;
    // The node counts when it has the answer. The messages of a room may be hidden one by one, with a record each.
    eventually("all are counted", || async { store.stats().expired == 30 && store.stats().removed >= 30 })
        .await;
    assert!(store.stats().expired == 30 && store.stats().removed <= 50, "{:?}", store.stats());
    // A node that has never seen a message of them.
    let other = node(&servers, |options| options.streams = 3).await;
    for (number, epoch) in epochs.iter().enumerate() {
        let room = Opened::open(&other, &format!("room-{number}"), &limits).await;
        let bounds = room.room.bounds().await.expect("bounds");
        assert_eq!((bounds.first, bounds.head, &bounds.epoch), (4, 3, epoch));
        assert!(room.entries().await.is_empty());
        assert_eq!(room.say("4").await, 4);
    }
    assert_eq!(other.unreadable() + store.unreadable(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn young_messages_stay_and_members_of_all_nodes_agree_on_the_oldest() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = short_keys();
    let (a, b) = (aging(&servers, |_| {}).await, aging(&servers, |_| {}).await);
    let on_a = Opened::open(&a, "lobby", &limits).await;
    let on_b = Opened::open(&b, "lobby", &limits).await;
    let (mut sent, mut first, mut read) = (Vec::new(), 1, 0);
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    while first <= 20 {
        assert!(tokio::time::Instant::now() < until, "first is {first}");
        // The message is not stored before that.
        let at = tokio::time::Instant::now();
        sent.push((on_a.say("hi").await, at));
        first = on_b.room.bounds().await.expect("bounds").first;
        // Both times are of the same machine, and are rounded down to milliseconds.
        let lost =
            sent.iter().find(|(seq, at)| *seq < first && at.elapsed() + Duration::from_millis(10) < AGE);
        assert_eq!(lost, None, "first is {first}");
        let texts = on_b.texts().await;
        assert!(texts.iter().all(|(seq, _)| *seq >= first), "{texts:?} before {first}");
        read = read.max(texts.len());
        sleep(Duration::from_millis(100)).await;
    }
    assert!(read > 0, "no young message was read");
    eventually("both nodes have the same bounds", || async {
        let (on_a, on_b) = (on_a.room.bounds().await, on_b.room.bounds().await);
        on_a.is_ok_and(|bounds| on_b.is_ok_and(|other| other == bounds && bounds.first > 20))
    })
    .await;
    on_b.hears(sent.len() as u64).await;
    assert_eq!(a.unreadable() + b.unreadable(), 0);
    assert_eq!(a.stats().new_epochs + b.stats().new_epochs, 0);
    eventually("both are counted", || async {
        let (a, b) = (a.stats(), b.stats());
        a.expired + b.expired >= 20 && a.removed + b.removed >= 20
    })
    .await;
}

/// The keys of a day stay, although the messages are hidden after some seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_hidden_messages_are_known_on_all_nodes() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let keeping = node(&servers, |_| {}).await;
    let lobby = Opened::open(&keeping, "lobby", &limits).await;
    for (key, seq) in [("a", 1), ("b", 2)] {
        assert_eq!(lobby.append("hi", Some(key)).await.expect("a receipt").seq, seq);
    }
    // A copy is all that is left of its record.
    lobby.change("zoe", 1, delete()).await.expect("a deletion");
    let store = aging(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    begins_at(&lobby, 4).await;
    assert!(lobby.entries().await.is_empty());
    let other = Opened::open(&node_of(&servers, ALONE).await, "lobby", &limits).await;
    for room in [&lobby, &other] {
        for (key, seq) in [("a", 1), ("b", 2)] {
            let repeated = room.append("hi", Some(key)).await.expect("a receipt");
            assert_eq!((repeated.seq, repeated.duplicate), (seq, true));
        }
    }
    assert_eq!(other.append("hi", Some("c")).await.expect("a receipt").seq, 4);
    assert_eq!(store.stats().removed, 0);
    let of_room = subjects(&client, "chat").await.into_iter().find(|(subject, _)| subject.contains(".m."));
    // Each of the entries may have been hidden alone, and the last one too.
    let count = of_room.map_or(0, |(_, count)| count);
    assert!((4..=7).contains(&count), "{count}: a message, the deletion, 1 to 4 trims, and the last message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_about_an_old_message_goes_with_it_and_rules_stay() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = short_keys();
    let keeping = node(&servers, |_| {}).await;
    let lobby = Opened::open(&keeping, "lobby", &limits).await;
    let bob = User::new("bob", "bob").expect("a user");
    let host = |act| NewAct::new(User::new("ops", "ops").expect("a user"), act).by_host();
    let rules = RoomRules::default().with_post(PostRule::Members);
    lobby.room.govern(host(Act::Create { rules })).await.expect("an act");
    for id in ["ann", "bob"] {
        let user = User::new(id, id).expect("a user");
        lobby.room.govern(host(Act::Role { user, role: Role::Member })).await.expect("an act");
    }
    for text in ["edited", "pinned", "root", "deleted", "purged"] {
        lobby.say(text).await;
    }
    lobby.change("ann", 4, edit("again")).await.expect("an edit");
    lobby.change("ann", 4, react()).await.expect("a reaction");
    lobby.change("zoe", 5, Change::Pin { on: true }).await.expect("a pin");
    let body = RawValue::from_string(r#"{"text":"in the thread"}"#.to_owned()).expect("JSON");
    let reply = NewMessage::new(bob.clone(), body).with_links(Links::default().with_thread(6));
    for _ in 0..40 {
        lobby.room.append(reply.clone()).await.expect("a reply");
    }
    lobby.change("zoe", 7, delete()).await.expect("a deletion");
    lobby
        .room
        .purge(host(Act::Purge { user: User::new("ann", "ann").expect("a user") }))
        .await
        .expect("a purge");
    let head = lobby.room.bounds().await.expect("bounds").head;
    let store = aging(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    begins_at(&lobby, head + 1).await;
    let bounds = lobby.room.bounds().await.expect("bounds");
    assert!(bounds.pins.is_empty() && bounds.has_rules, "{bounds:?}");
    for change in [edit("late"), react(), Change::Pin { on: true }, delete()] {
        assert_eq!(lobby.change("ann", 4, change).await, Err(ChangeError::NoMessage));
    }
    assert_eq!(lobby.room.append(reply).await, Err(AppendError::NoMessage));
    assert_eq!(lobby.room.thread(6, Range::newest(9)).await, Err(ThreadError::NoMessage));
    eventually("only the end of the room and its rules are left", || async {
        let left = subjects(&client, "chat").await;
        left.iter()
            .all(|(subject, count)| *count == 1 && (subject.contains(".m.") || subject.contains(".g.")))
    })
    .await;
    // The rules hold on a node that has never seen their acts.
    let other = Opened::open(&node_of(&servers, ALONE).await, "lobby", &limits).await;
    let zoe = User::new("zoe", "zoe").expect("a user");
    let body = || RawValue::from_string("{}".to_owned()).expect("JSON");
    assert!(other.room.append(NewMessage::new(zoe, body())).await.is_err());
    assert_eq!(other.room.append(NewMessage::new(bob, body())).await.expect("a receipt").seq, head + 1);
}

/// The sign of life of a node that cannot read the end of a room without entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_removed_while_a_node_of_an_earlier_version_is_there() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = short_keys();
    let earlier = {
        let client = client.clone();
        tokio::spawn(async move {
            loop {
                client.publish("chat.n.n1", "lives".into()).await.expect("a connection");
                sleep(Duration::from_millis(500)).await;
            }
        })
    };
    // Of these names, the second one is that of the node which removes old messages.
    let store = aging(&servers, |options| options.node = "n2".parse().ok()).await;
    let mut rooms = Vec::new();
    for number in 0..3 {
        let room = Opened::open(&store, &format!("room-{number}"), &limits).await;
        assert_eq!(room.say("hi").await, 1);
        rooms.push(room);
    }
    sleep(3 * AGE).await;
    for room in &rooms {
        assert_eq!(room.room.bounds().await.expect("bounds").first, 1);
    }
    earlier.abort();
    let _ended = earlier.await;
    client.publish("chat.n.n1", "leaves".into()).await.expect("a connection");
    for room in &rooms {
        begins_at(room, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_rooms_with_old_messages_is_sound_and_keeps_their_heads() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = short_keys();
    let store = aging(&servers, |_| {}).await;
    let (lobby, hall) =
        (Opened::open(&store, "lobby", &limits).await, Opened::open(&store, "hall", &limits).await);
    for text in ["1", "2", "3"] {
        lobby.say(text).await;
        hall.say(text).await;
    }
    begins_at(&lobby, 4).await;
    begins_at(&hall, 4).await;
    store.close().await.expect("a store that can be closed");
    let keeping = node(&servers, |_| {}).await;
    assert_eq!(Opened::open(&keeping, "hall", &limits).await.say("young").await, 4);
    keeping.close().await.expect("a store that can be closed");
    let options = |stream: &str| {
        Options::default().with(|options| {
            options.replicas = 1;
            options.stream = stream.to_owned();
        })
    };
    let report =
        JetStreamStore::check(&servers.addresses(), &options("chat"), |_| ()).await.expect("a report");
    assert!(report.is_sound() && report.rooms == 2 && report.messages == 1, "{report:?}");
    let mut export = Vec::new();
    JetStreamStore::export_all(&servers.addresses(), &options("chat"), &mut export).await.expect("an export");
    let (addresses, target) = (servers.addresses(), options("moved"));
    JetStreamStore::import(&addresses, &target, &*export, |_| ()).await.expect("an import");
    let keeping = node(&servers, |options| options.stream = "moved".to_owned()).await;
    let hall = Opened::open(&keeping, "hall", &limits).await;
    assert_eq!(hall.texts().await, [(4, "young".to_owned())]);
    // The ends of imported rooms are too old a moment later, and stay.
    let moved = aging(&servers, |options| options.stream = "moved".to_owned()).await;
    let moved_lobby = Opened::open(&moved, "lobby", &limits).await;
    let moved_hall = Opened::open(&moved, "hall", &limits).await;
    begins_at(&moved_hall, 5).await;
    sleep(Duration::from_secs(5)).await;
    for (room, head) in [(&moved_lobby, 3), (&moved_hall, 4)] {
        let bounds = room.room.bounds().await.expect("bounds");
        assert_eq!((bounds.first, bounds.head), (head + 1, head));
        assert_eq!(room.say("on").await, head + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_finds_no_old_messages_and_all_newer_ones() {
    let servers = Servers::start(1);
    servers.ready().await;
    let (limits, dir) = (short_keys(), TempDir::new().expect("a directory"));
    let store = node(&servers, |options| options.search_index = Some(dir.path().to_owned())).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    for text in ["pear", "plum", "pear"] {
        lobby.say(text).await;
    }
    let found = async |query: &str| {
        let search = Search::new(query, 10);
        lobby
            .room
            .search(search)
            .await
            .expect("found")
            .messages
            .iter()
            .map(|stored| stored.seq)
            .collect::<Vec<_>>()
    };
    eventually("the index answers", || async {
        let scans = store.stats().scans;
        found("pear").await == [3, 1] && store.stats().scans == scans
    })
    .await;
    let scans = store.stats().scans;
    let sweeping = aging(&servers, |_| {}).await;
    let _on_sweeping = Opened::open(&sweeping, "hall", &limits).await;
    begins_at(&lobby, 4).await;
    sweeping.close().await.expect("a store that can be closed");
    assert!(found("pear").await.is_empty());
    lobby.say("pear").await;
    assert_eq!(found("pear").await, [4]);
    assert_eq!(store.stats().scans, scans, "no search was a scan");
}
