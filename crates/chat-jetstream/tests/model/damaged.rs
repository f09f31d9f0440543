//! Records that all copies of the stream have damaged.

use bytes::Bytes;
use chat_core::{Limits, Range, Store};

use super::copy::Stored;
use super::quiet::{node, open, run, send};
use super::world::Model;
use crate::record::Record;

/// The messages of a room, each of which is alone in its record.
const MESSAGES: u64 = 1_000;

/// The messages of a page.
const PAGE: u64 = 20;

/// Damages the records of all rooms whose first entries have positions for which this is true.
fn damage(model: &Model, is_damaged: impl Fn(u64) -> bool) {
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
