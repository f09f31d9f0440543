//! Opening and closing of rooms, and the host's own calls.

use std::time::Duration;

use chat_core::{
    AppendReceipt, Chat, Limits, PostError, Range, RateLimits, RoomName, Search, SearchError, Text, User,
};
use chat_testkit::{Mode, Store};
use chat_testkit::{chat, connect, guest, lobby, member, pass, seconds_until, seqs, settle};
use serde_json::{Value, json};

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.rooms.idle_timeout = Duration::from_secs(100);
        limits.connection.ping_interval = Duration::from_secs(1_000_000);
    })
}

fn user() -> User {
    User::new("42", "clock").expect("a name")
}

/// Posts a text. Returns its `seq`, or the error as text.
async fn post(chat: &Chat, room: &str, text: &str) -> Result<u64, String> {
    let room: RoomName = room.parse().expect("a room name");
    seq_of(chat.post(&room, &user(), &Text::new(text)).await)
}

fn seq_of(posted: Result<AppendReceipt, PostError>) -> Result<u64, String> {
    posted.map(|receipt| receipt.seq).map_err(|error| format!("{error:?}"))
}

fn is_unavailable(posted: Result<u64, String>) -> bool {
    posted.is_err_and(|error| error.starts_with("Unavailable"))
}

#[tokio::test(start_paused = true)]
async fn an_empty_room_in_memory_is_closed_in_time_and_starts_again() {
    let chat = chat(limits());
    let mut ann = member(&chat, "ann").await;
    let epoch = ann.join("lobby").await["epoch"].clone();
    ann.ask(json!({"type": "send", "room": "lobby", "body": {"text": "hi"}})).await;
    pass(1_000.0).await;
    assert_eq!(chat.counts().rooms, 1, "a room with a member is not closed");
    ann.ask(json!({"type": "leave", "room": "lobby"})).await;
    pass(99.0).await;
    assert_eq!(chat.counts().rooms, 1);
    assert_eq!(ann.join("lobby").await["seq"], 1);
    pass(99.0).await;
    ann.kill();
    pass(99.0).await;
    assert_eq!(chat.counts().rooms, 1, "the idle time starts when the last member leaves");
    pass(12.0).await;
    assert_eq!(chat.counts().rooms, 0);
    let mut ann = connect(&chat, "ann").await;
    let joined = ann.join("lobby").await;
    assert_eq!((&joined["seq"], &joined["first"]), (&json!(0), &json!(1)));
    assert_ne!(joined["epoch"], epoch);
}

#[tokio::test(start_paused = true)]
async fn each_empty_room_is_closed_after_its_own_idle_time() {
    let chat = chat(limits());
    for room in 0..10 {
        assert_eq!(post(&chat, &format!("room-{room}"), "hi").await, Ok(1));
        pass(30.0).await;
    }
    assert_eq!(chat.counts().rooms, 3, "the rooms of the last 110 s are open");
    pass(85.0).await;
    assert_eq!(chat.counts().rooms, 0);
}

#[tokio::test(start_paused = true)]
async fn a_post_keeps_an_empty_room_open() {
    let chat = chat(limits());
    for seq in 1..=10 {
        assert_eq!(post(&chat, "lobby", "hi").await, Ok(seq));
        pass(95.0).await;
    }
    pass(20.0).await;
    assert_eq!(chat.counts().rooms, 0);
    assert_eq!(post(&chat, "lobby", "hi").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_room_is_not_closed_while_its_log_is_in_use() {
    let (store, chat) =
        Store::with_chat(limits().with(|limits| limits.rooms.call_timeout = Duration::from_secs(500)));
    store.append(Mode::Slow(Duration::from_secs(400)));
    let posting = tokio::spawn({
        let chat = chat.clone();
        async move { post(&chat, "lobby", "slow").await }
    });
    pass(390.0).await;
    let mut ann = member(&chat, "ann").await;
    assert_eq!(posting.await.ok(), Some(Ok(1)));
    assert_eq!(seqs(&ann.events().await), [1], "it is the same room");
}

#[tokio::test(start_paused = true)]
async fn a_room_in_use_does_not_count_in_the_limit_of_idle_rooms() {
    let chat = chat(limits().with(|limits| {
        limits.rooms.max_idle = 0;
    }));
    let mut ann = member(&chat, "ann").await;
    ann.join("hall").await;
    assert_eq!(post(&chat, "attic", "hi").await, Ok(1));
    let attic: RoomName = "attic".parse().expect("a room name");
    assert_eq!(ann.join("attic").await["seq"], 1);
    let page = chat.history(&attic, Range::After { seq: 0, limit: 1 }).await;
    assert_eq!(page.map(|page| page.messages.len()), Ok(1));
    assert_eq!(chat.counts().rooms, 3);
    ann.ask(json!({"type": "leave", "room": "attic"})).await;
    assert_eq!(post(&chat, "cellar", "hi").await, Ok(1));
    assert_eq!(chat.counts().rooms, 3, "the cellar took the place of the attic");
    assert_eq!(ann.join("attic").await["seq"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_room_over_the_limit_replaces_the_one_that_was_idle_the_longest() {
    let chat = chat(limits().with(|limits| {
        limits.rooms.max_idle = 1;
    }));
    let mut ann = member(&chat, "ann").await;
    for room in ["hall", "attic"] {
        assert_eq!(post(&chat, room, "hi").await, Ok(1));
        pass(1.0).await;
    }
    assert_eq!(ann.join("cellar").await["seq"], 0);
    assert_eq!(chat.counts().rooms, 3, "the hall is closed");
    assert_eq!(post(&chat, "attic", "still there").await, Ok(2));
    assert_eq!(post(&chat, "lobby", "and so is this").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_room_without_messages_is_closed_with_its_last_member() {
    let chat = chat(limits().with(|limits| limits.rates = RateLimits::unlimited()));
    let mut ann = member(&chat, "ann").await;
    for n in 0..500 {
        ann.join(&format!("room-{n}")).await;
        ann.ask(json!({"type": "leave", "room": format!("room-{n}")})).await;
    }
    assert_eq!(chat.counts().rooms, 1);
    assert_eq!(post(&chat, "lobby", "hi").await, Ok(1));
    ann.ask(json!({"type": "leave", "room": "lobby"})).await;
    assert_eq!(chat.counts().rooms, 1, "something was");
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_in_a_limited_number_of_rooms() {
    let chat = chat(limits().with(|limits| limits.connection.max_rooms = 2));
    let mut ann = member(&chat, "ann").await;
    ann.join("hall").await;
    let refused = ann.ask(json!({"type": "join", "room": "attic"})).await;
    assert_eq!(refused["code"], "too_many_rooms");
    assert_eq!(chat.counts().rooms, 2);
    ann.join("hall").await;
    ann.ask(json!({"type": "leave", "room": "hall"})).await;
    ann.join("attic").await;
}

#[tokio::test(start_paused = true)]
async fn a_post_of_the_host_reaches_the_members_and_the_log() {
    let chat = chat(limits());
    let mut ann = member(&chat, "ann").await;
    let posted = chat.post_with_key(&lobby(), &user(), &Text::new("It is noon."), "noon").await;
    let posted = posted.expect("posted");
    let message = json!({"type": "message", "room": "lobby", "seq": 1, "user": {"id": "42", "name": "clock"},
        "at": posted.at, "key": "noon", "body": {"text": "It is noon."}});
    assert_eq!(ann.events().await, std::slice::from_ref(&message));
    ann.say("thanks");
    settle().await;
    let page = chat.history(&lobby(), Range::After { seq: 0, limit: 1 }).await;
    let page = page.expect("a page");
    assert_eq!((page.messages.len(), page.more), (1, true));
    let stored: Value = serde_json::from_slice(&page.messages[0].frame).expect("JSON");
    assert_eq!(stored, message);
    let names: Vec<_> = chat.members(&lobby()).iter().map(|user| user.name().to_owned()).collect();
    assert_eq!(names, ["ann"], "a posting host is not a member");
}

#[tokio::test(start_paused = true)]
async fn a_post_is_checked_like_a_command() {
    let chat = chat(limits().with(|limits| {
        limits.wire.max_frame_bytes = 100;
        limits.wire.max_body_bytes = 90;
    }));
    let mut ann = member(&chat, "ann").await;
    let (room, user) = (lobby(), user());
    let long = "x".repeat(91);
    let wide = "x".repeat(90);
    for (text, key, expected) in [
        ("", None, "Body(Empty)"),
        (&long, None, "Body(TooLarge)"),
        ("\u{2800}", None, "Body(Empty)"),
        ("\u{7}", None, "Body(Rule(\"`text` has a control character other than tabs and line ends\"))"),
        ("hi", Some(""), "InvalidKey"),
        ("hi", Some(&*long), "InvalidKey"),
        ("hi", Some("\u{1b}"), "InvalidKey"),
    ] {
        let text = Text::new(text);
        let posted = match key {
            Some(key) => chat.post_with_key(&room, &user, &text, key).await,
            None => chat.post(&room, &user, &text).await,
        };
        assert_eq!(seq_of(posted), Err(expected.to_owned()), "{text:?}");
    }
    let posted = chat.post(&room, &user, &Text::new(&wide)).await;
    assert!(matches!(posted, Err(PostError::TooLarge)), "the message does not fit in a frame: {posted:?}");
    let first = chat.post_with_key(&room, &user, &Text::new("hi"), "k").await;
    let again = chat.post_with_key(&room, &user, &Text::new("hi"), "k").await;
    let (first, again) = (first.expect("posted"), again.expect("posted"));
    assert_eq!((first.seq, again.seq), (1, 1));
    assert!(again.duplicate && !first.duplicate);
    let other = chat.post_with_key(&room, &user, &Text::new("other"), "k").await;
    assert!(matches!(other, Err(PostError::KeyConflict)), "{other:?}");
    assert_eq!(seqs(&ann.events().await), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_host_searches_all_that_a_room_holds() {
    let limits = Limits::default().with(|limits| limits.wire.max_batch_bytes = 300);
    let chat = Chat::builder().limits(limits).build();
    let lobby = lobby();
    for text in ["an apple", "a pear", "a plum", "a peach", "a fig"] {
        post(&chat, "lobby", text).await.expect("a post");
    }
    let search = |query: &str, before: Option<u64>| {
        let search = Search::new(query, 2).before(before);
        let found = chat.search(&lobby, search);
        async { found.await.map(|found| (found.messages.iter().map(|m| m.seq).collect(), found.more)) }
    };
    assert_eq!(search("apple", None).await, Ok((vec![1], false)), "pages behind the newest");
    assert_eq!(search("p", None).await, Ok((vec![4, 3], true)));
    assert_eq!(search("P", Some(3)).await, Ok((vec![2, 1], false)));
    assert_eq!(search("kiwi", None).await, Ok((vec![], false)));
    assert_eq!(search(" ", None).await, Err(SearchError::BadQuery));
    assert_eq!(search(&"a".repeat(257), None).await, Err(SearchError::BadQuery));
}

#[tokio::test(start_paused = true)]
async fn a_post_or_a_read_waits_for_the_log_for_a_limited_time() {
    let (store, chat) = Store::with_chat(limits());
    store.append(Mode::Hangs);
    store.read(Mode::Hangs);
    let waited = seconds_until(async {
        assert!(is_unavailable(post(&chat, "lobby", "hi").await));
        let page = chat.history(&lobby(), Range::After { seq: 0, limit: 1 }).await;
        assert!(page.is_err());
    });
    let waited = waited.await;
    assert!((10.0..10.1).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn members_lists_each_user_once_sorted_by_name() {
    let chat = chat(limits());
    let mut peers = Vec::new();
    for name in ["cid", "ann", "bob", "ann"] {
        peers.push(member(&chat, name).await);
    }
    let expected = json!([guest("ann"), guest("bob"), guest("cid")]);
    let reply = peers[0].ask(json!({"type": "members", "room": "lobby"})).await;
    assert_eq!(reply["members"], expected);
    let members: Vec<_> = chat.members(&lobby()).iter().map(|user| guest(user.name())).collect();
    assert_eq!(json!(members), expected);
    assert_eq!(peers[0].join("lobby").await["members"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_never_a_user_of_the_host() {
    let chat = chat(limits());
    let clerk = User::new("service:clerk", "Clerk").expect("a name");
    let mut guest_of_that_name = connect(&chat, "service:clerk").await;
    guest_of_that_name.join("lobby").await;
    let body = json!({"text": "stolen"});
    let send = json!({"type": "send", "room": "lobby", "key": "k", "body": body});
    assert_eq!(guest_of_that_name.ask(send).await["seq"], 1);
    let lobby = lobby();
    let posted = chat.post_with_key(&lobby, &clerk, &Text::new("ours"), "k").await;
    let posted = posted.expect("posted");
    assert_eq!((posted.seq, posted.duplicate), (2, false));
}
