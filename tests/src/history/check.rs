use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{History, JoinFrom, Message, Record, Violation};

/// Checks the histories of a room that retains the newest `retained` messages. All clients must have stayed until the
/// end. Returns the newest message.
///
/// # Errors
///
/// Fails with the first violation.
pub fn check(histories: &[History], retained: u64) -> Result<u64, Violation> {
    let order = order(histories)?;
    let head = order.keys().next_back().copied().unwrap_or(0);
    let mut gaps = Vec::new();
    for history in histories {
        stream(history, head, retained, &mut gaps)?;
    }
    stored_messages(histories, &order)?;
    for history in histories {
        acknowledged_messages(history, &order, &gaps)?;
    }
    Ok(head)
}

/// Returns the messages by position, as all clients together saw them.
fn order(histories: &[History]) -> Result<BTreeMap<u64, &Message>, Violation> {
    let mut order = BTreeMap::new();
    let mut first_epoch = None;
    for record in histories.iter().flat_map(|history| &history.records) {
        match record {
            Record::Received(message) if *order.entry(message.seq).or_insert(message) != message => {
                return Err(Violation::ConflictingOrder { seq: message.seq });
            }
            Record::Joined { epoch, head, .. } if *first_epoch.get_or_insert(epoch) != epoch => {
                return Err(Violation::ConflictingOrder { seq: *head });
            }
            _ => {}
        }
    }
    let mut before = 0;
    for message in order.values() {
        if message.at < before {
            return Err(Violation::TimeRunsBack { seq: message.seq });
        }
        before = message.at;
    }
    Ok(order)
}

/// Checks that one client received consecutive messages except for gaps, and collects the gaps.
fn stream(history: &History, head: u64, retained: u64, gaps: &mut Vec<(u64, u64)>) -> Result<(), Violation> {
    let user = || history.user.clone();
    // The newest message of which the client knows.
    let mut known = 0;
    let (mut next, mut is_member) = (0, false);
    for record in &history.records {
        match record {
            Record::Joined { from, head, first, recovered, .. } => {
                is_member = true;
                if *head < known {
                    return Err(Violation::HeadRunsBack { user: user(), head: *head, known });
                }
                known = *head;
                next = match from {
                    JoinFrom::Now => head + 1,
                    JoinFrom::Last(count) => (head + 1).saturating_sub(*count).max(*first),
                    JoinFrom::After(seq) => seq + 1,
                };
                let reaches = next >= *first;
                if *recovered != reaches {
                    return Err(Violation::WrongRecovered { user: user(), after: next - 1, first: *first });
                }
            }
            Record::Received(Message { seq, .. }) => match seq.cmp(&next) {
                _ if !is_member => return Err(Violation::NotAMember { user: user(), seq: *seq }),
                Ordering::Less => return Err(Violation::Repeated { user: user(), seq: *seq }),
                Ordering::Greater => {
                    return Err(Violation::MissingMessage { user: user(), expected: next, came: *seq });
                }
                Ordering::Equal => {
                    next += 1;
                    known = known.max(*seq);
                }
            },
            Record::Gap { from, to } => {
                // A message that is readable at the end was readable all the time.
                if !is_member || *from != next || to < from || to + retained > head {
                    return Err(Violation::UnjustifiedGap { user: user(), from: *from, to: *to });
                }
                gaps.push((*from, *to));
                next = to + 1;
                known = known.max(*to);
            }
            Record::Disconnected => is_member = false,
            Record::Acknowledged { seq, .. } => known = known.max(*seq),
            Record::Sent { .. } => {}
        }
    }
    if next == head + 1 { Ok(()) } else { Err(Violation::Incomplete { user: user(), next, head }) }
}

/// Checks that each message in the room was sent by its user, and is stored once.
fn stored_messages(histories: &[History], order: &BTreeMap<u64, &Message>) -> Result<(), Violation> {
    let mut sent = BTreeMap::new();
    for History { user, records } in histories {
        for record in records {
            if let Record::Sent { key, text } = record {
                sent.insert((user, key), text);
            }
        }
    }
    let mut stored = BTreeMap::new();
    for (seq, message) in order {
        let Message { user, key, text, .. } = message;
        if sent.get(&(user, key)) != Some(&text) {
            return Err(Violation::NeverSent { seq: *seq });
        }
        if stored.insert((user, key), seq).is_some() {
            return Err(Violation::StoredTwice { user: user.clone(), key: key.clone() });
        }
    }
    Ok(())
}

/// The sendings of one message.
#[derive(Default)]
struct Sending {
    times: usize,
    /// True if an acknowledgement was not a duplicate.
    is_stored: bool,
    /// The acknowledged position.
    seq: Option<u64>,
}

/// Checks that each message of one client was acknowledged, is at that position, and is in the order sent.
fn acknowledged_messages(
    history: &History,
    order: &BTreeMap<u64, &Message>,
    gaps: &[(u64, u64)],
) -> Result<(), Violation> {
    let user = || history.user.clone();
    // The keys in the order of their first sending.
    let mut keys: Vec<&String> = Vec::new();
    let mut sent: BTreeMap<&String, Sending> = BTreeMap::new();
    for record in &history.records {
        match record {
            Record::Sent { key, .. } => {
                let sending = sent.entry(key).or_insert_with(|| {
                    keys.push(key);
                    Sending::default()
                });
                sending.times += 1;
            }
            Record::Acknowledged { key, seq, duplicate } => {
                let violation = || Violation::WrongDuplicate { user: user(), key: key.clone() };
                let sending = sent.get_mut(key).ok_or_else(violation)?;
                let contradicts = if *duplicate { sending.times < 2 } else { sending.is_stored };
                sending.is_stored |= !duplicate;
                if contradicts {
                    return Err(violation());
                }
                let lost = || Violation::Lost { user: user(), key: key.clone(), seq: *seq };
                if *sending.seq.get_or_insert(*seq) != *seq {
                    return Err(lost());
                }
                let unseen = gaps.iter().any(|(from, to)| (from..=to).contains(&seq));
                match order.get(seq) {
                    Some(message) if message.user == history.user && message.key == *key => {}
                    None if unseen => {}
                    _ => return Err(lost()),
                }
            }
            _ => {}
        }
    }
    let mut before = 0;
    for key in keys {
        let Some(seq) = sent[key].seq else {
            return Err(Violation::Unacknowledged { user: user(), key: key.clone() });
        };
        if seq <= before {
            return Err(Violation::OutOfOrder { user: user(), key: key.clone() });
        }
        before = seq;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETAINED: u64 = 3;

    fn received(seq: u64) -> Record {
        let (key, text) = (format!("k{seq}"), format!("text {seq}"));
        Record::Received(Message { seq, user: "ann".to_owned(), at: 1_000 + seq, key, text })
    }

    fn sent(number: u64) -> Record {
        Record::Sent { key: format!("k{number}"), text: format!("text {number}") }
    }

    fn acknowledged(number: u64, seq: u64, duplicate: bool) -> Record {
        Record::Acknowledged { key: format!("k{number}"), seq, duplicate }
    }

    fn joined(from: JoinFrom, head: u64, recovered: bool) -> Record {
        let first = (head + 1).saturating_sub(RETAINED).max(1);
        Record::Joined { from, epoch: "e".to_owned(), head, first, recovered }
    }

    /// Returns two valid histories. The user ann sends six messages, the second of them twice. The user bob disconnects
    /// and resumes when the third message is the oldest.
    fn valid() -> [History; 2] {
        let mut ann = vec![joined(JoinFrom::Now, 0, true)];
        ann.extend([
            sent(1),
            sent(2),
            acknowledged(1, 1, false),
            received(1),
            received(2),
            Record::Disconnected,
        ]);
        ann.extend([joined(JoinFrom::After(2), 2, true), sent(2), acknowledged(2, 2, true)]);
        for number in 3..=6 {
            ann.extend([sent(number), received(number), acknowledged(number, number, false)]);
        }
        let mut bob = vec![
            joined(JoinFrom::Now, 0, true),
            received(1),
            Record::Disconnected,
            joined(JoinFrom::After(1), 5, false),
        ];
        bob.extend([Record::Gap { from: 2, to: 2 }, received(3), received(4), received(5), received(6)]);
        [History { user: "ann".to_owned(), records: ann }, History { user: "bob".to_owned(), records: bob }]
    }

    /// Returns the violation after the last record equal to `old` in history `who` is replaced.
    fn found(who: usize, old: &Record, new: &[Record]) -> Violation {
        let mut histories = valid();
        let index = histories[who].records.iter().rposition(|record| record == old).unwrap();
        histories[who].records.splice(index..=index, new.iter().cloned());
        check(&histories, RETAINED).unwrap_err()
    }

    fn with(record: &Record, change: impl FnOnce(&mut Message)) -> Record {
        let Record::Received(message) = record else { panic!("no message") };
        let mut message = message.clone();
        change(&mut message);
        Record::Received(message)
    }

    #[test]
    fn valid_histories_have_no_violation() {
        assert_eq!(check(&valid(), RETAINED), Ok(6));
        assert_eq!(check(&[], RETAINED), Ok(0));
    }

    #[test]
    fn conflicting_orders_are_found() {
        let swapped = [with(&received(4), |it| it.seq = 5), with(&received(5), |it| it.seq = 4)];
        assert!(matches!(found(1, &received(4), &swapped), Violation::ConflictingOrder { .. }));
        assert_eq!(
            found(1, &received(4), &[with(&received(4), |it| it.at = 7)]),
            Violation::ConflictingOrder { seq: 4 }
        );
        let (from, epoch) = (JoinFrom::After(1), "another".to_owned());
        let joined = joined(JoinFrom::After(1), 5, false);
        let other = Record::Joined { from, epoch, head: 5, first: 3, recovered: false };
        assert_eq!(found(1, &joined, &[other]), Violation::ConflictingOrder { seq: 5 });
    }

    #[test]
    fn a_time_that_runs_back_is_found() {
        let mut histories = valid();
        for record in histories.iter_mut().flat_map(|history| &mut history.records) {
            if *record == received(5) {
                *record = with(record, |it| it.at = 1_003);
            }
        }
        assert_eq!(check(&histories, RETAINED), Err(Violation::TimeRunsBack { seq: 5 }));
    }

    #[test]
    fn a_reordered_stream_is_found() {
        let mut histories = valid();
        let records = &mut histories[1].records;
        let last = records.len() - 1;
        records.swap(last, last - 1);
        let violation = Violation::MissingMessage { user: "bob".to_owned(), expected: 5, came: 6 };
        assert_eq!(check(&histories, RETAINED), Err(violation));
    }

    #[test]
    fn a_missing_message_is_found() {
        let user = || "bob".to_owned();
        assert_eq!(
            found(1, &received(4), &[]),
            Violation::MissingMessage { user: user(), expected: 4, came: 5 }
        );
        assert_eq!(found(1, &received(6), &[]), Violation::Incomplete { user: user(), next: 6, head: 6 });
    }

    #[test]
    fn a_join_before_a_known_message_is_found() {
        let joined = |after, head| joined(JoinFrom::After(after), head, true);
        let violation =
            |user: &str, head, known| Violation::HeadRunsBack { user: user.to_owned(), head, known };
        assert_eq!(found(0, &joined(2, 2), &[joined(2, 1)]), violation("ann", 1, 2), "received");
        let again = [received(6), Record::Disconnected, joined(5, 5)];
        assert_eq!(found(1, &received(6), &again), violation("bob", 5, 6), "received");
        let mut histories = valid();
        // The acknowledgement of the last message comes before the message.
        let records = &mut histories[0].records;
        let last = records.len() - 1;
        records.swap(last, last - 1);
        records.splice(last..last, [Record::Disconnected, joined(5, 5)]);
        assert_eq!(check(&histories, RETAINED), Err(violation("ann", 5, 6)), "acknowledged");
    }

    #[test]
    fn a_repeated_or_unexpected_message_is_found() {
        assert_eq!(
            found(1, &received(4), &[received(4), received(4)]),
            Violation::Repeated { user: "bob".to_owned(), seq: 4 }
        );
        let ann = || "ann".to_owned();
        assert_eq!(
            found(0, &Record::Disconnected, &[Record::Disconnected, received(3)]),
            Violation::NotAMember { user: ann(), seq: 3 }
        );
    }

    #[test]
    fn an_unjustified_or_wrong_gap_is_found() {
        let gap = |from, to| Record::Gap { from, to };
        for wrong in [gap(1, 2), gap(2, 3), gap(3, 3)] {
            let violation = found(1, &gap(2, 2), std::slice::from_ref(&wrong));
            let is_found = matches!(violation, Violation::UnjustifiedGap { .. } | Violation::Repeated { .. });
            assert!(is_found, "{wrong:?} is {violation:?}");
        }
        assert!(matches!(
            found(1, &received(4), &[gap(4, 4)]),
            Violation::UnjustifiedGap { from: 4, to: 4, .. }
        ));
        assert!(matches!(found(1, &gap(2, 2), &[]), Violation::MissingMessage { expected: 2, came: 3, .. }));
    }

    #[test]
    fn a_wrong_recovered_flag_is_found() {
        let (short, whole) = (joined(JoinFrom::After(1), 5, false), joined(JoinFrom::After(1), 5, true));
        assert!(matches!(found(1, &short, &[whole]), Violation::WrongRecovered { after: 1, first: 3, .. }));
    }

    #[test]
    fn a_lost_acknowledged_message_is_found() {
        let (user, key) = ("ann".to_owned(), "k6".to_owned());
        let lost = found(0, &acknowledged(6, 6, false), &[acknowledged(6, 7, false)]);
        assert_eq!(lost, Violation::Lost { user, key, seq: 7 });
        let again = [sent(6), acknowledged(6, 6, false), acknowledged(6, 5, true)];
        assert!(matches!(found(0, &acknowledged(6, 6, false), &again), Violation::Lost { seq: 5, .. }));
    }

    #[test]
    fn a_position_acknowledged_twice_is_found() {
        let violation = found(0, &acknowledged(6, 6, false), &[acknowledged(6, 5, false)]);
        assert!(matches!(violation, Violation::Lost { seq: 5, .. }));
    }

    #[test]
    fn a_message_that_was_never_sent_is_found() {
        let violation = |change: fn(&mut Message)| {
            let mut histories = valid();
            for record in histories.iter_mut().flat_map(|history| &mut history.records) {
                if *record == received(6) {
                    *record = with(record, change);
                }
            }
            check(&histories, RETAINED).unwrap_err()
        };
        assert_eq!(violation(|message| message.text = "other".to_owned()), Violation::NeverSent { seq: 6 });
        assert_eq!(violation(|message| message.key = "k9".to_owned()), Violation::NeverSent { seq: 6 });
        assert_eq!(violation(|message| message.user = "bob".to_owned()), Violation::NeverSent { seq: 6 });
        let twice = violation(|message| (message.key, message.text) = ("k5".to_owned(), "text 5".to_owned()));
        assert!(matches!(twice, Violation::StoredTwice { .. }));
    }

    #[test]
    fn a_missing_or_contradictory_acknowledgement_is_found() {
        let ack = acknowledged(6, 6, false);
        assert!(matches!(found(0, &ack, &[]), Violation::Unacknowledged { .. }));
        assert!(matches!(found(0, &ack, &[acknowledged(6, 6, true)]), Violation::WrongDuplicate { .. }));
        let twice = [sent(6), ack.clone(), ack.clone()];
        assert!(matches!(found(0, &ack, &twice), Violation::WrongDuplicate { .. }));
    }

    #[test]
    fn messages_out_of_their_writers_order_are_found() {
        let mut records = vec![joined(JoinFrom::Now, 0, true), sent(1), sent(2)];
        let swapped = |old, new| with(&received(old), |it| (it.seq, it.at) = (new, 1_000 + new));
        records.extend([swapped(2, 1), swapped(1, 2)]);
        records.extend([acknowledged(1, 2, false), acknowledged(2, 1, false)]);
        let history = History { user: "ann".to_owned(), records };
        let (user, key) = ("ann".to_owned(), "k2".to_owned());
        assert_eq!(check(&[history], RETAINED), Err(Violation::OutOfOrder { user, key }));
    }
}
