use chat_proto::{ErrorCode, Limits};
use serde_json::Value;

use crate::{answer, answer_of, command, member_within};

pub(crate) fn check_error(event: &Value, code: &str, field: Option<&str>) {
    assert_eq!((event["type"].as_str(), event["code"].as_str()), (Some("error"), Some(code)), "{event}");
    let message = event["message"].as_str().expect("an error has a message");
    if let Some(field) = field {
        assert!(message.contains(&format!("`{field}`")), "{field}: {event}");
    }
}

#[test]
fn a_missing_type_is_a_bad_command_and_another_type_is_unknown() {
    for text in ["{}", r#"{"x":1}"#, r#"{"type":1}"#, r#"{"type":null}"#, r#"{"type":["ping"]}"#] {
        check_error(&answer(text), "bad_command", Some("type"));
    }
    for kind in ["", "Ping", "ping ", "message", "pong", "constructor", "__proto__", "\\u0000"] {
        check_error(&answer(format!(r#"{{"type":"{kind}"}}"#)), "unknown_type", None);
    }
}

/// The fields of the commands: command, other fields that it needs, field, valid value.
const FIELDS: [(&str, &str, &str, &str); 51] = [
    ("hello", "", "token", r#""t""#),
    ("join", "", "room", r#""lobby""#),
    ("join", r#","room":"lobby""#, "last", "1"),
    ("join", r#","room":"lobby""#, "after", r#"{"epoch":"e","seq":1}"#),
    ("leave", "", "room", r#""lobby""#),
    ("send", r#","body":{}"#, "room", r#""lobby""#),
    ("send", r#","room":"lobby""#, "body", "{}"),
    ("send", r#","room":"lobby","body":{}"#, "key", r#""k""#),
    ("send", r#","room":"lobby","body":{}"#, "reply_to", "1"),
    ("send", r#","room":"lobby","body":{}"#, "thread", "1"),
    ("send", r#","room":"lobby","body":{}"#, "mentions", r#"["ann"]"#),
    ("edit", r#","room":"lobby","seq":1,"body":{}"#, "mentions", r#"["ann"]"#),
    ("edit", r#","seq":1,"body":{}"#, "room", r#""lobby""#),
    ("edit", r#","room":"lobby","body":{}"#, "seq", "1"),
    ("edit", r#","room":"lobby","seq":1"#, "body", "{}"),
    ("edit", r#","room":"lobby","seq":1,"body":{}"#, "rev", "1"),
    ("edit", r#","room":"lobby","seq":1,"body":{}"#, "key", r#""k""#),
    ("delete", r#","room":"lobby""#, "seq", "1"),
    ("delete", r#","room":"lobby","seq":1"#, "reason", r#""why""#),
    ("react", r#","room":"lobby","reaction":"+1","on":true"#, "seq", "1"),
    ("react", r#","room":"lobby","seq":1,"on":true"#, "reaction", r#""+1""#),
    ("react", r#","room":"lobby","seq":1,"reaction":"+1""#, "on", "true"),
    ("react", r#","room":"lobby","seq":1,"reaction":"+1","on":true"#, "rev", "1"),
    ("pin", r#","room":"lobby","on":true"#, "seq", "1"),
    ("pin", r#","room":"lobby","seq":1"#, "on", "true"),
    ("create", "", "room", r#""lobby""#),
    ("create", r#","room":"lobby""#, "join", r#""open""#),
    ("create", r#","room":"lobby""#, "post", r#""members""#),
    ("create", r#","room":"lobby""#, "title", r#""Lobby""#),
    ("role", r#","room":"lobby","role":"member""#, "user", r#""7""#),
    ("role", r#","room":"lobby","user":"7""#, "role", r#""member""#),
    ("restrict", r#","room":"lobby","user":"7""#, "what", r#""ban""#),
    ("restrict", r#","room":"lobby","user":"7","what":"ban""#, "until", "1"),
    ("history", r#","room":"lobby""#, "seqs", "[1]"),
    ("history", r#","room":"lobby""#, "thread", "1"),
    ("history", "", "room", r#""lobby""#),
    ("history", r#","room":"lobby""#, "before", "1"),
    ("history", r#","room":"lobby""#, "after", "1"),
    ("history", r#","room":"lobby""#, "limit", "1"),
    ("members", "", "room", r#""lobby""#),
    ("members", r#","room":"lobby""#, "after", r#"{"id":"7","name":"Ann"}"#),
    ("members", r#","room":"lobby""#, "limit", "1"),
    ("search", r#","query":"q""#, "room", r#""lobby""#),
    ("search", r#","room":"lobby""#, "query", r#""q""#),
    ("search", r#","room":"lobby","query":"q""#, "limit", "1"),
    ("search", r#","room":"lobby","query":"q""#, "before", "1"),
    ("typing", r#","active":true"#, "room", r#""lobby""#),
    ("typing", r#","room":"lobby""#, "active", "true"),
    ("ping", "", "ref", r#""r""#),
    ("join", r#","room":"lobby""#, "ref", r#""r""#),
    ("nonsense", "", "ref", r#""r""#),
];

#[test]
fn an_error_about_a_wrong_type_names_the_field_and_not_its_value() {
    let values =
        ["null", "true", "4711", "-4711", "47.11", r#""Marker""#, r#"["Marker"]"#, r#"{"Marker":"Marker"}"#];
    let kind = |value: &str| value.trim_start_matches('-').chars().next().filter(|c| !c.is_ascii_digit());
    for (command, others, field, good) in FIELDS {
        for value in values {
            let fits = kind(value) == kind(good) && !value.starts_with('-') && !value.contains('.');
            if fits || (value == "true" && good == "true") {
                continue;
            }
            let event = answer(format!(r#"{{"type":"{command}"{others},"{field}":{value}}}"#));
            check_error(&event, "bad_command", Some(field));
            let text = event.to_string();
            assert!(!text.contains("Marker") && !text.contains("4711") && !text.contains("47.11"), "{text}");
        }
    }
}

#[test]
fn an_error_about_a_missing_field_names_the_field() {
    for (text, field) in [
        (r#"{"type":"join"}"#, "room"),
        (r#"{"type":"leave"}"#, "room"),
        (r#"{"type":"send","body":{}}"#, "room"),
        (r#"{"type":"send","room":"lobby"}"#, "body"),
        (r#"{"type":"history"}"#, "room"),
        (r#"{"type":"members"}"#, "room"),
        (r#"{"type":"search","query":"q"}"#, "room"),
        (r#"{"type":"search","room":"lobby"}"#, "query"),
        (r#"{"type":"typing","active":true}"#, "room"),
        (r#"{"type":"typing","room":"lobby"}"#, "active"),
        (r#"{"type":"join","room":"lobby","after":{}}"#, "after"),
        (r#"{"type":"join","room":"lobby","after":{"epoch":"e"}}"#, "seq"),
        (r#"{"type":"join","room":"lobby","after":{"seq":1}}"#, "epoch"),
        (r#"{"type":"join","room":"lobby","after":{"epoch":1,"seq":1}}"#, "epoch"),
        (r#"{"type":"join","room":"lobby","after":["e",1]}"#, "after"),
    ] {
        check_error(&answer(text), "bad_command", Some(field));
    }
}

#[test]
fn an_integer_outside_0_to_2_to_the_53_minus_1_is_a_bad_command() {
    let digits = format!("1{}", "0".repeat(300));
    for number in [
        "9007199254740992",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-1",
        "-0",
        "1.0",
        "1e2",
        &digits,
    ] {
        for field in ["limit", "before", "after"] {
            let event = answer(format!(r#"{{"type":"history","room":"lobby","{field}":{number}}}"#));
            check_error(&event, "bad_command", Some(field));
        }
        check_error(
            &answer(format!(r#"{{"type":"join","room":"lobby","last":{number}}}"#)),
            "bad_command",
            Some("last"),
        );
        let after = format!(r#"{{"type":"join","room":"lobby","after":{{"epoch":"e","seq":{number}}}}}"#);
        check_error(&answer(after), "bad_command", Some("seq"));
    }
}

#[test]
fn contradicting_ranges_are_refused() {
    let both = r#"{"type":"history","room":"lobby","before":1,"after":9}"#;
    assert_eq!(command(both).unwrap_err(), ErrorCode::BadCursor);
    let both = r#"{"type":"history","room":"lobby","thread":1,"before":1,"after":9}"#;
    assert_eq!(command(both).unwrap_err(), ErrorCode::BadCursor);
    for other in ["before", "after", "thread"] {
        let both = format!(r#"{{"type":"history","room":"lobby","seqs":[1],"{other}":1}}"#);
        assert!(matches!(command(&both).unwrap_err(), ErrorCode::BadCommand(_)), "{other}");
    }
    let both = r#"{"type":"join","room":"lobby","last":1,"after":{"epoch":"e","seq":1}}"#;
    assert!(matches!(command(both).unwrap_err(), ErrorCode::BadCommand(_)));
}

#[test]
fn an_invalid_room_is_bad_room_in_every_command() {
    for kind in ["join", "leave", "send", "history", "members", "search", "typing"] {
        for room in ["", "..", "a.b", "*", ">", "%2e", "$JS", "Lobby", "a b", "lobby\\u0000", "cafe\\u0301"] {
            let event = answer(format!(
                r#"{{"type":"{kind}","room":"{room}","body":{{}},"query":"q","active":true,"ref":"1"}}"#
            ));
            check_error(&event, "bad_room", None);
            assert_eq!(event["ref"], "1");
            assert!(event.get("room").is_none(), "{event}");
        }
    }
}

#[test]
fn a_command_for_members_is_not_joined_outside_the_room() {
    for kind in ["leave", "send", "history", "members", "search", "typing"] {
        let event = answer(format!(
            r#"{{"type":"{kind}","room":"elsewhere","body":{{}},"query":"q","active":true,"ref":"1"}}"#
        ));
        check_error(&event, "not_joined", None);
        assert_eq!((event["ref"].as_str(), event["room"].as_str()), (Some("1"), Some("elsewhere")));
    }
}

#[test]
fn a_hello_is_already_identified() {
    check_error(&answer(r#"{"type":"hello","token":"t"}"#), "already_identified", None);
}

#[test]
fn an_error_names_the_room_of_its_command() {
    for (fields, code) in [
        (r#""type":"send","body":{},"key":"""#, "bad_key"),
        (r#""type":"send","body":[]"#, "bad_command"),
        (r#""type":"send","body":{"x":1,"x":1}"#, "bad_command"),
        (r#""type":"send","body":{},"ref":7"#, "bad_command"),
        (r#""type":"history","before":1,"after":1"#, "bad_cursor"),
        (r#""type":"search","query":"""#, "bad_query"),
        (r#""type":"typing""#, "bad_command"),
    ] {
        let event = answer(format!(r#"{{{fields},"room":"lobby"}}"#));
        check_error(&event, code, None);
        assert_eq!(event["room"], "lobby", "{fields}");
    }
}

#[test]
fn an_error_text_names_only_the_limits_of_this_server() {
    let limits = Limits::default().with(|limits| {
        limits.wire.max_ref_bytes = 3;
        limits.wire.max_key_bytes = 3;
        limits.wire.max_query_bytes = 3;
    });
    for (fields, code) in [
        (r#""type":"ping","ref":"long""#, "bad_command"),
        (r#""type":"send","room":"lobby","body":{},"key":"long""#, "bad_key"),
        (r#""type":"search","room":"lobby","query":"long""#, "bad_query"),
    ] {
        let event = answer_of(member_within(limits.clone()), format!("{{{fields}}}"));
        check_error(&event, code, None);
        let message = event["message"].as_str().expect("an error has a message");
        let mut numbers = message.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
        assert!(numbers.all(|number| number == "3"), "{message}");
    }
}
