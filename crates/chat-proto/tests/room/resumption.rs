use chat_proto::command::JoinFrom;
use chat_proto::{Gap, JoinError, LogBounds, Resumption, resume};

use crate::EPOCH;

const HEADS: std::ops::RangeInclusive<u64> = 0..=9;
const PAGE: u64 = 3;

fn bounds(head: u64, first: u64) -> LogBounds {
    LogBounds::new(EPOCH, head).with_first(first)
}

fn resumed(from: &JoinFrom, log: &LogBounds) -> Result<Resumption, JoinError> {
    resume(from, log, PAGE)
}

fn after(epoch: &str, seq: u64) -> JoinFrom {
    JoinFrom::After { epoch: epoch.to_owned(), seq }
}

fn whole(after: u64) -> Result<Resumption, JoinError> {
    Ok(Resumption { after, recovered: true, gap: None })
}

/// Returns every possible extent of a log of at most nine messages.
fn extents() -> impl Iterator<Item = LogBounds> {
    HEADS.flat_map(|head| (1..=head + 1).map(move |first| bounds(head, first)))
}

#[test]
fn a_join_without_a_position_starts_at_the_head() {
    for log in extents() {
        assert_eq!(resumed(&JoinFrom::Now, &log), whole(log.head), "{log:?}");
    }
}

#[test]
fn a_join_for_the_last_messages_gets_as_many_as_are_readable() {
    for log in extents() {
        for wanted in [0, 1, 2, 5, 9, 10, (1 << 53) - 1] {
            let readable = log.head + 1 - log.first;
            assert_eq!(
                resumed(&JoinFrom::Last(wanted), &log),
                whole(log.head - wanted.min(readable)),
                "{log:?}"
            );
        }
    }
}

#[test]
fn a_resume_within_the_log_gets_all_later_messages() {
    for log in extents() {
        for seq in log.first - 1..=log.head {
            assert_eq!(resumed(&after(EPOCH, seq), &log), whole(seq), "{log:?}");
        }
    }
}

#[test]
fn a_resume_from_the_future_is_a_bad_cursor() {
    for log in extents() {
        for seq in [log.head + 1, log.head + 2, (1 << 53) - 1] {
            assert_eq!(resumed(&after(EPOCH, seq), &log), Err(JoinError::BadCursor), "{log:?}");
        }
    }
}

#[test]
fn a_resume_from_before_the_log_gets_the_newest_messages_and_a_gap() {
    for log in extents() {
        for seq in 0..log.first - 1 {
            let resumption = resumed(&after(EPOCH, seq), &log).unwrap();
            assert!(!resumption.recovered, "{log:?}");
            assert_eq!(resumption.gap, Some(Gap { from: seq + 1, to: resumption.after }), "{log:?} {seq}");
            assert_eq!(resumption.after, newest(&log), "{log:?} {seq}");
        }
    }
}

#[test]
fn a_resume_of_another_epoch_gets_the_newest_messages_and_a_gap() {
    for log in extents() {
        for seq in [0, 1, log.head, log.head + 1, (1 << 53) - 1] {
            let resumption = resumed(&after("gone", seq), &log).unwrap();
            let missing = newest(&log);
            let gap = (missing > 0).then_some(Gap { from: 1, to: missing });
            assert_eq!(resumption, Resumption { after: missing, recovered: false, gap }, "{log:?}");
        }
    }
}

/// The last message that is not among the newest page of what is readable.
fn newest(log: &LogBounds) -> u64 {
    let readable = log.head + 1 - log.first;
    log.head - readable.min(PAGE)
}
