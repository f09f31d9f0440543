//! Commands of a script that the server refuses, whatever the state is.

use proptest::prelude::*;

/// An invalid command, or one that the host does not allow.
#[derive(Debug)]
pub(super) struct Malformed {
    /// The text to send. `REF` in it stands for the `ref`.
    pub(super) text: &'static str,
    pub(super) code: &'static str,
    /// True if a client that is not a member of the first room may get `not_joined` instead.
    pub(super) for_members: bool,
}

const fn malformed_command(text: &'static str, code: &'static str, for_members: bool) -> Malformed {
    Malformed { text, code, for_members }
}

const MALFORMED: &[Malformed] = &[
    malformed_command("", "bad_json", false),
    malformed_command("\u{feff}{}", "bad_json", false),
    malformed_command("[\"ping\"]", "bad_json", false),
    malformed_command(r#"{"type":"ping","#, "bad_json", false),
    malformed_command(r#"{"type":"ping","ref":"REF","ref":"REF"}"#, "bad_command", false),
    malformed_command(r#"{"type":"ping","ref":7}"#, "bad_command", false),
    malformed_command(r#"{"ref":"REF"}"#, "bad_command", false),
    malformed_command(r#"{"type":null,"ref":"REF"}"#, "bad_command", false),
    malformed_command(r#"{"type":"dance","ref":"REF"}"#, "unknown_type", false),
    malformed_command(r#"{"type":"hello","ref":"REF","token":"t"}"#, "already_identified", false),
    malformed_command(r#"{"type":"hello","ref":"REF"}"#, "bad_command", false),
    malformed_command(r#"{"type":"join","ref":"REF"}"#, "bad_command", false),
    malformed_command(r#"{"type":"join","ref":"REF","room":"Lobby"}"#, "bad_room", false),
    malformed_command(r#"{"type":"join","ref":"REF","room":["lobby"]}"#, "bad_command", false),
    malformed_command(r#"{"type":"join","ref":"REF","room":"staff"}"#, "forbidden", false),
    malformed_command(r#"{"type":"join","ref":"REF","room":"lobby","last":-1}"#, "bad_command", false),
    malformed_command(
        r#"{"type":"join","ref":"REF","room":"lobby","last":9007199254740992}"#,
        "bad_command",
        false,
    ),
    malformed_command(r#"{"type":"join","ref":"REF","room":"lobby","after":7}"#, "bad_command", false),
    malformed_command(
        r#"{"type":"join","ref":"REF","room":"lobby","last":1,"after":{"epoch":"e","seq":1}}"#,
        "bad_command",
        false,
    ),
    malformed_command(r#"{"type":"send","ref":"REF","room":"lobby"}"#, "bad_command", true),
    malformed_command(r#"{"type":"send","ref":"REF","room":"lobby","body":"hi"}"#, "bad_command", true),
    malformed_command(
        r#"{"type":"send","ref":"REF","room":"lobby","key":"","body":{"text":"hi"}}"#,
        "bad_key",
        true,
    ),
    malformed_command(
        r#"{"type":"send","ref":"REF","room":"lobby","key":"\u001b[31m","body":{"text":"hi"}}"#,
        "bad_key",
        true,
    ),
    malformed_command(r#"{"type":"send","ref":"REF","room":"","body":{"text":"hi"}}"#, "bad_room", false),
    malformed_command(r#"{"type":"edit","ref":"REF","room":"lobby","seq":1}"#, "bad_command", true),
    malformed_command(r#"{"type":"delete","ref":"REF","room":"lobby","seq":0}"#, "bad_command", true),
    malformed_command(
        r#"{"type":"react","ref":"REF","room":"lobby","seq":1,"reaction":"\u0007","on":true}"#,
        "bad_command",
        true,
    ),
    malformed_command(r#"{"type":"pin","ref":"REF","room":"lobby","seq":1,"on":1}"#, "bad_command", true),
    malformed_command(r#"{"type":"purge","ref":"REF","room":"lobby"}"#, "bad_command", true),
    malformed_command(
        r#"{"type":"history","ref":"REF","room":"lobby","before":2,"after":1}"#,
        "bad_cursor",
        true,
    ),
    malformed_command(r#"{"type":"history","ref":"REF","room":"lobby","limit":1.5}"#, "bad_command", true),
    malformed_command(r#"{"type":"search","ref":"REF","room":"lobby","query":" \t"}"#, "bad_query", true),
    malformed_command(r#"{"type":"search","ref":"REF","room":"lobby"}"#, "bad_command", true),
    malformed_command(r#"{"type":"typing","ref":"REF","room":"lobby","active":"yes"}"#, "bad_command", true),
];

/// Generates an invalid command.
pub(super) fn malformed() -> impl Strategy<Value = &'static Malformed> {
    (0..MALFORMED.len()).prop_map(|index| &MALFORMED[index])
}
