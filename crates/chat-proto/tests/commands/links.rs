use chat_proto::command::Command;
use chat_proto::{ErrorCode, Links, Mentions, Range};

use crate::command;

/// Returns the links of a `send` with these fields.
fn links(fields: &str) -> Result<Links, ErrorCode> {
    match command(&format!(r#"{{"type":"send","room":"lobby","body":{{}}{fields}}}"#))? {
        Command::Send { links, .. } => Ok(links.map(|links| *links).unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

fn mentions(mentions: &str) -> Result<Option<Mentions>, ErrorCode> {
    links(&format!(r#","mentions":{mentions}"#)).map(|links| links.mentions)
}

#[test]
fn a_message_names_others_by_their_positions() {
    let both = Links::default().with_reply_to(7).with_thread(3);
    assert_eq!(links(r#","thread":3,"reply_to":7"#), Ok(both));
    for field in ["reply_to", "thread"] {
        for bad in ["0", "9007199254740992", "-1", "1.0", r#""1""#, "null"] {
            let refused = links(&format!(r#","{field}":{bad}"#));
            assert!(matches!(refused, Err(ErrorCode::BadCommand(_))), "{field} {bad}: {refused:?}");
        }
    }
}

#[test]
fn a_message_mentions_at_most_50_users_each_once_or_the_room() {
    let users = |ids: &[&str]| Ok(Some(Mentions::users(ids.iter().copied())));
    assert_eq!(mentions(r#"["ann","7","ann","service:bot"]"#), users(&["ann", "7", "service:bot"]));
    assert_eq!(mentions(r#""@room""#), Ok(Some(Mentions::Room)));
    assert_eq!(mentions(r#"["@room"]"#), users(&["@room"]), "a user id");
    assert_eq!(mentions("[]"), Ok(None));
    let ids: Vec<_> = (0..50).map(|number| format!(r#""{number}""#)).collect();
    assert!(mentions(&format!("[{}]", ids.join(","))).is_ok());
    let repeated = r#","0""#;
    for bad in [
        &format!("[{}{repeated}]", ids.join(",")),
        r#"[""]"#,
        r#"["a\u0000"]"#,
        &format!(r#"["{}"]"#, "x".repeat(256)),
        r#"["a",7]"#,
        r#"[["a"]]"#,
        r#""@here""#,
        r#""ann""#,
        "{}",
        "7",
        "null",
    ] {
        let refused = mentions(bad);
        assert!(matches!(refused, Err(ErrorCode::BadCommand(_))), "{bad}: {refused:?}");
    }
    let longest = format!(r#"["{}"]"#, "x".repeat(255));
    assert!(mentions(&longest).is_ok());
}

#[test]
fn an_edit_tells_no_mentions_from_those_that_it_keeps() {
    for (fields, expected) in [
        ("", None),
        (r#","mentions":[]"#, Some(Mentions::users([""; 0]))),
        (r#","mentions":["ann"]"#, Some(Mentions::users(["ann"]))),
    ] {
        let text = format!(r#"{{"type":"edit","room":"lobby","seq":1,"body":{{}}{fields}}}"#);
        let Ok(Command::Change { mentions, .. }) = command(&text) else { panic!("{text}") };
        assert_eq!(mentions, expected);
    }
}

#[test]
fn a_history_of_a_thread_has_the_ranges_of_every_history() {
    for (fields, expected) in [
        ("", Range::newest(50)),
        (r#","limit":201"#, Range::newest(200)),
        (r#","before":9,"limit":3"#, Range::before(9, 3)),
        (r#","after":4"#, Range::after(4, 50)),
    ] {
        let text = format!(r#"{{"type":"history","room":"lobby","thread":7{fields}}}"#);
        let Ok(Command::Thread { root: 7, range, .. }) = command(&text) else { panic!("{text}") };
        assert_eq!(range, expected);
    }
}
