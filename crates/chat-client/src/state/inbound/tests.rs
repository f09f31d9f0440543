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
    let reply = r#"{"type":"joined","ref":"1","room":"lobby","epoch":"e","seq":9,"first":1,"recovered":true,"members":2}"#;
    ask(&mut state, Request::Join("lobby".parse().unwrap(), JoinFrom::Now), reply, now);
    state
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
