//! Records that all copies of the stream have damaged.

use std::time::Duration;

use bytes::Bytes;
use chat_core::{Change, Limits, NewChange, Range, Role, Room, Store};
use tokio::time::sleep;

use super::ages::named_node;
use super::copy::Stored;
use super::quiet::{node, open, run, send};
use super::schedule::{body, user};
use super::world::Model;
use crate::record::Record;
use crate::{JetStreamStore, Options};

/// The messages of a room, each of which is alone in its record.
const MESSAGES: u64 = 1_000;

/// The messages of a page.
const PAGE: u64 = 20;

/// The age of the messages that are removed, and the time in which that is done.
const AGE: Duration = Duration::from_secs(60);
const DONE: Duration = Duration::from_secs(70);

/// Damages the records of all rooms whose first entries have positions for which this is true.
pub(super) fn damage(model: &Model, is_damaged: impl Fn(u64) -> bool) {
    model.act(|world| {
        for server in &mut world.servers {
            for (place, Stored { subject, payload, .. }) in &mut server.copy.messages {
                let record = Record::decode(*place, payload.clone());
                if subject.contains(".m.") && record.is_ok_and(|record| is_damaged(record.first())) {
                    *payload = Bytes::from_static(b"damaged");
                }
            }
        }
    });
}

/// Returns the number of the messages of the stream whose subjects or payloads contain this.
fn count(model: &Model, part: &str) -> usize {
    model.act(|world| {
        let has = |bytes: &[u8]| bytes.windows(part.len()).any(|window| window == part.as_bytes());
        let messages = world.servers[0].copy.messages.values();
        messages.filter(|stored| has(stored.subject.as_bytes()) || has(&stored.payload)).count()
    })
}

#[test]
fn a_damaged_record_hides_no_other_one() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        for number in 1..=MESSAGES {
            assert_eq!(send(&lobby, &format!("k{number}")).await.seq, number);
        }
        // The oldest ones, and those that a search for the middle meets.
        let is_damaged = |seq: u64| seq <= 2 || (400..430).contains(&seq) || seq.is_multiple_of(7);
        damage(&model, is_damaged);
        let read_before = async |before: u64| {
            // It knows only the last record.
            let store = node(&model, 0, &limits).await;
            let lobby = open(&store, "lobby", &limits).await;
            let read = model.act(|world| world.read);
            let limit = usize::try_from(PAGE).expect("a small number");
            let page = lobby.read(Range::before(before, limit)).await.expect("a page");
            let seqs: Vec<_> = page.messages.iter().map(|stored| stored.seq).collect();
            let mut expected: Vec<_> =
                (1..before).rev().filter(|seq| !is_damaged(*seq)).take(limit).collect();
            expected.reverse();
            assert_eq!(seqs, expected, "before {before}");
            let unreadable = store.stats().unreadable;
            let read = model.act(|world| world.read) - read;
            store.close().await.expect("a store that can be closed");
            (unreadable, read)
        };
        for before in (3..=MESSAGES).step_by(83) {
            let (_, read) = read_before(before).await;
            assert!(read < 400, "{read} messages of the stream for {PAGE} before {before}");
        }
        let (unreadable, _) = read_before(30).await;
        assert!((5..=10).contains(&unreadable), "{unreadable}: 1, 2, 7, 14, 21 and 28 are left out");
        let other = open(&node(&model, 0, &limits).await, "lobby", &limits).await;
        let page = other.read(Range::entries(0, 5)).await.expect("a page");
        assert_eq!(page.messages.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [3, 4, 5, 6, 8]);
    });
}

/// Opens a node that keeps this number of messages of a room.
async fn keeping(model: &Model, retain_messages: Option<u64>) -> JetStreamStore {
    let (client, connection) = model.connect();
    let options = Options::default().with(|options| {
        (options.replicas, options.retain_messages) = (1, retain_messages);
    });
    JetStreamStore::open_on((client, connection), "the model", options).await.expect("a store")
}

/// Edits a message of a room.
async fn edit(lobby: &dyn Room, target: u64, text: &str) {
    let change = NewChange::new(user(1), target, Change::Edit { body: body(text) });
    lobby.change(change.with_role(Role::Moderator)).await.expect("an edit");
}

#[test]
fn messages_beyond_the_limit_of_a_room_are_removed_although_records_before_them_are_damaged() {
    run(|model| async move {
        let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_secs(1));
        let store = keeping(&model, None).await;
        let lobby = open(&store, "lobby", &limits).await;
        for number in 1..=600 {
            send(&lobby, &format!("k{number}")).await;
        }
        edit(&*lobby, 3, "again").await;
        store.close().await.expect("a store that can be closed");
        // The oldest ones, and those that a search for the limit meets.
        damage(&model, |seq| seq <= 2 || (500..560).contains(&seq));
        assert_eq!((count(&model, ".m."), count(&model, ".s.")), (601, 1));
        sleep(3 * limits.rooms.key_window).await;
        let lobby = open(&keeping(&model, Some(10)).await, "lobby", &limits).await;
        send(&lobby, "new").await;
        sleep(Duration::from_secs(2)).await;
        let (records, states) = (count(&model, ".m."), count(&model, ".s."));
        assert!((10..100).contains(&records) && states == 0, "{records} records and {states} states");
    });
}

#[test]
fn old_records_are_removed_although_those_at_the_boundaries_are_damaged() {
    run(|model| async move {
        let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_secs(1));
        let store = named_node(&model, None, Some(AGE)).await;
        let lobby = open(&store, "lobby", &limits).await;
        for text in ["old-1", "old-2"] {
            send(&lobby, text).await;
        }
        edit(&*lobby, 2, "old-3").await;
        sleep(AGE / 2).await;
        for text in ["young-4", "young-5"] {
            send(&lobby, text).await;
        }
        damage(&model, |seq| seq == 1 || seq == 4);
        assert_eq!((count(&model, "old-"), count(&model, "damaged")), (2, 2));
        sleep(DONE - AGE / 2).await;
        assert_eq!((count(&model, "old-"), count(&model, ".s."), count(&model, "damaged")), (0, 0, 1));
        let page = lobby.read(Range::entries(0, 9)).await.expect("a page");
        assert_eq!(page.messages.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [5]);
    });
}
