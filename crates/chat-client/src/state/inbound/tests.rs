use std::time::Duration;

use chat_proto::User;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;

/// Returns the state of a client of Ann that is connected.
fn connected(now: Instant) -> State {
    let mut state =
        State::new(User::from_id("ann").unwrap(), Duration::from_secs(1), Arc::default(), || u64::MAX);
    state.handle_connected(now);
    state
}

/// Carries out a command of the consumer.
fn ask(state: &mut State, request: Request, reply: &str, now: Instant) {
    let (answer, mut answered) = tokio::sync::oneshot::channel();
    let pending = PendingCommand::new(request, "".into(), Some(answer), now + Duration::from_secs(1));
    state.handle_command(1, pending);
    assert!(matches!(answered.try_recv(), Err(TryRecvError::Empty)));
    state.handle_text(reply, now, true, &mut Vec::new()).unwrap();
    answered.try_recv().unwrap().unwrap();
    state.outbox.clear();
}

fn in_lobby(now: Instant) -> State {
    let mut state = connected(now);
    ask(&mut state, Request::Join("lobby".parse().unwrap(), JoinFrom::Now), &joined("1", "lobby"), now);
    state
}

fn joined(reference: &str, room: &str) -> String {
    format!(
        r#"{{"type":"joined","ref":"{reference}","room":"{room}","epoch":"e","seq":9,"first":1,"recovered":true,"members":2}}"#
    )
}

fn read(user: &str, seq: u64) -> String {
    format!(r#"{{"type":"read","room":"lobby","user":{{"id":"{user}","name":"{user}"}},"seq":{seq}}}"#)
}

fn handle(state: &mut State, text: &str, now: Instant, has_capacity: bool) -> Vec<ClientEvent> {
    let mut events = Vec::new();
    state.handle_text(text, now, has_capacity, &mut events).unwrap();
    events
}

#[test]
fn the_marker_of_another_user_is_a_receipt() {
    let now = Instant::now();
    let mut state = in_lobby(now);
    let events = handle(&mut state, &read("bob", 7), now, true);
    assert!(
        matches!(&events[..], [ClientEvent::Receipt { user, seq: 7, .. }] if user.id() == "bob"),
        "{events:?}"
    );
    let events = handle(&mut state, &read("ann", 7), now, true);
    assert!(matches!(&events[..], [ClientEvent::Read { seq: 7, .. }]), "{events:?}");
}

#[test]
fn a_receipt_without_capacity_is_lost_and_a_marker_is_read_again() {
    let now = Instant::now();
    let mut state = in_lobby(now);
    assert!(handle(&mut state, &read("bob", 7), now, false).is_empty());
    assert_eq!(state.catch_up_due(now), None);
    assert!(handle(&mut state, &read("ann", 7), now, false).is_empty());
    assert_eq!(state.catch_up_due(now), Some(now));
    state.catch_up(now);
    assert!(state.outbox[0].contains(r#""type":"join""#), "{:?}", state.outbox);
}

#[test]
fn a_marker_of_a_followed_room_without_capacity_is_read_again() {
    let now = Instant::now();
    let mut state = connected(now);
    let reply = r#"{"type":"done","ref":"1","room":"lobby"}"#;
    ask(&mut state, Request::Follow("lobby".parse().unwrap()), reply, now);
    let events = handle(&mut state, &read("ann", 7), now, true);
    assert!(matches!(&events[..], [ClientEvent::Read { seq: 7, .. }]), "{events:?}");
    assert_eq!(state.catch_up_due(now), None);
    assert!(handle(&mut state, &read("ann", 8), now, false).is_empty());
    assert_eq!(state.catch_up_due(now), Some(now));
    state.catch_up(now);
    assert!(state.outbox[0].contains(r#""type":"rooms""#), "{:?}", state.outbox);
}

#[test]
fn clients_that_were_refused_a_resume_return_apart_or_as_advised() {
    let now = Instant::now();
    for (random, advice, wait) in [
        ((|| 0) as fn() -> u64, "", 500),
        (|| u64::MAX, "", 1_500),
        (|| 0, r#","retry_after_ms":2345"#, 2_345),
        (|| u64::MAX, r#","retry_after_ms":2345"#, 2_345),
    ] {
        let mut state = in_lobby(now);
        state.random = random;
        state.handle_lost();
        state.handle_connected(now);
        let resume: serde_json::Value = serde_json::from_str(state.outbox[0].as_str()).unwrap();
        let reference = resume["ref"].as_str().unwrap();
        let refused = format!(
            r#"{{"type":"error","ref":"{reference}","code":"unavailable","message":"","room":"lobby"{advice}}}"#
        );
        assert!(handle(&mut state, &refused, now, true).is_empty());
        let due = state.catch_up_due(now).map(|due| due - now);
        assert_eq!(due, Some(Duration::from_millis(wait)), "{advice}");
    }
}

#[test]
fn a_reply_to_one_resume_gives_the_others_more_time() {
    let start = Instant::now();
    let mut state = connected(start);
    for room in ["a", "b", "c"] {
        let reply = joined("1", room);
        ask(&mut state, Request::Join(room.parse().unwrap(), JoinFrom::Now), &reply, start);
    }
    state.handle_lost();
    state.handle_connected(start);
    let after = |millis| start + Duration::from_millis(millis);
    let resumes: Vec<serde_json::Value> =
        state.outbox.iter().map(|frame| serde_json::from_str(frame.as_str()).unwrap()).collect();
    assert_eq!(resumes.len(), 3);
    // Each is answered just before its second is over.
    for (resume, replied) in resumes.iter().zip([900, 1_800]) {
        assert!(!state.handle_time(after(replied)));
        let (reference, room) = (resume["ref"].as_str().unwrap(), resume["room"].as_str().unwrap());
        handle(&mut state, &joined(reference, room), after(replied), true);
        assert_eq!(state.deadline(), Some(after(replied + 1_000)));
    }
    assert!(!state.handle_time(after(2_799)));
    assert!(state.handle_time(after(2_800)), "a server that does not answer the last one is given up");
}

#[test]
fn a_reply_to_a_resume_gives_a_caller_no_more_time() {
    let start = Instant::now();
    let mut state = in_lobby(start);
    state.handle_lost();
    state.handle_connected(start);
    let resume: serde_json::Value = serde_json::from_str(state.outbox[0].as_str()).unwrap();
    let (answer, mut answered) = tokio::sync::oneshot::channel();
    let deadline = start + Duration::from_secs(1);
    state.handle_command(7, PendingCommand::new(Request::Ping, "".into(), Some(answer), deadline));
    let reply = joined(resume["ref"].as_str().unwrap(), "lobby");
    handle(&mut state, &reply, start + Duration::from_millis(900), true);
    assert_eq!(state.deadline(), Some(deadline));
    assert!(!state.handle_time(deadline));
    assert!(matches!(answered.try_recv(), Ok(Err(crate::Error::Timeout))));
}
