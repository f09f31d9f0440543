use chat_proto::{Limits, Log, Page, Range, StoredMessage};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{EPOCH, append, body, bytes, draft, log};

#[test]
fn an_empty_log_reads_as_nothing() {
    let log = log(&Limits::default());
    let bounds = log.bounds();
    assert_eq!((bounds.epoch.as_str(), bounds.head, bounds.first), (EPOCH, 0, 1));
    for seq in [0, 1, 2, u64::MAX] {
        for range in [Range::Before { seq, limit: 5 }, Range::After { seq, limit: 5 }] {
            let nothing = Page::new(EPOCH, Vec::new());
            assert_eq!(log.read(range), nothing, "{range:?}");
        }
    }
}

#[test]
fn a_message_is_kept_as_the_event_that_members_get() {
    let mut log = log(&Limits::default());
    let stored = log.append(1_234, draft("로비", Some("a1"), "hi")).unwrap().1.unwrap();
    let event: Value = serde_json::from_slice(&stored.frame).unwrap();
    let user = json!({"id": "로비", "name": "로비"});
    assert_eq!(
        event,
        json!({"type": "message", "room": "lobby", "seq": 1, "user": user, "at": 1_234, "key": "a1",
               "body": {"text": "hi"}})
    );
    let raw = String::from_utf8(stored.frame.to_vec()).unwrap();
    assert!(raw.contains(body("hi").get()));
    assert_eq!(log.read(Range::After { seq: 0, limit: 1 }).messages, [stored]);
}

#[test]
fn a_message_larger_than_a_page_is_a_page_of_its_own() {
    let mut log = log(&Limits::default().with(|limits| {
        limits.wire.max_batch_bytes = 10;
        limits.rooms.log_bytes = 10;
    }));
    append(&mut log, 100);
    let stored = append(&mut log, 100);
    assert_eq!(log.bounds().first, 2);
    assert_eq!(log.read(Range::After { seq: 0, limit: 9 }).messages, [stored]);
}

#[test]
fn a_page_may_have_exactly_as_many_bytes_as_a_batch() {
    let frame = append(&mut log(&Limits::default()), 10).frame.len();
    for (max_batch, messages) in [(2 * frame, 2), (2 * frame - 1, 1)] {
        let mut log = log(&Limits::default().with(|limits| limits.wire.max_batch_bytes = max_batch));
        for _ in 0..3 {
            append(&mut log, 10);
        }
        assert_eq!(log.read(Range::After { seq: 0, limit: 9 }).messages.len(), messages);
        assert_eq!(log.read(Range::Before { seq: 9, limit: 9 }).messages.len(), messages);
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    (0..40_usize, 100..4_000_usize, 0..1_500_usize).prop_map(|(log_messages, log_bytes, max_batch)| {
        Limits::default().with(|limits| {
            limits.rooms.log_messages = log_messages;
            limits.rooms.log_bytes = log_bytes;
            limits.wire.max_batch_bytes = max_batch;
        })
    })
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![4 => 0..30_usize, 1 => 0..400_usize], 0..40)
}

/// A log with messages of these sizes, and those of them that it must still hold.
fn filled(limits: &Limits, sizes: &[usize]) -> (Log, Vec<StoredMessage>) {
    let (mut log, mut kept) = (log(limits), Vec::new());
    for size in sizes {
        kept.push(append(&mut log, *size));
        while kept.len() > 1
            && (kept.len() > limits.rooms.log_messages || bytes(&kept) > limits.rooms.log_bytes)
        {
            kept.remove(0);
        }
        let bounds = log.bounds();
        assert_eq!((Some(bounds.head), bounds.first), (kept.last().map(|kept| kept.seq), kept[0].seq));
    }
    (log, kept)
}

fn check_page(page: &Page, limit: usize, max_batch: usize) {
    assert!(page.messages.len() <= limit);
    assert!(page.messages.len() <= 1 || bytes(&page.messages) <= max_batch);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_walk_the_whole_log_both_ways(limits in limits(), sizes in sizes(), limit in 1..8_usize) {
        let (log, kept) = filled(&limits, &sizes);
        let (mut forth, mut seq, mut more) = (Vec::new(), 0, true);
        while more {
            let page = log.read(Range::After { seq, limit });
            check_page(&page, limit, limits.wire.max_batch_bytes);
            let last = page.messages.last().map_or(seq, |last| last.seq);
            prop_assert!(!page.more || last > seq, "no way forward from {}", seq);
            seq = last;
            forth.extend(page.messages);
            more = page.more;
        }
        prop_assert_eq!(&forth, &kept);
        let (mut back, mut seq, mut more) = (Vec::new(), u64::MAX, true);
        while more {
            let page = log.read(Range::Before { seq, limit });
            check_page(&page, limit, limits.wire.max_batch_bytes);
            let first = page.messages.first().map_or(seq, |first| first.seq);
            prop_assert!(!page.more || first < seq, "no way back from {}", seq);
            seq = first;
            back.splice(0..0, page.messages);
            more = page.more;
        }
        prop_assert_eq!(&back, &kept);
    }

    #[test]
    fn a_page_is_the_nearest_messages_that_fit(
        limits in limits(),
        sizes in sizes(),
        limit in 0..8_usize,
        seq in prop_oneof![0..45_u64, Just(u64::MAX), Just((1 << 53) - 1)],
        back in any::<bool>(),
    ) {
        let (log, mut kept) = filled(&limits, &sizes);
        if back {
            kept.retain(|stored| stored.seq < seq);
            kept.reverse();
        } else {
            kept.retain(|stored| stored.seq > seq);
        }
        let fits = |count: &usize| *count <= 1 || bytes(&kept[..*count]) <= limits.wire.max_batch_bytes;
        let count = (0..=limit.min(kept.len())).filter(fits).max().unwrap_or(0);
        let more = count < kept.len();
        kept.truncate(count);
        if back {
            kept.reverse();
        }
        let range = if back { Range::Before { seq, limit } } else { Range::After { seq, limit } };
        prop_assert_eq!(log.read(range), Page::new(EPOCH, kept).with_more(more));
    }
}
