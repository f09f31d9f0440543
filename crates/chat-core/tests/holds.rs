//! Flushes of large rooms that wait for messages that come soon.

use std::time::Duration;

use chat_core::{Chat, Limits, StoredMessage, Text, User};
use chat_testkit::{Mode, Peer, Store, lobby, member, pass, seconds_until, seqs};
use serde_json::json;
use tokio::runtime::Builder;
use tokio::task::{JoinHandle, yield_now};

/// The members of the largest room whose flushes never wait.
const SMALL_ROOM: usize = 64;

/// The members of the smallest room whose flushes wait for members who write again and again.
const BUSY_ROOM: usize = 256;

/// The longest wait of a flush, in seconds.
const LIMIT: f64 = 0.002;

/// The resolution of a timer, in seconds.
const RESOLUTION: f64 = 0.001;

/// A room of a store that a test controls.
struct Room {
    store: Store,
    chat: Chat,
    /// A member that gets all events from flushes.
    reader: Peer,
    others: Vec<Peer>,
}

impl Room {
    async fn of(members: usize) -> Self {
        let (store, chat) = Store::with_chat(Limits::default());
        Self::join(members, store, chat).await
    }

    async fn large() -> Self {
        Self::of(SMALL_ROOM + 1).await
    }

    /// Returns a room in which the first member has just written. The reader has got that message, with `seq` 1.
    async fn busy(members: usize) -> Self {
        let mut room = Self::of(members).await;
        room.say(0);
        assert_eq!(seqs(&room.reader.events().await), [1]);
        room
    }

    /// Sends a message of a member.
    fn say(&self, member: usize) {
        self.others[member].say("hi");
    }

    async fn join(members: usize, store: Store, chat: Chat) -> Self {
        let mut others = Vec::new();
        for number in 1..members {
            others.push(member(&chat, &format!("user{number}")).await);
        }
        let reader = member(&chat, "reader").await;
        // The joins are over for all.
        pass(5.0).await;
        reader.taken();
        Self { store, chat, reader, others }
    }

    /// Starts a post whose append behaves like this, and waits until the store has it.
    async fn start_post(&self, mode: Mode) -> JoinHandle<()> {
        self.store.append(mode);
        let (begun, chat) = (self.store.appends(), self.chat.clone());
        let posting = tokio::spawn(async move {
            let user = User::guest("host").expect("a name");
            let _refused = chat.post(&lobby(), &user, &Text::new("hi")).await;
        });
        self.store.wait_for_appends(begun + 1).await;
        posting
    }

    /// Posts a message that is stored at once.
    async fn post(&self) {
        self.start_post(Mode::Works).await.await.expect("no panic");
    }

    /// Reports an entry as another node would, which has stored it.
    fn report(&self, seq: u64) {
        let frame = json!({"type": "message", "room": "lobby", "seq": seq}).to_string();
        self.store.sink().publish(&self.store.epoch(), &StoredMessage::new(seq, frame));
    }

    /// Returns the seconds until the reader gets this message.
    async fn seconds_until(&mut self, seq: u64) -> f64 {
        let message = async { while self.reader.event().await["seq"] != seq {} };
        seconds_until(message).await
    }
}

fn is_limit(waited: f64) -> bool {
    (LIMIT..LIMIT + 1.5 * RESOLUTION).contains(&waited)
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_the_appends_at_the_store_and_carries_all() {
    let mut room = Room::large().await;
    let writes = room.reader.flushes();
    for _ in 0..2 {
        room.start_post(Mode::Slow(Duration::from_millis(1))).await;
    }
    room.post().await;
    pass(LIMIT).await;
    assert_eq!((seqs(&room.reader.events().await), room.reader.flushes() - writes), (vec![1, 2, 3], 1));
}

#[tokio::test(start_paused = true)]
async fn an_append_that_hangs_delays_one_flush_for_the_limit() {
    let mut room = Room::large().await;
    room.start_post(Mode::Hangs).await;
    room.post().await;
    let waited = room.seconds_until(1).await;
    assert!(is_limit(waited), "{waited}");
    room.post().await;
    assert_eq!(room.seconds_until(2).await, 0.0);
    room.start_post(Mode::Slow(Duration::from_millis(1))).await;
    room.post().await;
    let waited = room.seconds_until(3).await;
    assert!(waited < LIMIT, "the flush waits for the other append only: {waited}");
}

#[tokio::test(start_paused = true)]
async fn appends_that_come_while_a_flush_waits_do_not_extend_its_wait() {
    let mut room = Room::large().await;
    room.start_post(Mode::Slow(Duration::from_millis(1))).await;
    room.post().await;
    room.start_post(Mode::Hangs).await;
    let waited = room.seconds_until(2).await;
    assert!(waited < LIMIT, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_append_ends_the_wait() {
    let mut room = Room::large().await;
    room.start_post(Mode::Waits).await;
    room.report(1);
    pass(RESOLUTION).await;
    assert!(room.reader.taken().is_empty(), "the flush waits");
    room.store.append(Mode::Fails);
    assert_eq!(room.seconds_until(1).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_append_ends_the_wait() {
    let mut room = Room::large().await;
    let posting = room.start_post(Mode::Hangs).await;
    room.report(1);
    pass(RESOLUTION).await;
    assert!(room.reader.taken().is_empty(), "the flush waits");
    posting.abort();
    assert_eq!(room.seconds_until(1).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_small_room_does_not_wait() {
    let mut room = Room::of(SMALL_ROOM).await;
    room.start_post(Mode::Hangs).await;
    room.post().await;
    assert_eq!(room.seconds_until(1).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_without_appends_at_the_store_does_not_wait() {
    let mut room = Room::large().await;
    room.post().await;
    assert_eq!(room.seconds_until(1).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_a_busy_room_waits_until_all_who_wrote_before_the_last_one_have_written_again() {
    let mut room = Room::busy(BUSY_ROOM).await;
    let writes = room.reader.flushes();
    room.say(1);
    pass(RESOLUTION).await;
    assert!(room.reader.taken().is_empty(), "the flush waits");
    room.say(0);
    assert_eq!(room.seconds_until(3).await, 0.0);
    assert_eq!(room.reader.flushes() - writes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_writer_who_is_silent_delays_one_flush_for_the_limit() {
    let mut room = Room::busy(BUSY_ROOM).await;
    room.say(1);
    let waited = room.seconds_until(2).await;
    assert!(is_limit(waited), "{waited}");
    room.say(1);
    assert_eq!(room.seconds_until(3).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_member_who_writes_alone_waits_for_nobody() {
    let mut room = Room::busy(BUSY_ROOM).await;
    for seq in 2..5 {
        room.say(0);
        assert_eq!(room.seconds_until(seq).await, 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_that_was_quiet_for_longer_than_the_limit_does_not_wait_for_writers() {
    let mut room = Room::busy(BUSY_ROOM).await;
    pass(LIMIT + RESOLUTION).await;
    room.say(1);
    assert_eq!(room.seconds_until(2).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_room_whose_flush_is_shorter_than_the_limit_does_not_wait_for_writers() {
    let mut room = Room::busy(BUSY_ROOM - 1).await;
    room.say(1);
    assert_eq!(room.seconds_until(2).await, 0.0);
}

#[test]
fn a_flush_that_is_given_up_while_it_waits_delays_no_later_one() {
    let build = || Builder::new_current_thread().enable_time().start_paused(true).build();
    let (first, second) = (build().expect("a runtime"), build().expect("a runtime"));
    let (store, chat) = Store::with_chat(Limits::default());
    // The flush waits in the runtime of this member, who was there first.
    let gone = first.block_on(member(&chat, "gone"));
    let mut room = second.block_on(Room::join(SMALL_ROOM, store, chat));
    second.block_on(room.start_post(Mode::Hangs));
    room.report(1);
    first.block_on(async {
        yield_now().await;
        pass(RESOLUTION).await;
    });
    assert!(room.reader.taken().is_empty(), "the flush waits");
    drop((first, gone));
    second.block_on(async {
        assert_eq!(room.seconds_until(1).await, 0.0);
        room.report(2);
        assert_eq!(room.seconds_until(2).await, 0.0);
    });
}
