//! The replies that contain stored messages. They equal the encoding of the whole, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat_proto::room::Joined;
use chat_proto::session::{Effect, Identified, Outcome, Session};
use chat_proto::{
    Event, Limits, LogBounds, NewMessage, Page, PresenceMode, Resumption, Rights, Role, RoomName, SearchPage,
    StoredMessage, User,
};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

/// The events of PROTOCOL.md, section 4, with each message parsed and written like every other field.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Encoded<'a> {
    History {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        room: &'a str,
        epoch: &'a str,
        messages: Vec<&'a RawValue>,
        more: bool,
    },
    Found {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        room: &'a str,
        messages: Vec<&'a RawValue>,
        more: bool,
    },
}

fn parsed(messages: &[StoredMessage]) -> Vec<&RawValue> {
    messages.iter().map(|stored| serde_json::from_slice(&stored.frame).expect("JSON")).collect()
}

/// Text with characters that JSON must escape, and characters that it may escape.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,30}", "[ -~]{0,30}", r#"["\\/{}\[\],\u{0}-\u{1f}\u{2028}]{0,20}"#, "[가-힣 🙂]{0,20}"]
}

/// A body in any spelling that a client may use.
fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        text().prop_map(|text| json!({ "text": text }).to_string()),
        text().prop_map(|text| format!("{{ \"text\" :\t{}\n}}", json!(text))),
        text().prop_map(|text| json!({"text": "hi", "more": [text, {"n": 1.5e9}, null]}).to_string()),
        Just(r#"{"text":"\uc548\u0022\ud83d\ude42\/","n":1E2}"#.to_owned()),
        Just("{}".to_owned()),
    ]
}

fn room() -> impl Strategy<Value = RoomName> {
    prop::sample::select(vec!["lobby", "로비", "team-7"]).prop_map(|name| name.parse().expect("a good name"))
}

fn messages() -> impl Strategy<Value = Vec<StoredMessage>> {
    let user = prop::sample::select(vec!["ann", "로비", r#"a"\b"#, "<i>"]);
    let message = (room(), any::<u64>(), any::<u64>(), user, proptest::option::of(text()), body());
    let message = message.prop_map(|(room, seq, at, user, key, body)| {
        let user = User::guest(user).expect("a good name");
        NewMessage::new(user, RawValue::from_string(body).expect("JSON"))
            .with_key(key)
            .into_stored(room, seq, at)
    });
    proptest::collection::vec(message, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_page_is_encoded_as_if_its_messages_were_encoded_again(
        reference in proptest::option::of(text()),
        room in room(),
        epoch in text(),
        messages in messages(),
        more in any::<bool>(),
    ) {
        let (asked, name) = (reference.as_deref(), room.clone());
        let history =
            Encoded::History { reference: asked, room: name.as_str(), epoch: &epoch, messages: parsed(&messages), more };
        let found = Encoded::Found { reference: asked, room: name.as_str(), messages: parsed(&messages), more };
        let expected = [history, found].map(|event| serde_json::to_string(&event).expect("JSON"));
        let (reference, again) = (reference.clone(), messages.clone());
        let joined = [
            Event::History { reference: reference.clone(), room: room.clone(), epoch: epoch.clone(), messages, more },
            Event::Found { reference, room, messages: again, more },
        ];
        prop_assert_eq!(joined.map(|event| String::from_utf8(event.encode().into()).expect("UTF-8")), expected);
    }
}

#[test]
fn a_page_of_0_1_or_2_messages_has_the_form_of_the_protocol() {
    let stored = |seq| StoredMessage::new(seq, format!(r#"{{"type":"message","seq":{seq}}}"#));
    for (messages, expected) in [
        (vec![], ""),
        (vec![stored(7)], r#"{"type":"message","seq":7}"#),
        (vec![stored(7), stored(8)], r#"{"type":"message","seq":7},{"type":"message","seq":8}"#),
    ] {
        let page = Page::new("e", messages.clone()).with_more(true);
        let head = r#"{"type":"history","ref":"1","room":"lobby","epoch":"e","messages":["#;
        assert_eq!(answer("history", Outcome::History(page)), format!(r#"{head}{expected}],"more":true}}"#));
        let found = SearchPage::new(messages);
        let head = r#"{"type":"found","ref":"1","room":"lobby","messages":["#;
        assert_eq!(answer("search", Outcome::Found(found)), format!(r#"{head}{expected}],"more":false}}"#));
    }
}

#[test]
fn a_log_that_returns_no_objects_of_text_is_unavailable() {
    let event = br#"{"type":"message","seq":8}"#;
    let unavailable = r#"{"type":"error","ref":"1","code":"unavailable","message":"this is not available now; a retry with the same key is safe","room":"lobby"}"#;
    let garbage: [&[u8]; 10] = [
        b"",
        b"{",
        b"}",
        b"garbage",
        b"[1,2]",
        b"null",
        br#"{"type":"message","seq":"#,
        b"\0\0\0\0\0\0\0\0",
        b"{\"type\":\"message\",\"body\":\"\xff\"}",
        // Half of a character: the other half would have to come from the next message.
        b"{\"text\":\"\xec\x95}",
    ];
    for garbage in garbage.map(Bytes::from_static) {
        for place in 0..3 {
            let mut frames = vec![Bytes::from_static(event); 2];
            frames.insert(place, garbage.clone());
            let messages: Vec<_> =
                (7..).zip(frames).map(|(seq, frame)| StoredMessage::new(seq, frame)).collect();
            let page = Page::new("e", messages.clone()).with_more(false);
            assert_eq!(answer("history", Outcome::History(page)), unavailable, "{garbage:?}");
            let found = SearchPage::new(messages);
            assert_eq!(answer("search", Outcome::Found(found)), unavailable, "{garbage:?}");
        }
    }
}

/// Returns the reply to a member of the lobby.
fn answer(command: &'static str, outcome: Outcome<()>) -> String {
    let (now, user) = (Duration::ZERO, User::guest("ann").expect("a good name"));
    let identified = Identified::new(user, "7");
    let (mut session, _) = Session::open(Arc::new(Limits::default()), identified, now);
    let mut ask = |kind: &str, outcome| {
        let text = format!(r#"{{"type":"{kind}","ref":"1","room":"lobby","query":"hi"}}"#);
        let asked = session.handle_text(now, text.into());
        assert!(matches!(asked.as_slice(), [Effect::Perform(_)]), "{asked:?}");
        session.handle_outcome(now, outcome)
    };
    let bounds = LogBounds::new("e", 9);
    let resumption = Resumption { after: 9, recovered: true, gap: None };
    let joined = Box::new(Joined {
        bounds,
        resumption,
        members: 1,
        presence: PresenceMode::Each,
        role: Role::None,
        may: Rights::default(),
        with: None,
        title: None,
        restricted: None,
    });
    ask("join", Outcome::Joined { membership: Some(()), joined, unread: None });
    match ask(command, outcome).as_slice() {
        [Effect::Reply(event)] => String::from_utf8(event.encode().into()).expect("UTF-8"),
        other => panic!("{other:?}"),
    }
}
