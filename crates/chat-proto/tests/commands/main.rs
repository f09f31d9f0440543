//! Commands as a server reads them, and the errors for invalid ones.

mod echo;
mod json;
mod links;
mod refused;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat_proto::command::{Command, JoinFrom, parse};
use chat_proto::room::Joined;
use chat_proto::session::{Effect, Identified, NotIdentified, Outcome, Session};
use chat_proto::{ErrorCode, Limits, LogBounds, PresenceMode, Range, Resumption, Rights, Role, Search, User};
use chat_proto::{JoinRule, PostRule, Restrict, Restriction, RoomRules};
use serde_json::Value;

fn command(text: &str) -> Result<Command, ErrorCode> {
    parse(text.as_bytes(), &Limits::default()).command.map_err(|invalid| invalid.code)
}

/// Returns a session that is a member of `lobby`.
fn member() -> Session<()> {
    member_within(Limits::default())
}

fn member_within(limits: Limits) -> Session<()> {
    let ada = Identified::new(User::guest("ada").expect("a good name"), "1");
    let (mut session, _) = Session::open(Arc::new(limits), ada, Duration::ZERO);
    session.handle_text(Duration::ZERO, Bytes::from_static(br#"{"type":"join","room":"lobby"}"#));
    let bounds = LogBounds::new("e", 0);
    let resumption = Resumption { after: 0, recovered: true, gap: None };
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
    session.handle_outcome(Duration::ZERO, Outcome::Joined { membership: Some(()), joined, unread: None });
    session
}

/// Returns the reply that a member gets for one text.
fn answer(text: impl AsRef<[u8]>) -> Value {
    answer_of(member(), text)
}

fn answer_of(mut session: Session<()>, text: impl AsRef<[u8]>) -> Value {
    let mut effects = session.handle_text(Duration::ZERO, Bytes::copy_from_slice(text.as_ref()));
    if let [Effect::Identify(_)] = effects.as_slice() {
        effects = session.handle_identification(Duration::ZERO, Err(NotIdentified::Unsupported));
    }
    match effects.as_slice() {
        [Effect::Reply(event)] => serde_json::from_slice(&event.encode()).expect("an event is JSON"),
        other => panic!("{other:?}"),
    }
}

fn history(fields: &str) -> Range {
    let text = format!(r#"{{"type":"history","room":"lobby"{fields}}}"#);
    match command(&text) {
        Ok(Command::History { room, range }) if room.as_str() == "lobby" => range,
        other => panic!("{fields}: {other:?}"),
    }
}

fn join(fields: &str) -> JoinFrom {
    let text = format!(r#"{{"type":"join","room":"lobby"{fields}}}"#);
    match command(&text) {
        Ok(Command::Join { room, from }) if room.as_str() == "lobby" => from,
        other => panic!("{fields}: {other:?}"),
    }
}

fn search(fields: &str) -> Search {
    let text = format!(r#"{{"type":"search","room":"lobby"{fields}}}"#);
    match command(&text) {
        Ok(Command::Search { room, search }) if room.as_str() == "lobby" => search,
        other => panic!("{fields}: {other:?}"),
    }
}

fn send(fields: &str) -> (Option<String>, String) {
    let text = format!(r#"{{"type":"send","room":"lobby"{fields}}}"#);
    match command(&text) {
        Ok(Command::Send { room, key, body, .. }) if room.as_str() == "lobby" => (key, body.get().to_owned()),
        other => panic!("{fields}: {other:?}"),
    }
}

#[test]
fn every_command_of_the_table_is_read() {
    let lobby = |room: &chat_proto::RoomName| room.as_str() == "lobby";
    let hello = r#"{"type":"hello","token":"t","name":7}"#;
    assert!(matches!(command(hello), Ok(Command::Hello { token }) if token.as_str() == "t"));
    assert!(matches!(command(r#"{"type":"ping"}"#), Ok(Command::Ping)));
    assert!(
        matches!(command(r#"{"type":"leave","room":"lobby"}"#), Ok(Command::Leave { room }) if lobby(&room))
    );
    assert!(
        matches!(command(r#"{"type":"members","room":"lobby"}"#), Ok(Command::Members { room, after: None, limit: 100 }) if lobby(&room))
    );
    let page = r#"{"type":"members","room":"lobby","after":{"id":"7","name":"Ann"},"limit":4711}"#;
    let ann = User::new("7", "Ann").expect("a good name");
    assert!(
        matches!(command(page), Ok(Command::Members { after: Some(user), limit: 1_000, .. }) if user == ann)
    );
    for active in [true, false] {
        let text = format!(r#"{{"type":"typing","room":"lobby","active":{active}}}"#);
        assert!(
            matches!(command(&text), Ok(Command::Typing { room, active: a }) if lobby(&room) && a == active)
        );
    }
    let search = r#"{"type":"search","room":"lobby","query":"*\"' OR 1","limit":5,"before":9}"#;
    assert!(matches!(command(search), Ok(Command::Search { room, .. }) if lobby(&room)));
}

#[test]
fn the_commands_about_rules_and_standings_are_read() {
    let create = r#"{"type":"create","room":"lobby","join":"members","post":"moderators","title":"Hi","receipts":true}"#;
    assert!(matches!(command(create), Ok(Command::Create { rules, .. })
        if (rules.join, rules.post, rules.title.as_deref(), rules.receipts)
            == (JoinRule::Members, PostRule::Moderators, Some("Hi"), true)));
    let plain = r#"{"type":"create","room":"lobby"}"#;
    assert!(matches!(command(plain), Ok(Command::Create { rules, .. }) if rules == RoomRules::default()));
    let role = r#"{"type":"role","room":"lobby","user":"7","role":"moderator"}"#;
    assert!(
        matches!(command(role), Ok(Command::Role { user, role: Role::Moderator, .. }) if user.id() == "7")
    );
    let mute = r#"{"type":"restrict","room":"lobby","user":"7","what":"mute","until":5,"reason":"why"}"#;
    assert!(
        matches!(command(mute), Ok(Command::Restrict { restriction: Some(restriction), reason: Some(_), .. })
        if restriction == Restriction::new(Restrict::Mute, Some(5)))
    );
    let end = r#"{"type":"restrict","room":"lobby","user":"7","what":"none"}"#;
    assert!(matches!(command(end), Ok(Command::Restrict { restriction: None, reason: None, .. })));
    let purge = r#"{"type":"purge","room":"lobby","user":"7"}"#;
    assert!(matches!(command(purge), Ok(Command::Purge { user, .. }) if user.id() == "7"));
    let long = format!(r#"{{"type":"create","room":"lobby","title":"{}"}}"#, "x".repeat(129));
    for bad in [
        r#"{"type":"create","room":"lobby","join":"closed"}"#,
        r#"{"type":"create","room":"lobby","post":"everybody"}"#,
        r#"{"type":"create","room":"lobby","title":" "}"#,
        r#"{"type":"create","room":"lobby","receipts":"true"}"#,
        &long,
        r#"{"type":"role","room":"lobby","user":"","role":"member"}"#,
        r#"{"type":"role","room":"lobby","user":"7","role":"admin"}"#,
        r#"{"type":"restrict","room":"lobby","user":"7","what":"kick"}"#,
        r#"{"type":"restrict","room":"lobby","user":"7","what":"none","until":5}"#,
        r#"{"type":"restrict","room":"lobby","user":"7\n","what":"ban"}"#,
        r#"{"type":"purge","room":"lobby"}"#,
        r#"{"type":"purge","room":"lobby","user":{"id":"7"}}"#,
    ] {
        assert!(matches!(command(bad), Err(ErrorCode::BadCommand(_))), "{bad}");
    }
}

#[test]
fn white_space_field_order_and_escapes_do_not_matter() {
    for text in [
        " {\n\t\"room\" : \"lobby\" ,\r\n \"type\":\"leave\" } ",
        r#"{"\u0074ype":"\u006ceave","room":"l\u006fbby"}"#,
        "{\"type\":\"leave\",\"room\":\"lobby\",\"ref\":\"\"}",
    ] {
        assert!(matches!(command(text), Ok(Command::Leave { room }) if room.as_str() == "lobby"), "{text}");
    }
}

#[test]
fn a_join_reads_its_start() {
    let position = |epoch: &str, seq| JoinFrom::After { epoch: epoch.to_owned(), seq };
    assert_eq!(join(""), JoinFrom::Now);
    assert_eq!(join(r#","last":0"#), JoinFrom::Last(0));
    for last in [200_u64, 201, (1 << 53) - 1] {
        assert_eq!(join(&format!(r#","last":{last}"#)), JoinFrom::Last(200), "{last}");
    }
    assert_eq!(join(r#","after":{"epoch":"k3f9","seq":41}"#), position("k3f9", 41));
    assert_eq!(join(r#","after":{"seq":0,"epoch":"","other":[1]}"#), position("", 0));
}

#[test]
fn a_history_has_50_messages_by_default_and_at_most_200() {
    let newest = |limit| Range::Newest { limit };
    assert_eq!(history(""), newest(50));
    for (asked, granted) in [
        ("0", 1),
        ("1", 1),
        ("199", 199),
        ("200", 200),
        ("201", 200),
        ("1000000000", 200),
        ("9007199254740991", 200),
    ] {
        assert_eq!(history(&format!(r#","limit":{asked}"#)), newest(granted), "{asked}");
    }
    assert_eq!(history(r#","before":0"#), Range::Before { seq: 0, limit: 50 });
    assert_eq!(history(r#","before":7,"limit":3"#), Range::Before { seq: 7, limit: 3 });
    assert_eq!(history(r#","after":0"#), Range::After { seq: 0, limit: 50 });
    assert_eq!(history(r#","after":9007199254740991"#), Range::After { seq: (1 << 53) - 1, limit: 50 });
}

#[test]
fn a_search_has_20_messages_by_default_and_at_most_100() {
    let expected = |query: &str, limit, before: Option<u64>| Search::new(query, limit).before(before);
    assert_eq!(search(r#","query":"q""#), expected("q", 20, None));
    for (asked, granted) in [("0", 1), ("1", 1), ("100", 100), ("101", 100), ("9007199254740991", 100)] {
        assert_eq!(search(&format!(r#","query":"q","limit":{asked}"#)), expected("q", granted, None));
    }
    assert_eq!(search(r#","query":" \u0000\"* ","before":0,"limit":3"#), expected(" \0\"* ", 3, Some(0)));
}

#[test]
fn a_query_has_1_to_256_bytes_that_are_not_only_white_space() {
    for query in ["a", " a ", &"a".repeat(256), &"로".repeat(85)] {
        assert_eq!(search(&format!(r#","query":"{query}""#)).query, query);
    }
    for query in ["", " ", "\\n\\t", "\u{3000}\u{a0}", &"a".repeat(257), &"로".repeat(86)] {
        let text = format!(r#"{{"type":"search","room":"lobby","query":"{query}"}}"#);
        assert_eq!(command(&text).unwrap_err(), ErrorCode::BadQuery, "{query}");
    }
}

#[test]
fn a_body_passes_byte_for_byte() {
    for body in [
        r#"{}"#,
        r#"{"text":"hi"}"#,
        r#"{"text":""}"#,
        r#"{ "text" : "<b>\u00e9\u0000\n" , "x":[1,{"y":null}] }"#,
        r#"{"n":1.10,"m":12345678901234567890,"k":-0.0}"#,
    ] {
        assert_eq!(send(&format!(r#","body": {body} "#)), (None, body.to_owned()));
    }
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(100_000));
    assert_eq!(send(&format!(r#","body":{long}"#)).1, long);
}

#[test]
fn fields_that_only_the_server_sets_are_ignored() {
    let plain = send(r#","body":{"text":"hi"}"#);
    let forged = r#","body":{"text":"hi"},"user":{"id":"root","name":"root"},"seq":1,"at":0,"epoch":"x""#;
    assert_eq!(send(forged), plain);
}

#[test]
fn unknown_fields_are_ignored_with_any_value() {
    for value in
        ["null", "[[],{}]", r#"{"type":"leave"}"#, "-1.5e3", "18446744073709551616", r#""\ud83d\ude00""#]
    {
        let text = format!(r#"{{"type":"ping","limit":{value},"x":{value},"":{value}}}"#);
        assert!(matches!(command(&text), Ok(Command::Ping)), "{value}");
    }
}

#[test]
fn a_key_has_1_to_64_bytes() {
    let body = r#","body":{}"#;
    let keyed = |key: &str| command(&format!(r#"{{"type":"send","room":"lobby","key":"{key}"{body}}}"#));
    for key in ["a", &"a".repeat(64), &"로".repeat(21), " ", "../..", "<>"] {
        assert_eq!(send(&format!(r#","key":"{key}"{body}"#)).0.as_deref(), Some(key));
    }
    for key in
        ["", &"a".repeat(65), &"로".repeat(22), &"a".repeat(10_000), r"\u001b[31m", r"a\u202eb", "\u{200b}"]
    {
        assert_eq!(keyed(key).unwrap_err(), ErrorCode::BadKey);
    }
}

#[test]
fn a_ref_of_at_most_64_bytes_is_returned_and_a_longer_one_is_refused() {
    let pong = |reference: &str| answer(format!(r#"{{"type":"ping","ref":{reference}}}"#));
    for text in ["", "1", &"r".repeat(64), &"로".repeat(21), "<&>", " "] {
        let event = pong(&format!(r#""{text}""#));
        assert_eq!((event["type"].as_str(), event["ref"].as_str()), (Some("pong"), Some(text)));
    }
    for bad in [
        format!(r#""{}""#, "r".repeat(65)),
        format!(r#""{}""#, "로".repeat(22)),
        format!(r#""{}""#, "r".repeat(1 << 20)),
    ] {
        check_bad_ref(&pong(&bad));
    }
    for bad in ["7", "null", "true", "[]", "{}"] {
        check_bad_ref(&pong(bad));
    }
    assert_eq!(answer(r#"{"type":"ping"}"#), serde_json::json!({"type": "pong"}));
}

fn check_bad_ref(event: &Value) {
    assert_eq!(event["code"], "bad_command");
    assert!(event["message"].as_str().is_some_and(|message| message.contains("`ref`")), "{event}");
    assert!(event.get("ref").is_none(), "{event}");
}

#[test]
fn a_ref_may_be_used_again() {
    let mut session = member();
    for _ in 0..3 {
        let text = Bytes::from_static(br#"{"type":"ping","ref":"1"}"#);
        assert!(matches!(session.handle_text(Duration::ZERO, text).as_slice(), [Effect::Reply(_)]));
    }
}
