//! Exports, and the stores that are imported from them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    Act, Change, JoinRule, Links, NewAct, NewChange, Restrict, Restriction, Role, Room, RoomName, RoomRules,
    Search, Store, User, UserKey,
};
use chat_sqlite::{ImportError, Imported, OpenError, Options, ReadExportError, SqliteStore};
use proptest::prelude::*;
use serde_json::Value;

use crate::changes::{delete, edit, entries, known, react};
use crate::support::disk::Disk;
use crate::support::{
    StoreDir, append_all, append_with_key, draft, guest, name, open_lobby, room, seqs, wait_until,
};

const ROOMS: [&str; 3] = ["lobby", "secret", "로비"];

/// A step of a history. The numbers choose a room, a user, and an entry.
type Step = (u8, usize, usize, u64);

fn user(n: usize) -> User {
    if n.is_multiple_of(2) { known(&format!("u{n}")) } else { guest(&format!("ann{n}")) }
}

async fn run(store: &SqliteStore, (what, room_number, user_number, seq): Step) {
    let (place, by) = (room(store, ROOMS[room_number % ROOMS.len()]), user(user_number));
    let boss = |change| NewChange::new(known("boss"), seq, change).with_role(Role::Moderator);
    let act = |act| NewAct::new(known("ops"), act).by_host();
    // Most steps may be refused: the entry does not exist, or the user has no right.
    let _refused = match what {
        0..4 => {
            let key = (what > 1).then(|| format!("k{seq}"));
            place.append(draft(&by, key.as_deref(), &format!("  w{seq} \u{2028}"))).await.is_ok()
        }
        4..6 => {
            let links = Links::default().with_thread(seq).with_reply_to(seq);
            place.append(draft(&by, None, "reply").with_links(links)).await.is_ok()
        }
        6 => place.change(edit(&by, seq, "edited").with_key(Some(format!("e{seq}")))).await.is_ok(),
        7 => place.change(delete(&by, seq)).await.is_ok(),
        8..11 => place.change(react(&by, seq, ["+1", "heart"][user_number % 2], what != 10)).await.is_ok(),
        11 => place.change(boss(Change::Pin { on: seq.is_multiple_of(3) })).await.is_ok(),
        12 => {
            let rules = RoomRules::default().with_join(JoinRule::Members).with_title("Our room".to_owned());
            place.govern(act(Act::Create { rules })).await.is_ok()
        }
        13 => place.govern(act(Act::Role { user: known("u0"), role: Role::Moderator })).await.is_ok(),
        14 => {
            let restriction = Some(Restriction::new(Restrict::Mute, Some(seq)));
            let reason = Some("spam".to_owned());
            place.govern(act(Act::Restrict { user: by, restriction, reason })).await.is_ok()
        }
        15..17 => place.mark(&by.key(), seq).await.is_ok(),
        17 => place.purge(act(Act::Purge { user: by })).await.is_ok(),
        _ => store
            .follow(&by.key(), &name(ROOMS[room_number % ROOMS.len()]), seq.is_multiple_of(2), 9)
            .await
            .is_ok(),
    };
}

fn export(dir: &StoreDir) -> Vec<u8> {
    let mut lines = Vec::new();
    SqliteStore::export_all(dir.path(), &mut lines).expect("exported");
    lines
}

fn import(lines: &[u8]) -> (StoreDir, Imported) {
    let dir = StoreDir::new();
    let imported = SqliteStore::import(dir.path(), lines, |_| ()).expect("imported");
    (dir, imported)
}

fn lines(text: &[u8]) -> Vec<Value> {
    let lines = str::from_utf8(text).expect("UTF-8").lines();
    lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The answers of a store about its rooms.
async fn content(store: &SqliteStore) -> Vec<Value> {
    let mut content = Vec::new();
    for place in ROOMS {
        let place = room(store, place);
        content.extend(entries(&place).await);
        let bounds = place.bounds().await.expect("bounds");
        content.push(serde_json::json!([bounds.head, bounds.first, bounds.pins, bounds.has_rules]));
        for n in 0..4 {
            let (key, of_user) = (user(n).key(), user(n).key());
            let unread = place.unread(&key, u64::MAX).await.expect("counted");
            let standing = place.standing(&of_user).await.expect("a standing");
            content.push(serde_json::json!([
                unread.read,
                unread.unread,
                unread.mentions,
                format!("{standing:?}")
            ]));
        }
    }
    for n in 0..4 {
        let rooms = store.followed(&user(n).key()).await.expect("followed");
        content.push(rooms.iter().map(ToString::to_string).collect());
    }
    content
}

async fn check_history(steps: Vec<Step>, kept: Option<u64>) {
    let dir = StoreDir::new();
    let options = Options::default().with(|options| {
        options.retain_messages = kept;
        options.sweep_interval = Duration::from_millis(1);
    });
    let store = dir.open_with(options);
    for step in steps {
        run(&store, step).await;
    }
    store.close_blocking();
    let first = export(&dir);
    let (moved, _) = import(&first);
    let second = export(&moved);
    assert_eq!(String::from_utf8_lossy(&first), String::from_utf8_lossy(&second));
    let report = SqliteStore::check(moved.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
    let (old, new) = (dir.open(), moved.open());
    assert_eq!(content(&old).await, content(&new).await);
    for place in ROOMS {
        let epoch = async |store| room(store, place).bounds().await.expect("bounds").epoch;
        assert_ne!(epoch(&old).await, epoch(&new).await, "{place}");
    }
    // Both go on in the same way.
    for step in [(2, 0, 0, 7), (4, 0, 0, 1), (8, 0, 2, 1), (7, 0, 0, 1)] {
        run(&old, step).await;
        run(&new, step).await;
    }
    old.close_blocking();
    new.close_blocking();
    let report = SqliteStore::check(moved.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_imported_store_is_exported_as_it_was(
        steps in prop::collection::vec((0..19u8, 0..3usize, 0..4usize, 1..20u64), 1..120),
        kept in prop::option::of(1..20u64),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(check_history(steps, kept));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_store_knows_keys_and_is_indexed() {
    let (dir, store, lobby) = open_lobby();
    append_with_key(&lobby, "k1", "needle").await.expect("appended");
    lobby.change(edit(&guest("ann"), 1, "needle again")).await.expect_err("another connection");
    append_all(&lobby, ["hay", "hay needle"]).await;
    store.close_blocking();
    let (moved, imported) = import(&export(&dir));
    assert_eq!((imported.rooms, imported.messages, imported.lost), (1, 3, 0));
    let indexed: u64 = moved
        .index()
        .query_row("SELECT indexed FROM progress", (), |row| row.get(0))
        .expect("an index with one room");
    assert_eq!(indexed, 3);
    let store = moved.open();
    assert_eq!(store.opening(), chat_sqlite::Opening::Closed);
    let lobby = room(&store, "lobby");
    let found = lobby.search(Search::new("needle", 9)).await.expect("found");
    assert_eq!(seqs(&found.messages), [3, 1]);
    let repeated = append_with_key(&lobby, "k1", "needle").await.expect("known");
    assert_eq!((repeated.seq, repeated.duplicate), (1, true));
    assert!(append_with_key(&lobby, "k1", "another").await.is_err(), "a key of another body");
    assert_eq!(append_with_key(&lobby, "k2", "next").await.expect("appended").seq, 4);
    store.close_blocking();
}

/// A small export with a line of each type.
pub(crate) async fn small() -> Vec<u8> {
    let (dir, store, lobby) = open_lobby();
    let act = |act| NewAct::new(known("ops"), act).by_host();
    lobby.govern(act(Act::Create { rules: RoomRules::default() })).await.expect("created");
    lobby.govern(act(Act::Role { user: known("u0"), role: Role::Member })).await.expect("a role");
    append_with_key(&lobby, "k", "hi").await.expect("appended");
    lobby.change(react(&known("u0"), 3, "+1", true)).await.expect("reacted");
    lobby.mark(&UserKey::new("u0"), 3).await.expect("marked");
    store.follow(&UserKey::new("u0"), &name("elsewhere"), true, 9).await.expect("followed");
    store.close_blocking();
    export(&dir)
}

fn refused(lines: &[u8]) -> ImportError {
    let dir = StoreDir::new();
    let error = SqliteStore::import(dir.path(), lines, |_| ()).expect_err("an invalid export");
    let left: Vec<_> = fs::read_dir(dir.path())
        .expect("a directory")
        .map(|file| file.expect("a file").file_name())
        .collect();
    assert_eq!(left, ["chat.lock"], "after {error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_cut_or_altered_anywhere_is_refused() {
    let export = small().await;
    let types: Vec<_> =
        lines(&export).iter().map(|line| line["type"].as_str().expect("a type").to_owned()).collect();
    let expected =
        "export room rules standing standing settings role message changed reaction key marker follow end";
    assert_eq!(types.join(" "), expected);
    for end in (0..export.len() - 1).step_by(3) {
        refused(&export[..end]);
    }
    // The line end of the last line may be missing.
    import(&export[..export.len() - 1]);
    let before_end = export[..export.len() - 1].iter().rposition(|byte| *byte == b'\n').expect("lines");
    for at in (0..before_end).step_by(7) {
        let mut altered = export.clone();
        altered[at] ^= 1;
        refused(&altered);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_line_is_refused_with_its_number() {
    let text = r#"{"type":"export","version":1}
{"type":"room","room":"lobby","seq":4}
{"type":"message","room":"lobby","seq":1,"user":{"id":"7","name":"Ann"},"at":5,"body":{"text":"hi"},"rev":4,"edited":{"at":9}}
{"type":"message","room":"lobby","seq":2,"user":{"id":"7","name":"Ann"},"at":6,"body":{"text":"ho"},"rev":3,"replies":{"count":1,"last":3}}
{"type":"message","room":"lobby","seq":3,"user":{"id":"7","name":"Ann"},"at":7,"body":{"text":"re"},"thread":2}
{"type":"changed","room":"lobby","seq":4,"at":9,"by":{"id":"7","name":"Ann"},"target":1,"what":"edited"}
{"type":"marker","room":"lobby","user":"7","seq":4}
{"type":"room","room":"m","seq":0}
{"type":"follow","user":"7","room":"lobby"}
{"type":"end"}
"#;
    import(text.as_bytes());
    for (from, to, line, problem) in [
        (r#""version":1"#, r#""version":2"#, 1, "version 2 of the format, but this program reads version 1"),
        (r#"{"type":"export""#, r#"{"type":"room""#, 1, "the first line"),
        (r#""room":"m""#, r#""room":"lobby""#, 8, "the room lobby comes a second time"),
        (r#""room":"m""#, r#""room":"a""#, 8, "sort the rooms"),
        (r#""room":"m""#, r#""room":"M""#, 8, "a field of this `room`"),
        (r#""seq":2"#, r#""seq":3"#, 4, "its `seq` is 3, but the next entry of the room has 2"),
        (r#""lobby","seq":4}"#, r#""lobby","seq":5}"#, 7, "needs an entry 5 here: its `seq` is 5"),
        (r#""lobby","seq":4}"#, r#""lobby","seq":3}"#, 6, "its `seq` is 4"),
        (r#""at":6"#, r#""at":4"#, 4, "its `at` is earlier"),
        (r#""at":6"#, r#""at":"#, 4, "it is not a JSON object"),
        (r#""at":6,"#, "", 4, "`at`"),
        (r#""thread":2"#, r#""thread":3"#, 5, "names an entry that does not come before it"),
        (r#""thread":2"#, r#""thread":1"#, 8, "message 1 does not count the messages of its thread"),
        (r#""count":1"#, r#""count":2"#, 8, "message 2 does not count the messages of its thread"),
        (r#""target":1"#, r#""target":2"#, 8, "message 1 has a `rev`"),
        (r#""target":1"#, r#""target":4"#, 6, "names an entry that does not come before it"),
        (r#","rev":4,"edited":{"at":9}"#, "", 8, "message 1 has a `rev`"),
        (r#""edited":{"at":9}"#, r#""pinned":true"#, 8, "message 1 is pinned, but has no pin"),
        (r#""user":"7","seq":4"#, r#""user":"7","seq":5"#, 7, "names an entry"),
        (r#""type":"marker","#, r#""type":"note","#, 7, "no line of an export has this `type`"),
        (r#"{"type":"marker""#, "{\"type\":\"marker\"\u{0}", 7, "it is not a JSON object"),
        ("{\"type\":\"end\"}\n", "", 10, "incomplete"),
        ("{\"type\":\"end\"}\n", "{\"type\":\"e", 10, "ends in the middle of this line"),
        ("{\"type\":\"end\"}\n", "{\"type\":\"end\"}\n\n", 11, "has ended in the line above"),
        (
            "{\"type\":\"end\"}",
            "{\"type\":\"end\",\"crc32\":1}",
            10,
            "the checksum of the lines before it differs",
        ),
        (r#""type":"follow""#, r#""type":"end""#, 10, "has ended in the line above"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = refused(text.replacen(from, to, 1).as_bytes()).to_string();
        assert!(error.starts_with(&format!("line {line}: ")) && error.contains(problem), "{from}: {error}");
    }
    let twice = text.replace("\n{\"type\":\"room\",\"room\":\"m\"", "\n{\"type\":\"marker\",\"room\":\"lobby\",\"user\":\"7\",\"seq\":1}\n{\"type\":\"room\",\"room\":\"m\"");
    assert!(refused(twice.as_bytes()).to_string().starts_with("line 8: an earlier line"));
    let mut not_text = text.as_bytes().to_vec();
    not_text[40] = 0xff;
    assert!(matches!(refused(&not_text), ImportError::Export(ReadExportError::NotText { line: 2 })));
    let long = text.replacen("hi", &"x".repeat(17 << 20), 1);
    assert!(matches!(refused(long.as_bytes()), ImportError::Export(ReadExportError::TooLong { line: 3 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_room_has_the_users_of_its_name() {
    let text = r#"{"type":"export","version":1}
{"type":"room","room":"direct-af9cd49a3223f7ef1e80052dd6e10aec","seq":2,"governed":true}
{"type":"rules","room":"direct-af9cd49a3223f7ef1e80052dd6e10aec","join":"members","direct":[{"id":"ann","name":"Ann"},{"id":"bob","name":"Bob"}]}
{"type":"settings","room":"direct-af9cd49a3223f7ef1e80052dd6e10aec","seq":1,"at":5,"by":{"id":"ann","name":"Ann"},"created":true,"join":"members","direct":[{"id":"ann","name":"Ann"},{"id":"bob","name":"bob"}]}
{"type":"message","room":"direct-af9cd49a3223f7ef1e80052dd6e10aec","seq":2,"user":{"id":"ann","name":"Ann"},"at":5,"body":{"text":"hi"}}
{"type":"room","room":"lobby","seq":0,"governed":true}
{"type":"rules","room":"lobby","join":"members"}
{"type":"follow","user":"bob","room":"direct-af9cd49a3223f7ef1e80052dd6e10aec"}
{"type":"end"}
"#;
    let (moved, _) = import(text.as_bytes());
    let (store, pair) = (moved.open(), RoomName::direct("ann", "bob"));
    let (rules, _) = room(&store, pair.as_str()).standing(&UserKey::new("ann")).await.expect("rules");
    assert_eq!(rules.other(&UserKey::new("ann")).map(User::name), Some("Bob"));
    store.close_blocking();
    let users = r#","direct":[{"id":"ann","name":"Ann"},{"id":"bob","name":"Bob"}]"#;
    let of_others = RoomName::direct("ann", "bog");
    let expected = format!("the direct room of these users is {of_others}");
    let of_lobby = r#""room":"lobby","join":"members""#;
    for (from, to, line, problem) in [
        (users, "", 3, "has `direct`"),
        (of_lobby, &format!("{of_lobby}{users}"), 7, "has `direct`"),
        (r#""id":"bob""#, r#""id":"bog""#, 3, &expected),
        (r#""id":"bob","name":"bob""#, r#""id":"bog","name":"bob""#, 4, &expected),
        (r#""id":"bob""#, r#""id":"aaa""#, 3, "sorted by `id`"),
        (r#""name":"Bob""#, r#""name":"""#, 3, "a user has an id"),
        (users, &format!("{users},\"title\":\"We\""), 3, "`join` is `members`"),
        (r#""join":"members","direct""#, r#""join":"open","direct""#, 3, "`join` is `members`"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = refused(text.replacen(from, to, 1).as_bytes()).to_string();
        assert!(error.starts_with(&format!("line {line}: ")) && error.contains(problem), "{from}: {error}");
    }
    let without = text.lines().filter(|line| !line.contains(r#""rules""#)).collect::<Vec<_>>().join("\n");
    let error = refused(without.as_bytes()).to_string();
    assert!(error.starts_with("line 4: a direct room has a line `rules`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_room_that_is_only_restricted_is_moved() {
    let (dir, store, _) = open_lobby();
    let place = room(&store, RoomName::direct("ann", "bob").as_str());
    let restriction = Some(Restriction::new(Restrict::Ban, None));
    let act = Act::Restrict { user: known("bob"), restriction, reason: None };
    place.govern(NewAct::new(known("ops"), act).by_host()).await.expect("restricted");
    store.close_blocking();
    let (moved, _) = import(&export(&dir));
    assert_eq!(export(&moved), export(&dir));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_empty_directory_that_no_server_uses_is_filled() {
    let export = small().await;
    let (dir, store, _) = open_lobby();
    let import_again = || SqliteStore::import(dir.path(), &*export, |_| ()).expect_err("not empty");
    assert!(matches!(import_again(), ImportError::Open(OpenError::InUse(_))));
    store.close_blocking();
    assert!(matches!(import_again(), ImportError::NotEmpty { .. }));
    let other = StoreDir::new();
    fs::create_dir(other.path()).expect("a directory");
    fs::write(other.file("notes.txt"), "mine").expect("written");
    let error = SqliteStore::import(other.path(), &*export, |_| ()).expect_err("not empty");
    assert!(error.to_string().contains("notes.txt"), "{error}");
    // An import that was killed leaves this file.
    fs::rename(other.file("notes.txt"), other.file("chat.db.new")).expect("renamed");
    SqliteStore::import(other.path(), &*export, |_| ()).expect("imported");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_no_store() {
    let (dir, store, lobby) = open_lobby();
    append_all(&lobby, (0..2_000).map(|n| format!("{n} {}", "x".repeat(1_000)))).await;
    store.close_blocking();
    let export = export(&dir);
    let home = StoreDir::new();
    let disk = Disk::mount(&home.path(), "1m");
    let target = disk.path().join("store");
    let error = SqliteStore::import(&target, &*export, |_| ()).expect_err("a full disk").to_string();
    assert!(error.starts_with("line ") && error.contains("full"), "{error}");
    let left: Vec<_> =
        fs::read_dir(&target).expect("a directory").map(|file| file.expect("a file").file_name()).collect();
    assert_eq!(left, ["chat.lock"]);
    disk.remount("size=40m");
    SqliteStore::import(&target, &*export, |_| ()).expect("space again");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_damaged_stay_lost() {
    let (dir, store, lobby) = open_lobby();
    append_all(&lobby, ["a", "b", "c", "d"]).await;
    lobby.change(edit(&known("x"), 2, "no")).await.expect_err("not the author");
    store.close_blocking();
    let damage = "UPDATE messages SET sum = sum + 1 WHERE id & 7 IN (2, 3)";
    assert_eq!(dir.database().execute(damage, ()).expect("damaged"), 2);
    let first = export(&dir);
    assert_eq!(lines(&first)[3], serde_json::json!({ "type": "lost", "room": "lobby", "seq": 2, "to": 3 }));
    let (moved, imported) = import(&first);
    assert_eq!((imported.messages, imported.lost), (2, 2));
    assert_eq!(export(&moved), first);
    let report = SqliteStore::check(moved.path(), |_| ()).expect("a report");
    assert_eq!(report.missing, 2, "{report:?}");
    let store = moved.open();
    append_all(&room(&store, "lobby"), ["e"]).await;
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_rules_are_not_exported() {
    let (dir, store, lobby) = open_lobby();
    let act = |act| NewAct::new(known("ops"), act).by_host();
    lobby.govern(act(Act::Create { rules: RoomRules::default() })).await.expect("created");
    store.close_blocking();
    dir.database().execute("UPDATE rules SET sum = sum + 1", ()).expect("damaged");
    let error = SqliteStore::export_all(dir.path(), Vec::new()).expect_err("damaged rules").to_string();
    assert!(error.contains("room lobby: its rules"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_text_is_in_no_export() {
    let (dir, store, lobby) = open_lobby();
    append_with_key(&lobby, "secretkey", "secrettext").await.expect("appended");
    lobby.change(delete(&guest("ann"), 1)).await.expect("deleted");
    store.close_blocking();
    let export = String::from_utf8(export(&dir)).expect("UTF-8");
    assert!(!export.contains("secret") && export.contains("\"deleted\""), "{export}");
    let (moved, _) = import(export.as_bytes());
    let store = moved.open();
    let lobby = room(&store, "lobby");
    let repeated = append_with_key(&lobby, "secretkey", "secrettext").await.expect("known");
    assert_eq!((repeated.seq, repeated.duplicate), (1, true));
    store.close_blocking();
}

/// The example of the document is an export.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_document_is_imported_and_exported_as_it_is() {
    let document = include_str!("../../../../docs/export.md");
    let lines_of_example =
        document.lines().skip_while(|line| *line != "```jsonl").skip(1).take_while(|line| *line != "```");
    let mut example = String::new();
    for line in lines_of_example {
        if !line.starts_with(' ') && !example.is_empty() {
            example.push('\n');
        }
        example.push_str(line.trim_start());
    }
    example.push('\n');
    let (moved, imported) = import(example.as_bytes());
    assert_eq!((imported.rooms, imported.messages), (2, 4));
    let (again, _) = import(&export(&moved));
    let without_end = |text: &[u8]| {
        let mut lines = lines(text);
        assert_eq!(lines.pop().expect("an end")["type"], "end");
        lines
    };
    assert_eq!(without_end(&export(&again)), without_end(example.as_bytes()));
    assert!(SqliteStore::check(moved.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_exported_as_it_is_at_one_moment() {
    let (dir, store, lobby) = open_lobby();
    append_all(&lobby, (0..500).map(|n| n.to_string())).await;
    let writer = {
        let lobby: Arc<dyn Room> = Arc::clone(&lobby);
        tokio::spawn(async move { append_all(&lobby, (0..300).map(|n| n.to_string())).await })
    };
    wait_until(async || store.stats().appends > 520).await;
    let (_moved, imported) = import(&export(&dir));
    assert!((520..=800).contains(&imported.messages), "{imported:?}");
    writer.await.expect("no panic");
    store.close_blocking();
}
