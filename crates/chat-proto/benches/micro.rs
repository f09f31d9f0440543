//! Measures the cost of one command in the protocol: reading it, checking its body, appending its message, and writing
//! the reply. Run it with `just bench-micro`.
//!
//! Each row also has the number and the bytes of the allocations. Compare only figures of the same machine and hour.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat_proto::command::{self, Command, JoinFrom, Parsed};
use chat_proto::room::Joined;
use chat_proto::session::{Effect, Identified, Outcome, Session};
use chat_proto::{
    AppendReceipt, Event, Limits, Log, LogBounds, NewMessage, PresenceMode, Rate, Resumption, Rights, Role,
    RoomName, StoredMessage, Text, User,
};
use divan::{AllocProfiler, Bencher, black_box};
use serde_json::value::RawValue;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// A time in milliseconds since the Unix epoch.
const NOW: u64 = 1_700_000_000_000;

/// Messages in the log of the rows about an append.
const LOG_MESSAGES: u64 = 1_000;

fn main() {
    divan::main();
}

/// Returns a text of 128 bytes.
fn text() -> String {
    "The quick brown fox jumps over the lazy dog. ".repeat(3)[..128].to_owned()
}

fn room() -> RoomName {
    "team-7".parse().expect("a valid name")
}

fn user() -> User {
    User::new("user:4711", "Ann Lee").expect("a valid name")
}

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("valid JSON")
}

fn body() -> Box<RawValue> {
    raw(serde_json::to_string(&Text::new(text())).expect("a text is JSON"))
}

fn message() -> NewMessage {
    NewMessage::new(user(), body())
}

/// Returns the text of a `send`.
fn send(reference: Option<&str>, key: Option<&str>, body: Box<RawValue>) -> String {
    Command::Send { room: room(), key: key.map(ToOwned::to_owned), body, links: None }.encode(reference)
}

fn parse(bencher: Bencher<'_, '_>, text: &str) {
    let limits = Limits::default();
    assert!(command::parse(text.as_bytes(), &limits).command.is_ok(), "{text}");
    bencher.bench_local(|| -> Parsed { command::parse(black_box(text.as_bytes()), &limits) });
}

#[divan::bench]
fn parse_send(bencher: Bencher<'_, '_>) {
    parse(bencher, &send(None, None, body()));
}

#[divan::bench]
fn parse_send_with_ref(bencher: Bencher<'_, '_>) {
    parse(bencher, &send(Some("4711"), None, body()));
}

#[divan::bench]
fn parse_send_with_ref_and_key(bencher: Bencher<'_, '_>) {
    parse(bencher, &send(Some("4711"), Some("0f8fad5b-d9cb-469f-a165-70867728950e"), body()));
}

#[divan::bench]
fn parse_send_with_escapes(bencher: Bencher<'_, '_>) {
    let text = text().replace(' ', "\n");
    let body = raw(serde_json::to_string(&Text::new(text)).expect("a text is JSON"));
    parse(bencher, &send(Some("4711"), None, body));
}

#[divan::bench]
fn parse_join(bencher: Bencher<'_, '_>) {
    parse(bencher, r#"{"type":"join","room":"team-7","last":20,"ref":"1"}"#);
}

#[divan::bench]
fn parse_join_after(bencher: Bencher<'_, '_>) {
    parse(
        bencher,
        r#"{"type":"join","room":"team-7","after":{"epoch":"6ab1f2c3d4e5f607","seq":41},"ref":"1"}"#,
    );
}

#[divan::bench]
fn parse_room_of_letters_beyond_ascii(bencher: Bencher<'_, '_>) {
    parse(bencher, r#"{"type":"leave","room":"로비","ref":"1"}"#);
}

#[divan::bench]
fn refuse_a_key_that_occurs_twice(bencher: Bencher<'_, '_>) {
    let text = send(Some("4711"), None, body()).replace("\"ref\"", "\"type\":\"send\",\"ref\"");
    let limits = Limits::default();
    assert!(command::parse(text.as_bytes(), &limits).command.is_err(), "{text}");
    bencher.bench_local(|| -> Parsed { command::parse(black_box(text.as_bytes()), &limits) });
}

#[divan::bench]
fn encode_sent(bencher: Bencher<'_, '_>) {
    let reference = Some("4711".to_owned());
    let event = Event::Sent { reference, room: room(), seq: 123_456, at: NOW, duplicate: false };
    bencher.bench_local(|| black_box(&event).encode());
}

#[divan::bench]
fn encode_message(bencher: Bencher<'_, '_>) {
    let room = room();
    let message = message().with_key("0f8fad5b-d9cb-469f-a165-70867728950e".to_owned());
    bencher
        .with_inputs(|| (message.clone(), room.clone()))
        .bench_local_values(|(message, room)| -> StoredMessage { message.into_stored(room, 123_456, NOW) });
}

/// Appends messages to a log that is full, so that each append drops the oldest message.
fn append(bencher: Bencher<'_, '_>, key: impl Fn(u64) -> Option<String>) {
    let limits = Limits::default().with(|limits| {
        limits.rooms.log_messages = usize::try_from(LOG_MESSAGES).expect("a small number");
        limits.rooms.key_window = Duration::from_millis(LOG_MESSAGES);
    });
    let mut log = Log::new(room(), "6ab1f2c3d4e5f607".to_owned(), Arc::new(limits));
    let mut number = 0;
    let message = message();
    for _ in 0..LOG_MESSAGES {
        number += 1;
        log.append(NOW + number, message.clone().with_key(key(number))).expect("an append");
    }
    bencher
        .with_inputs(|| {
            number += 1;
            (NOW + number, message.clone().with_key(key(number)))
        })
        .bench_local_values(|(at, message)| log.append(at, message));
}

#[divan::bench]
fn append_without_key(bencher: Bencher<'_, '_>) {
    append(bencher, |_| None);
}

#[divan::bench]
fn append_with_key(bencher: Bencher<'_, '_>) {
    append(bencher, |number| Some(format!("0f8fad5b-d9cb-469f-a165-{number:012}")));
}

/// Reads a `send` in a session, and writes the reply to it.
fn send_in_session(bencher: Bencher<'_, '_>, room: &RoomName) {
    let (now, last) = (Duration::ZERO, LogBounds::new("6ab1f2c3d4e5f607", 0));
    let limits = Limits::default().with(|limits| limits.rates.connection = Rate::UNLIMITED);
    let (mut session, _) = Session::<()>::open(Arc::new(limits), Identified::new(user(), "1"), now);
    session.handle_text(now, Command::Join { room: room.clone(), from: JoinFrom::Now }.encode(None).into());
    let resumption = Resumption { after: 0, recovered: true, gap: None };
    let joined = Box::new(Joined {
        bounds: last,
        resumption,
        members: 1,
        presence: PresenceMode::Each,
        role: Role::None,
        may: Rights::default(),
        with: None,
        title: None,
        restricted: None,
    });
    session.handle_outcome(now, Outcome::Joined { membership: Some(()), joined, unread: None });
    let text =
        Command::Send { room: room.clone(), key: None, body: body(), links: None }.encode(Some("4711"));
    let (text, receipt) = (Bytes::from(text), AppendReceipt::new("6ab1f2c3d4e5f607", 123_456, NOW));
    bencher.with_inputs(|| receipt.clone()).bench_local_values(|receipt| {
        let effects = session.handle_text(now, black_box(&text).clone());
        assert!(matches!(effects[..], [Effect::Perform(_)]));
        let replies = session.handle_outcome(now, Outcome::Sent(receipt));
        let [Effect::Reply(reply)] = &replies[..] else { panic!("{replies:?}") };
        reply.encode()
    });
}

#[divan::bench]
fn send_in_a_session(bencher: Bencher<'_, '_>) {
    send_in_session(bencher, &room());
}

#[divan::bench]
fn send_in_a_session_to_a_room_beyond_ascii(bencher: Bencher<'_, '_>) {
    send_in_session(bencher, &"로비".parse().expect("a valid name"));
}

fn check_body(bencher: Bencher<'_, '_>, text: String) {
    let body = raw(serde_json::to_string(&Text::new(text)).expect("a text is JSON"));
    let limits = Limits::default();
    bencher.bench_local(|| Text::from_body(black_box(&body), &limits));
}

#[divan::bench]
fn check_body_of_128_bytes(bencher: Bencher<'_, '_>) {
    check_body(bencher, text());
}

#[divan::bench]
fn check_body_with_escapes(bencher: Bencher<'_, '_>) {
    check_body(bencher, text().replace(' ', "\n"));
}

#[divan::bench]
fn check_body_of_letters_beyond_ascii(bencher: Bencher<'_, '_>) {
    check_body(bencher, "안녕하세요 여러분 ".repeat(5));
}
