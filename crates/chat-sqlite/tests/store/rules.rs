//! Rules of rooms, roles and restrictions on disk.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    Act, AppendError, ChangeError, Chat, Limits, NewAct, NewMessage, NoRight, PostError, PostRule, Range,
    Restrict, Restriction, Role, RoomRules, Standing, Text, User,
};
use chat_sqlite::{Options, SqliteStore};
use serde_json::value::RawValue;

use crate::support::{StoreDir, append, ignore_commits, name, open_lobby, open_lobby_with, seqs, wait_until};

fn user(id: &str) -> User {
    User::new(id, id).expect("a good name")
}

fn by_host(act: Act) -> NewAct {
    NewAct::new(user("service:ops"), act).by_host()
}

fn create(post: PostRule) -> NewAct {
    by_host(Act::Create { rules: RoomRules::default().with_post(post) })
}

fn role(id: &str, role: Role) -> NewAct {
    by_host(Act::Role { user: user(id), role })
}

fn ban(id: &str) -> NewAct {
    let restriction = Some(Restriction::new(Restrict::Ban, None));
    by_host(Act::Restrict { user: user(id), restriction, reason: None })
}

fn message(id: &str) -> NewMessage {
    NewMessage::new(user(id), RawValue::from_string(r#"{"text":"hi"}"#.to_owned()).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_holds_after_a_restart_and_a_compaction() {
    let dir = StoreDir::new();
    let store = dir.open();
    let chat: Chat = Chat::builder().store(store.clone()).build();
    chat.govern(&name("lobby"), ban("bob")).await.expect("the host");
    store.close_blocking();
    SqliteStore::compact(dir.path()).expect("compacted");
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound() && report.changes == 1, "{report:?}");
    let chat: Chat = Chat::builder().store(dir.open()).build();
    let posted = chat.post(&name("lobby"), &user("bob"), &Text::new("hi")).await;
    assert!(matches!(posted, Err(PostError::NoRight(NoRight::Forbidden))), "{posted:?}");
    assert_eq!(chat.post(&name("lobby"), &user("zoe"), &Text::new("hi")).await.expect("posted").seq, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_standing_gives_no_right_and_is_found_by_the_check() {
    let (dir, store, lobby) = open_lobby();
    lobby.govern(create(PostRule::Moderators)).await.expect("created");
    lobby.govern(role("bob", Role::Member)).await.expect("a role");
    let owner = "UPDATE standings SET standing = replace(standing, 'member', 'owner') WHERE user = 'bob'";
    assert_eq!(dir.database().execute(owner, ()).expect("damaged"), 1);
    assert!(matches!(lobby.append(message("bob")).await, Err(AppendError::Unavailable(_))));
    assert!(lobby.standing(&user("bob").key()).await.is_err());
    assert!(
        append(&lobby, "other").await.is_err_and(|error| error == AppendError::Forbidden),
        "others are judged"
    );
    store.close_blocking();
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert!(!report.problems[0].contains("bob"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_with_rules_is_not_forgotten_when_it_is_empty() {
    let dir = StoreDir::new();
    let options = Options::default().with(|options| {
        options.retain_age = Some(Duration::from_millis(1));
        options.sweep_interval = Duration::from_millis(5);
    });
    let store = dir.open_with(options);
    let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_millis(1));
    let open = |room| store.room(name(room), Arc::new(limits.clone()), ignore_commits());
    let hall = open("hall");
    hall.govern(create(PostRule::Moderators)).await.expect("created");
    hall.govern(role("bob", Role::Moderator)).await.expect("a role");
    wait_until(async || hall.bounds().await.is_ok_and(|bounds| bounds.first == 3)).await;
    drop(hall);
    // Many sweeps, after which a room without rules is forgotten.
    let other = open("other");
    append(&other, "hi").await.expect("appended");
    drop(other);
    let rooms = async || -> u64 {
        dir.database().query_row("SELECT count(*) FROM rooms", (), |row| row.get(0)).expect("a number")
    };
    wait_until(async || rooms().await == 1).await;
    let hall = open("hall");
    let rules = RoomRules::default().with_post(PostRule::Moderators);
    let standing = Standing::new(Role::Moderator, None);
    assert_eq!(hall.standing(&user("bob").key()).await, Ok((rules, standing)));
    assert_eq!(hall.append(message("bob")).await.map(|appended| appended.seq), Ok(3));
    let new = NewAct::new(user("zoe"), Act::Create { rules: RoomRules::default() });
    assert_eq!(hall.govern(new).await, Err(ChangeError::RoomExists));
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_and_messages_of_one_batch_are_judged_in_their_order() {
    let (_dir, store, lobby) = open_lobby_with(|options| options.max_batch_messages = 100);
    let sends = (0..20).map(|_| lobby.append(message("bob")));
    let first = futures_util::future::join_all(sends);
    let banned = lobby.govern(ban("bob"));
    let later = futures_util::future::join_all((0..20).map(|_| lobby.append(message("bob"))));
    let (first, banned, later) = tokio::join!(first, banned, later);
    assert!(first.iter().all(Result::is_ok));
    assert_eq!(banned.map(|receipt| receipt.seq), Ok(Some(21)));
    assert!(later.iter().all(|answer| *answer == Err(AppendError::Forbidden)), "{later:?}");
    let acts = lobby.read(Range::acts(0, 9)).await.expect("a page");
    assert_eq!(seqs(&acts.messages), [21]);
    store.close_blocking();
}
