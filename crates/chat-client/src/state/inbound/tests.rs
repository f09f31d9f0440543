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
