//! Exports of a stream, and the streams that are imported from them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    Act, Change, CommitSink, ExportWriter, JoinRule, Limits, Links, NewAct, NewChange, NewMessage, Range,
    RawValue, Restrict, Restriction, Role, Room, RoomRules, Store, User,
};
use chat_jetstream::{JetStreamStore, MoveError, OpenError, Options};
use chat_sqlite::SqliteStore;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::servers::{Servers, request};
use crate::support::{Opened, edit, node};

const ROOMS: [&str; 3] = ["lobby", "secret", "로비"];

/// The steps of a random history.
const STEPS: u64 = 150;

/// The random numbers of a history.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn known(id: &str) -> User {
    User::new(id, id).expect("a user")
}

fn user(number: u64) -> User {
    let id = format!("u{number}");
    if number.is_multiple_of(2) { known(&id) } else { User::guest(&id).expect("a guest") }
}

async fn open(store: &dyn Store, room: &str) -> Arc<dyn Room> {
    let sink = CommitSink::new(|_| ());
    let limits = Arc::new(Limits::default());
    store.open(&room.parse().expect("a name"), &limits, sink).await.expect("a room")
}

/// Does something. Most steps may be refused: the entry does not exist, or the user has no right.
async fn step(store: &dyn Store, random: &mut Random) -> bool {
    let name = ROOMS[usize::try_from(random.below(3)).expect("small")];
    let (room, by, seq) = (open(store, name).await, user(random.below(4)), 1 + random.below(12));
    let body = |text: String| RawValue::from_string(json!({ "text": text }).to_string()).expect("JSON");
    let message = |text: String| NewMessage::new(by.clone(), body(text));
    let boss = |change| NewChange::new(known("boss"), seq, change).with_role(Role::Moderator);
    let own = |change| NewChange::new(by.clone(), seq, change);
    let act = |act| NewAct::new(known("ops"), act).by_host();
    match random.below(20) {
        0..4 => room.append(message(format!("  w{seq} \u{2028}")).with_key(format!("k{seq}"))).await.is_ok(),
        4..7 => {
            let links = Links::default().with_thread(seq).with_reply_to(seq);
            room.append(message("reply".to_owned()).with_links(links)).await.is_ok()
        }
        7..9 => {
            let change = own(Change::Edit { body: body("edited".to_owned()) });
            room.change(change.with_key(Some(format!("e{seq}")))).await.is_ok()
        }
        9 => room.change(boss(Change::Delete { reason: Some("why".to_owned()) })).await.is_ok(),
        10..13 => {
            let reaction = ["+1", "heart"][usize::try_from(seq % 2).expect("small")].to_owned();
            room.change(own(Change::React { reaction, on: random.below(4) > 0 })).await.is_ok()
        }
        13 => room.change(boss(Change::Pin { on: random.below(3) > 0 })).await.is_ok(),
        14 => {
            let rules = RoomRules::default().with_join(JoinRule::Members).with_title("Ours".to_owned());
            room.govern(act(Act::Create { rules })).await.is_ok()
        }
        15 => room.govern(act(Act::Role { user: user(0), role: Role::Moderator })).await.is_ok(),
        16 => {
            let restriction = Some(Restriction::new(Restrict::Mute, Some(seq)));
            room.govern(act(Act::Restrict { user: user(2), restriction, reason: None })).await.is_ok()
        }
        17 => room.mark(&by.key(), seq).await.is_ok(),
        18 => store.follow(&by.key(), &name.parse().expect("a name"), seq % 4 > 0, 9).await.is_ok(),
        _ => seq == 1 && room.purge(act(Act::Purge { user: by })).await.is_ok(),
    }
}

/// Returns the answers of a store about its rooms.
async fn content(store: &dyn Store) -> Vec<Value> {
    let mut content = Vec::new();
    for name in ROOMS {
        let room = open(store, name).await;
        let page = room.read(Range::entries(0, 1_000)).await.expect("a page");
        assert!(!page.more);
        content.extend(
            page.messages.iter().map(|stored| serde_json::from_slice(&stored.frame).expect("an event")),
        );
        let bounds = room.bounds().await.expect("bounds");
        content.push(json!([bounds.head, bounds.first, bounds.pins, bounds.has_rules]));
        for seq in 1..=bounds.head {
            // A page of a thread, if the entry begins one.
            let thread = room.thread(seq, Range::after(0, 100)).await;
            let replies =
                thread.map(|page| page.messages.iter().map(|stored| stored.seq).collect::<Vec<_>>());
            content.push(json!(replies.unwrap_or_default()));
        }
        for number in 0..4 {
            let key = user(number).key();
            let unread = room.unread(&key, u64::MAX).await.expect("counted");
            let standing = format!("{:?}", room.standing(&key).await.expect("a standing"));
            content.push(json!([unread.read, unread.unread, unread.mentions, standing]));
        }
    }
    for number in 0..4 {
        let rooms = store.followed(&user(number).key()).await.expect("followed");
        content.push(rooms.iter().map(ToString::to_string).collect());
    }
    content
}

fn options(stream: &str) -> Options {
    Options::default().with(|options| (options.stream, options.replicas) = (stream.to_owned(), 1))
}

async fn export(servers: &Servers, stream: &str) -> String {
    let mut lines = Vec::new();
    let exported = JetStreamStore::export_all(&servers.addresses(), &options(stream), &mut lines).await;
    assert_eq!(exported.expect("exported").unreadable, 0);
    String::from_utf8(lines).expect("UTF-8")
}

async fn import(servers: &Servers, stream: &str, lines: &str) -> Result<u64, MoveError> {
    let addresses = servers.addresses();
    let imported = JetStreamStore::import(&addresses, &options(stream), lines.as_bytes(), |_| ()).await?;
    let report = JetStreamStore::check(&addresses, &options(stream), |_| ()).await?;
    assert!(report.is_sound() || imported.lost > 0, "{report:?}");
    Ok(imported.messages)
}

/// Returns the lines of an export without the ages of keys, and without the checksum, which they change.
fn without_ages(text: &str) -> Vec<Value> {
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in &mut lines {
        let fields = line.as_object_mut().expect("an object");
        fields.remove("age_ms");
        fields.remove("crc32");
    }
    lines
}

fn kinds(lines: &[Value]) -> BTreeSet<&str> {
    lines.iter().filter_map(|line| line["type"].as_str()).collect()
}

async fn random_history(store: &dyn Store, seed: u64) {
    let mut random = Random(seed);
    for _ in 0..STEPS {
        let _done = step(store, &mut random).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_chats_move_from_a_stream_into_another_one_and_into_a_directory() {
    let servers = Servers::start(1);
    servers.ready().await;
    let mut all = BTreeSet::new();
    for seed in 1..=6 {
        let (first, second) = (format!("a{seed}"), format!("b{seed}"));
        let old = JetStreamStore::open(&servers.addresses(), options(&first)).await.expect("a store");
        random_history(&old, seed).await;
        let exported = export(&servers, &first).await;
        let lines = without_ages(&exported);
        all.extend(kinds(&lines).into_iter().map(ToOwned::to_owned));
        import(&servers, &second, &exported).await.expect("imported");
        assert_eq!(without_ages(&export(&servers, &second).await), lines, "seed {seed}");
        let new = JetStreamStore::open(&servers.addresses(), options(&second)).await.expect("a store");
        assert_eq!(content(&old).await, content(&new).await, "seed {seed}");
        // The same step has the same result in both.
        let (mut one, mut other) = (Random(seed + 100), Random(seed + 100));
        for number in 0..40 {
            let (one, other) = (step(&old, &mut one).await, step(&new, &mut other).await);
            assert_eq!(one, other, "seed {seed}, step {number}");
        }
        let home = TempDir::new().expect("a directory");
        let dir = home.path().join("data");
        SqliteStore::import(&dir, exported.as_bytes(), |_| ()).expect("imported");
        let mut again = Vec::new();
        SqliteStore::export_all(&dir, &mut again).expect("exported");
        assert_eq!(String::from_utf8(again).expect("UTF-8"), exported, "seed {seed}");
    }
    for kind in [
        "message", "changed", "reaction", "key", "marker", "follow", "rules", "standing", "settings",
        "purged",
    ] {
        assert!(all.contains(kind), "no {kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_chats_move_from_a_directory_into_a_stream() {
    let servers = Servers::start(1);
    servers.ready().await;
    let mut all = BTreeSet::new();
    for seed in 11..=16 {
        let (stream, home) = (format!("c{seed}"), TempDir::new().expect("a directory"));
        let dir = home.path().join("data");
        let old = SqliteStore::open(&dir, Default::default()).expect("a store");
        random_history(&old, seed).await;
        let expected = content(&old).await;
        old.close_blocking();
        let mut exported = Vec::new();
        SqliteStore::export_all(&dir, &mut exported).expect("exported");
        let exported = String::from_utf8(exported).expect("UTF-8");
        let lines = without_ages(&exported);
        all.extend(kinds(&lines).into_iter().map(ToOwned::to_owned));
        import(&servers, &stream, &exported).await.expect("imported");
        assert_eq!(without_ages(&export(&servers, &stream).await), lines, "seed {seed}");
        let new = JetStreamStore::open(&servers.addresses(), options(&stream)).await.expect("a store");
        assert_eq!(content(&new).await, expected, "seed {seed}");
    }
    assert!(all.contains("purged"), "no purge");
}

/// Returns an export of these lines. `!` stands for the fields that most entries have.
fn lines(lines: &[&str]) -> String {
    let mut text = Vec::new();
    let mut writer = ExportWriter::begin(&mut text).expect("memory");
    for line in lines {
        let line = line
            .replace('!', r#""room":"a","at":1,"user":{"id":"7","name":"Ann"},"by":{"id":"7","name":"Ann"}"#);
        writer.write(&chat_proto::ExportLine::parse(&line).expect("a line")).expect("memory");
    }
    writer.finish().expect("memory");
    String::from_utf8(text).expect("UTF-8")
}

const MESSAGE: &str = r#"{"type":"message",!,"seq":1,"body":{"text":"hi"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_without_entries_and_with_lost_ones_keep_their_positions() {
    let servers = Servers::start(1);
    servers.ready().await;
    let exported = lines(&[
        r#"{"type":"room","room":"a","seq":5,"first":2}"#,
        &MESSAGE.replace(r#""seq":1"#, r#""seq":2"#),
        r#"{"type":"lost","room":"a","seq":3,"to":4}"#,
        &MESSAGE.replace(r#""seq":1"#, r#""seq":5"#),
        r#"{"type":"room","room":"b","seq":7,"first":8,"governed":true}"#,
        r#"{"type":"rules","room":"b","join":"members"}"#,
        r#"{"type":"standing","room":"b","user":"9","role":"owner"}"#,
        r#"{"type":"room","room":"c","seq":9,"first":10}"#,
    ]);
    assert_eq!(import(&servers, "chat", &exported).await.expect("imported"), 2);
    let mut again = Vec::new();
    let result = JetStreamStore::export_all(&servers.addresses(), &options("chat"), &mut again).await;
    assert_eq!(result.expect("exported").unreadable, 2);
    assert_eq!(String::from_utf8(again).expect("UTF-8"), exported);
    let store = node(&servers, |_| {}).await;
    for (room, head, first) in [("a", 5, 2), ("b", 7, 8), ("c", 9, 10)] {
        let opened = Opened::open(&store, room, &Arc::new(Limits::default())).await;
        let bounds = opened.room.bounds().await.expect("bounds");
        assert_eq!((bounds.head, bounds.first), (head, first), "{room}");
    }
    let lobby = Opened::open(&store, "c", &Arc::new(Limits::default())).await;
    assert_eq!(lobby.say("hi").await, 10);
    assert_eq!(lobby.events().await.into_keys().collect::<Vec<_>>(), [10]);
    let nothing = lines(&[]);
    assert_eq!(import(&servers, "empty", &nothing).await.expect("imported"), 0);
    assert_eq!(export(&servers, "empty").await, nothing);
    let owner = known("9");
    let governed = Opened::open(&store, "b", &Arc::new(Limits::default())).await;
    let (rules, standing) = governed.room.standing(&owner.key()).await.expect("a standing");
    assert_eq!((rules.join, standing.role), (JoinRule::Members, Role::Owner));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_contradicts_itself_leaves_no_stream() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let room = r#"{"type":"room","room":"a","seq":1}"#;
    for (text, error) in [
        (
            lines(&[room, &MESSAGE.replace(r#""seq":1"#, r#""seq":1,"rev":9"#)]),
            "line 4: message 1 has a `rev` that is not its newest change",
        ),
        (
            lines(&[room, r#"{"type":"lost","room":"a","seq":1,"to":1}"#]),
            "line 4: the last entry of the room is lost; a cluster cannot have such a room",
        ),
        (
            lines(&[r#"{"type":"room","room":"a","seq":0}"#, r#"{"type":"rules","room":"a","join":"open"}"#]),
            "line 4: a room of a cluster whose rules are set begins with a `settings` or a `role`",
        ),
    ] {
        let refused = import(&servers, "chat", &text).await.expect_err("it is refused");
        assert_eq!(refused.to_string(), error);
        let info = request(&client, "STREAM.INFO.chat", &json!({})).await.expect("an answer");
        assert_eq!(info["error"]["err_code"], 10_059, "{info}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_rooms_or_servers_is_not_replaced() {
    let servers = Servers::start(1);
    servers.ready().await;
    let exported = lines(&[r#"{"type":"room","room":"a","seq":1}"#, MESSAGE]);
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &Arc::new(Limits::default())).await;
    let refused = import(&servers, "chat", &exported).await.expect_err("a server runs");
    assert!(matches!(refused, MoveError::InUse(_)), "{refused}");
    lobby.say("hi").await;
    store.follow(&known("7").key(), &"a".parse().expect("a name"), true, 9).await.expect("followed");
    let refused = import(&servers, "chat", &exported).await.expect_err("it has a room");
    assert!(matches!(refused, MoveError::HasRooms(_)), "{refused}");
    store.close().await.expect("closed");
    let refused = import(&servers, "chat", &exported).await.expect_err("it has a room");
    assert!(matches!(refused, MoveError::HasRooms(_)), "{refused}");
    let client = servers.ready().await;
    request(&client, "STREAM.DELETE.chat", &json!({})).await.expect("removed");
    let refused = import(&servers, "chat", &exported).await.expect_err("it has users");
    assert!(matches!(refused, MoveError::HasUsers(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_interrupted_is_not_used_and_can_be_repeated() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let exported = lines(&[
        r#"{"type":"room","room":"a","seq":1}"#,
        MESSAGE,
        r#"{"type":"marker","room":"a","user":"7","seq":1}"#,
        r#"{"type":"follow","user":"7","room":"a"}"#,
    ]);
    import(&servers, "chat", &exported).await.expect("imported");
    // The state of a stream before the last step of an import.
    let info = request(&client, "STREAM.INFO.chat", &json!({})).await.expect("a stream");
    let mut config = info["config"].clone();
    config["metadata"]["chat-format"] = json!("import");
    let updated = request(&client, "STREAM.UPDATE.chat", &config).await.expect("an answer");
    assert!(updated["error"].is_null(), "{updated}");
    let refused = JetStreamStore::open(&servers.addresses(), options("chat")).await.expect_err("unfinished");
    assert!(matches!(refused, OpenError::Unfinished(_)), "{refused}");
    import(&servers, "chat", &exported).await.expect("imported again");
    assert_eq!(export(&servers, "chat").await, exported);
    JetStreamStore::open(&servers.addresses(), options("chat")).await.expect("a store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_written_to_is_exported_as_it_was_at_one_moment() {
    let servers = Servers::start(1);
    servers.ready().await;
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &Arc::new(Limits::default())).await;
    for number in 0..50 {
        lobby.say(&format!("{number}")).await;
    }
    let writes = async {
        for number in 0.. {
            lobby.change("ann", 1 + number % 50, edit("other")).await.expect("a change");
            if number % 4 == 0 {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    };
    let checks = async {
        let mut sound = 0;
        for _ in 0..30 {
            match JetStreamStore::check(&servers.addresses(), &options("chat"), |_| ()).await {
                Ok(report) => {
                    assert!(report.is_sound(), "{report:?}");
                    sound += 1;
                }
                // The machine is too slow.
                Err(MoveError::Busy(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        sound
    };
    tokio::select! {
        sound = checks => assert!(sound > 0, "the room is never at rest"),
        () = writes => {}
    }
}
