use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Flaw, From, History, Message, Record};

/// Finds what is wrong with the histories of a room that keeps the newest `kept` messages, all of whose clients have
/// stayed until the end; the newest message, if nothing is.
///
/// # Errors
///
/// The first flaw.
pub fn check(histories: &[History], kept: u64) -> Result<u64, Flaw> {
    let order = order(histories)?;
    let head = order.keys().next_back().copied().unwrap_or(0);
    let mut gaps = Vec::new();
    for history in histories {
        stream(history, head, kept, &mut gaps)?;
    }
    written(histories, &order)?;
    for history in histories {
        answered(history, &order, &gaps)?;
    }
    Ok(head)
}

/// The one order, as all together saw it.
fn order(histories: &[History]) -> Result<BTreeMap<u64, &Message>, Flaw> {
    let mut order = BTreeMap::new();
    let mut life = None;
    for record in histories.iter().flat_map(|history| &history.records) {
        match record {
            Record::Saw(message) if *order.entry(message.seq).or_insert(message) != message => {
                return Err(Flaw::TwoOrders { seq: message.seq });
            }
            Record::Joined { epoch, head, .. } if *life.get_or_insert(epoch) != epoch => {
                return Err(Flaw::TwoOrders { seq: *head });
            }
            _ => {}
        }
    }
    Ok(order)
}

/// What one client saw is a part of the order without holes, but for the gaps it was told of.
fn stream(history: &History, head: u64, kept: u64, gaps: &mut Vec<(u64, u64)>) -> Result<(), Flaw> {
    let user = || history.user.clone();
    let (mut next, mut is_member) = (0, false);
    for record in &history.records {
        match record {
            Record::Joined { from, head, first, recovered, .. } => {
                is_member = true;
                next = match from {
                    From::Now => head + 1,
                    From::Last(count) => (head + 1).saturating_sub(*count).max(*first),
                    From::After(seq) => seq + 1,
                };
                let reaches = next >= *first;
                if *recovered != reaches {
                    return Err(Flaw::Misled { user: user(), after: next - 1, first: *first });
                }
            }
            Record::Saw(Message { seq, .. }) => match seq.cmp(&next) {
                _ if !is_member => return Err(Flaw::Uninvited { user: user(), seq: *seq }),
                Ordering::Less => return Err(Flaw::Again { user: user(), seq: *seq }),
                Ordering::Greater => {
                    return Err(Flaw::Hole { user: user(), expected: next, came: *seq });
                }
                Ordering::Equal => next += 1,
            },
            Record::Gap { from, to } => {
                // Whatever the room still keeps at the end, it kept all the time.
                if !is_member || *from != next || to < from || to + kept > head {
                    return Err(Flaw::NeedlessGap { user: user(), from: *from, to: *to });
                }
                gaps.push((*from, *to));
                next = to + 1;
            }
            Record::Gone => is_member = false,
            Record::Asked { .. } | Record::Acknowledged { .. } => {}
        }
    }
    if next == head + 1 { Ok(()) } else { Err(Flaw::LeftBehind { user: user(), next, head }) }
}

/// What is in the room was written by its writers, and is there once.
fn written(histories: &[History], order: &BTreeMap<u64, &Message>) -> Result<(), Flaw> {
    let mut asked = BTreeMap::new();
    for History { user, records } in histories {
        for record in records {
            if let Record::Asked { key, text } = record {
                asked.insert((user, key), text);
            }
        }
    }
    let mut stored = BTreeMap::new();
    for (seq, message) in order {
        let Message { user, key, text, .. } = message;
        if asked.get(&(user, key)) != Some(&text) {
            return Err(Flaw::Foreign { seq: *seq });
        }
        if stored.insert((user, key), seq).is_some() {
            return Err(Flaw::StoredTwice { user: user.clone(), key: key.clone() });
        }
    }
    Ok(())
}

/// All that one client asked for was answered, is where the answers say, and stands in the order asked.
fn answered(history: &History, order: &BTreeMap<u64, &Message>, gaps: &[(u64, u64)]) -> Result<(), Flaw> {
    let user = || history.user.clone();
    // How often each key was asked, in the order of the first time, and where it is.
    let mut keys: Vec<&String> = Vec::new();
    let mut asked: BTreeMap<&String, (usize, bool, Option<u64>)> = BTreeMap::new();
    for record in &history.records {
        match record {
            Record::Asked { key, .. } => {
                let (times, ..) = asked.entry(key).or_insert_with(|| {
                    keys.push(key);
                    (0, false, None)
                });
                *times += 1;
            }
            Record::Acknowledged { key, seq, duplicate } => {
                let flaw = || Flaw::Miscalled { user: user(), key: key.clone() };
                let (times, is_new, place) = asked.get_mut(key).ok_or_else(flaw)?;
                let contradicts = if *duplicate { *times < 2 } else { *is_new };
                *is_new |= !duplicate;
                if contradicts {
                    return Err(flaw());
                }
                let lost = || Flaw::Lost { user: user(), key: key.clone(), seq: *seq };
                if *place.get_or_insert(*seq) != *seq {
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
        let Some(seq) = asked[key].2 else {
            return Err(Flaw::Unanswered { user: user(), key: key.clone() });
        };
        if seq <= before {
            return Err(Flaw::OutOfOrder { user: user(), key: key.clone() });
        }
        before = seq;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: u64 = 3;

    fn saw(seq: u64) -> Record {
        let (key, text) = (format!("k{seq}"), format!("text {seq}"));
        Record::Saw(Message { seq, user: "ann".to_owned(), at: 1_000 + seq, key, text })
    }

    fn asked(number: u64) -> Record {
        Record::Asked { key: format!("k{number}"), text: format!("text {number}") }
    }

    fn acknowledged(number: u64, seq: u64, duplicate: bool) -> Record {
        Record::Acknowledged { key: format!("k{number}"), seq, duplicate }
    }

    fn joined(from: From, head: u64, recovered: bool) -> Record {
        let first = (head + 1).saturating_sub(KEPT).max(1);
        Record::Joined { from, epoch: "e".to_owned(), head, first, recovered }
    }

    /// ann writes six messages, the second of them twice; bob goes, and comes back when the third is the oldest.
    fn sound() -> [History; 2] {
        let mut ann = vec![joined(From::Now, 0, true)];
        ann.extend([asked(1), asked(2), acknowledged(1, 1, false), saw(1), saw(2), Record::Gone]);
        ann.extend([joined(From::After(2), 2, true), asked(2), acknowledged(2, 2, true)]);
        for number in 3..=6 {
            ann.extend([asked(number), saw(number), acknowledged(number, number, false)]);
        }
        let mut bob =
            vec![joined(From::Now, 0, true), saw(1), Record::Gone, joined(From::After(1), 5, false)];
        bob.extend([Record::Gap { from: 2, to: 2 }, saw(3), saw(4), saw(5), saw(6)]);
        [History { user: "ann".to_owned(), records: ann }, History { user: "bob".to_owned(), records: bob }]
    }

    /// What is found once the record that is `old`, of the one or the other, is replaced.
    fn found(who: usize, old: &Record, new: &[Record]) -> Flaw {
        let mut histories = sound();
        let index = histories[who].records.iter().rposition(|record| record == old).unwrap();
        histories[who].records.splice(index..=index, new.iter().cloned());
        check(&histories, KEPT).unwrap_err()
    }

    fn with(record: &Record, change: impl FnOnce(&mut Message)) -> Record {
        let Record::Saw(message) = record else { panic!("no message") };
        let mut message = message.clone();
        change(&mut message);
        Record::Saw(message)
    }

    #[test]
    fn what_a_room_can_have_shown_has_no_flaw() {
        assert_eq!(check(&sound(), KEPT), Ok(6));
        assert_eq!(check(&[], KEPT), Ok(0));
    }

    #[test]
    fn another_order_is_found() {
        let swapped = [with(&saw(4), |it| it.seq = 5), with(&saw(5), |it| it.seq = 4)];
        assert!(matches!(found(1, &saw(4), &swapped), Flaw::TwoOrders { .. }));
        assert_eq!(found(1, &saw(4), &[with(&saw(4), |it| it.at = 7)]), Flaw::TwoOrders { seq: 4 });
        let (from, epoch) = (From::After(1), "another".to_owned());
        let joined = joined(From::After(1), 5, false);
        let other = Record::Joined { from, epoch, head: 5, first: 3, recovered: false };
        assert_eq!(found(1, &joined, &[other]), Flaw::TwoOrders { seq: 5 });
    }

    #[test]
    fn a_reordered_stream_is_found() {
        let mut histories = sound();
        let records = &mut histories[1].records;
        let last = records.len() - 1;
        records.swap(last, last - 1);
        let flaw = Flaw::Hole { user: "bob".to_owned(), expected: 5, came: 6 };
        assert_eq!(check(&histories, KEPT), Err(flaw));
    }

    #[test]
    fn a_hole_is_found() {
        let user = || "bob".to_owned();
        assert_eq!(found(1, &saw(4), &[]), Flaw::Hole { user: user(), expected: 4, came: 5 });
        assert_eq!(found(1, &saw(6), &[]), Flaw::LeftBehind { user: user(), next: 6, head: 6 });
    }

    #[test]
    fn what_comes_again_is_found() {
        assert_eq!(found(1, &saw(4), &[saw(4), saw(4)]), Flaw::Again { user: "bob".to_owned(), seq: 4 });
        let ann = || "ann".to_owned();
        assert_eq!(found(0, &Record::Gone, &[Record::Gone, saw(3)]), Flaw::Uninvited { user: ann(), seq: 3 });
    }

    #[test]
    fn a_gap_that_need_not_be_or_is_not_the_missing_range_is_found() {
        let gap = |from, to| Record::Gap { from, to };
        for wrong in [gap(1, 2), gap(2, 3), gap(3, 3)] {
            let flaw = found(1, &gap(2, 2), std::slice::from_ref(&wrong));
            let is_found = matches!(flaw, Flaw::NeedlessGap { .. } | Flaw::Again { .. });
            assert!(is_found, "{wrong:?} is {flaw:?}");
        }
        assert!(matches!(found(1, &saw(4), &[gap(4, 4)]), Flaw::NeedlessGap { from: 4, to: 4, .. }));
        assert!(matches!(found(1, &gap(2, 2), &[]), Flaw::Hole { expected: 2, came: 3, .. }));
    }

    #[test]
    fn a_resume_that_says_the_wrong_thing_is_found() {
        let (short, whole) = (joined(From::After(1), 5, false), joined(From::After(1), 5, true));
        assert!(matches!(found(1, &short, &[whole]), Flaw::Misled { after: 1, first: 3, .. }));
    }

    #[test]
    fn what_was_acknowledged_and_is_lost_is_found() {
        let (user, key) = ("ann".to_owned(), "k6".to_owned());
        let lost = found(0, &acknowledged(6, 6, false), &[acknowledged(6, 7, false)]);
        assert_eq!(lost, Flaw::Lost { user, key, seq: 7 });
        let again = [asked(6), acknowledged(6, 6, false), acknowledged(6, 5, true)];
        assert!(matches!(found(0, &acknowledged(6, 6, false), &again), Flaw::Lost { seq: 5, .. }));
    }

    #[test]
    fn a_place_that_is_used_twice_is_found() {
        let flaw = found(0, &acknowledged(6, 6, false), &[acknowledged(6, 5, false)]);
        assert!(matches!(flaw, Flaw::Lost { seq: 5, .. }));
    }

    #[test]
    fn a_foreign_message_is_found() {
        let flaw = |change: fn(&mut Message)| {
            let mut histories = sound();
            for record in histories.iter_mut().flat_map(|history| &mut history.records) {
                if *record == saw(6) {
                    *record = with(record, change);
                }
            }
            check(&histories, KEPT).unwrap_err()
        };
        assert_eq!(flaw(|message| message.text = "other".to_owned()), Flaw::Foreign { seq: 6 });
        assert_eq!(flaw(|message| message.key = "k9".to_owned()), Flaw::Foreign { seq: 6 });
        assert_eq!(flaw(|message| message.user = "bob".to_owned()), Flaw::Foreign { seq: 6 });
        let twice = flaw(|message| (message.key, message.text) = ("k5".to_owned(), "text 5".to_owned()));
        assert!(matches!(twice, Flaw::StoredTwice { .. }));
    }

    #[test]
    fn an_answer_that_is_missing_or_miscalled_is_found() {
        let ack = acknowledged(6, 6, false);
        assert!(matches!(found(0, &ack, &[]), Flaw::Unanswered { .. }));
        assert!(matches!(found(0, &ack, &[acknowledged(6, 6, true)]), Flaw::Miscalled { .. }));
        let twice = [asked(6), ack.clone(), ack.clone()];
        assert!(matches!(found(0, &ack, &twice), Flaw::Miscalled { .. }));
    }

    #[test]
    fn messages_that_are_not_in_their_writers_order_are_found() {
        let mut records = vec![joined(From::Now, 0, true), asked(1), asked(2)];
        records.extend([with(&saw(2), |it| it.seq = 1), with(&saw(1), |it| it.seq = 2)]);
        records.extend([acknowledged(1, 2, false), acknowledged(2, 1, false)]);
        let history = History { user: "ann".to_owned(), records };
        let (user, key) = ("ann".to_owned(), "k2".to_owned());
        assert_eq!(check(&[history], KEPT), Err(Flaw::OutOfOrder { user, key }));
    }
}
