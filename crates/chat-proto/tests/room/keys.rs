use std::sync::Arc;
use std::time::Duration;

use chat_proto::{AppendError, AppendReceipt, Limits, Log, Unavailable};
use proptest::prelude::*;
use proptest::sample::select;

use crate::{EPOCH, draft, log, room};

const DAY: u64 = 24 * 60 * 60 * 1_000;

fn receipt(seq: u64, at: u64, duplicate: bool) -> AppendReceipt {
    let receipt = AppendReceipt::new(EPOCH.to_owned(), seq, at);
    if duplicate { receipt.repeated() } else { receipt }
}

#[test]
fn a_repeat_is_the_first_message_and_another_body_a_conflict() {
    let mut log = log(&Limits::default());
    let first = log.append(1, draft("ada", Some("k"), "hi")).unwrap();
    assert!(first.1.is_some());
    let (repeat, stored) = log.append(2, draft("ada", Some("k"), "hi")).unwrap();
    assert_eq!((repeat, stored), (receipt(1, 1, true), None));
    assert_eq!(log.append(3, draft("ada", Some("k"), "ho")), Err(AppendError::KeyConflict));
    assert_eq!(log.bounds().head, 1);
}

#[test]
fn a_message_without_a_key_is_never_a_repeat() {
    let mut log = log(&Limits::default());
    for seq in 1..=3 {
        assert_eq!(log.append(1, draft("ada", None, "hi")).unwrap().0.seq, seq);
    }
}

#[test]
fn a_key_is_known_after_its_message_is_forgotten() {
    let mut log = log(&Limits::default().with(|limits| limits.rooms.log_messages = 1));
    log.append(1, draft("ada", Some("k"), "hi")).unwrap();
    log.append(2, draft("ada", None, "more")).unwrap();
    assert_eq!(log.bounds().first, 2);
    assert_eq!(log.append(3, draft("ada", Some("k"), "hi")).unwrap().0.seq, 1);
}

#[test]
fn a_key_is_known_for_24_hours() {
    let mut log = log(&Limits::default());
    log.append(5, draft("ada", Some("k"), "hi")).unwrap();
    assert!(log.append(5 + DAY - 1, draft("ada", Some("k"), "hi")).unwrap().0.duplicate);
    assert_eq!(log.append(5 + DAY, draft("ada", Some("k"), "ho")).unwrap().0, receipt(2, 5 + DAY, false));
}

#[test]
fn a_clock_that_goes_back_forgets_no_key() {
    let mut log = log(&Limits::default());
    log.append(DAY, draft("ada", Some("k"), "hi")).unwrap();
    assert!(log.append(0, draft("ada", Some("k"), "hi")).unwrap().0.duplicate);
}

#[test]
fn keys_of_one_user_push_out_no_key_of_another() {
    let mut log = log(&Limits::default().with(|limits| limits.rooms.log_keys = 100));
    log.append(1, draft("ada", Some("k"), "hi")).unwrap();
    let refused = (0..1_001).filter(|n| log.append(2, draft("bob", Some(&n.to_string()), "hi")).is_err());
    assert_eq!(refused.count(), 901);
    let (again, stored) = log.append(3, draft("ada", Some("k"), "hi")).unwrap();
    assert_eq!((again, stored), (receipt(1, 1, true), None));
    assert!(log.append(3, draft("bob", Some("7"), "hi")).unwrap().0.duplicate);
    assert!(log.append(3, draft("bob", None, "hi")).is_ok());
    assert!(log.append(2 + DAY, draft("bob", Some("new"), "hi")).is_ok());
}

#[derive(Clone, Debug)]
struct Sending {
    wait: u64,
    room: usize,
    user: &'static str,
    key: Option<&'static str>,
    text: &'static str,
}

fn sending() -> impl Strategy<Value = Sending> {
    let key = proptest::option::weighted(0.9, select(vec!["a", "b", "c", "ada"]));
    let (user, text) = (select(vec!["ada", "bob"]), select(vec!["hi", "ho"]));
    (0..40_u64, 0..2_usize, user, key, text).prop_map(|(wait, room, user, key, text)| Sending {
        wait,
        room,
        user,
        key,
        text,
    })
}

/// An earlier append with a key.
#[derive(Clone, Debug)]
struct Used {
    sending: Sending,
    appended: AppendReceipt,
}

/// Returns the answer to an append with a key that stores nothing, given all earlier appends with keys in the room.
fn expected(
    used: &[Used],
    sending: &Sending,
    now: u64,
    limits: &Limits,
) -> Option<Result<AppendReceipt, AppendError>> {
    let forgotten = u128::from(now) - limits.rooms.key_window.as_millis();
    let own = used.iter().filter(|used| used.sending.user == sending.user);
    let own: Vec<_> = own.filter(|used| u128::from(used.appended.at) > forgotten).collect();
    match own.iter().find(|used| used.sending.key == sending.key) {
        Some(known) if known.sending.text == sending.text => Some(Ok(known.appended.clone().repeated())),
        Some(_) => Some(Err(AppendError::KeyConflict)),
        None if own.len() >= limits.rooms.log_keys => {
            Some(Err(Unavailable::new("the user has too many keys in this room").into()))
        }
        None => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_key_means_one_message_of_one_user_in_one_room(
        sendings in proptest::collection::vec(sending(), 0..60),
        log_keys in 1..4_usize,
        window in 1..400_u64,
    ) {
        let key_window = Duration::from_millis(window);
        let limits = Arc::new(Limits::default().with(|limits| { limits.rooms.log_keys = log_keys; limits.rooms.key_window = key_window; limits.rooms.log_messages = 3; }));
        let mut logs = ["a", "b"].map(|name| Log::new(room(name), EPOCH.to_owned(), Arc::clone(&limits)));
        let mut used = [Vec::new(), Vec::new()];
        let mut now = 1_000;
        for sending in sendings {
            now += sending.wait;
            let (log, used) = (&mut logs[sending.room], &mut used[sending.room]);
            let fresh = receipt(log.bounds().head + 1, now, false);
            let known = sending.key.and_then(|_| expected(used, &sending, now, &limits));
            let answer = log.append(now, draft(sending.user, sending.key, sending.text));
            let stores = known.is_none();
            prop_assert_eq!(answer.as_ref().is_ok_and(|(_, stored)| stored.is_some()), stores);
            prop_assert_eq!(answer.map(|(appended, _)| appended), known.unwrap_or(Ok(fresh.clone())));
            if stores && sending.key.is_some() {
                used.push(Used { sending, appended: fresh });
            }
        }
    }
}
