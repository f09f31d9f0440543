use super::{Frame, Group, case, expect_pong_event, fail, ping};
use crate::{Stage, Verdict};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "an_empty_frame_is_bad_json",
            "Nothing, and nothing but white space, is no object.",
            "PROTOCOL.md, sections 2 and 7.1",
            |stage| async move { bad_json(&stage, &["", " ", "\n\t\r "]).await },
        ),
        case(
            "a_value_that_is_no_object_is_bad_json",
            "A number, a string, a word or an array is no command.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                bad_json(
                    &stage,
                    &["1", "\"ping\"", "null", "true", "[]", "[\"ping\"]", "[{\"type\":\"ping\"}]"],
                )
                .await
            },
        ),
        case(
            "a_byte_order_mark_is_bad_json",
            "A byte order mark ahead of the object is no JSON.",
            "RFC 8259 section 8.1",
            |stage| async move { bad_json(&stage, &["\u{feff}{\"type\":\"ping\"}"]).await },
        ),
        case(
            "what_only_looks_like_json_is_bad_json",
            "NaN, trailing commas, single quotes, comments and bare names are not JSON.",
            "RFC 8259 section 2",
            |stage| async move {
                bad_json(
                    &stage,
                    &[
                        r#"{"type":"ping","x":NaN}"#,
                        r#"{"type":"ping",}"#,
                        r"{'type':'ping'}",
                        r#"{"type":"ping"/* */}"#,
                        r#"{type:"ping"}"#,
                        r#"{"type":"ping","x":+1}"#,
                        r#"{"type":"ping","x":01}"#,
                    ],
                )
                .await
            },
        ),
        case(
            "two_values_in_one_frame_are_bad_json",
            "A frame is one object: neither two objects nor an object and more.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let two = r#"{"type":"ping"}{"type":"ping"}"#;
                bad_json(&stage, &[two, r#"{"type":"ping"} x"#, r#"{"type":"ping"}]"#]).await
            },
        ),
        case(
            "a_cut_off_object_is_bad_json",
            "A frame that ends within the object is no object; the rest is not waited for.",
            "RFC 8259 section 2",
            |stage| async move {
                bad_json(&stage, &["{", r#"{"type""#, r#"{"type":"ping"#, r#"{"type":"ping""#]).await?;
                let mut ann = stage.client("ann").await?;
                ann.say_in_vain(&["bad_json"], r#"{"type":"ping","#).await?;
                ann.say_in_vain(&["bad_json"], r#""ref":"1"}"#).await.map(drop)
            },
        ),
        case(
            "control_characters_in_strings_are_bad_json",
            "A raw line end or tab inside a string is no JSON.",
            "RFC 8259 section 7",
            |stage| async move {
                bad_json(&stage, &["{\"type\":\"ping\",\"x\":\"\n\"}", "{\"type\":\"ping\",\"x\":\"\t\"}"])
                    .await
            },
        ),
        case(
            "depth_is_refused_fast",
            "Thousands of brackets, at the top or in an unknown field, are `bad_json`, and cost no stack.",
            "RFC 8259 section 9",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let started = std::time::Instant::now();
                let deep = format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(8_000), "]".repeat(8_000));
                for text in ["[".repeat(16_000), deep, r#"{"a":"#.repeat(3_000)] {
                    ann.say_in_vain(&["bad_json", "bad_command"], text).await?;
                }
                let took = started.elapsed();
                fail(took < super::millis(3_000), "answers within 3 s", format!("{took:?}"))?;
                ann.expect_quiet().await
            },
        ),
        case(
            "a_lone_surrogate_is_refused",
            "An escape of half a surrogate pair is no character: `bad_json` or `bad_command`.",
            "RFC 8259 section 8.2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for text in [r#"{"type":"ping","ref":"\ud800"}"#, r#"{"type":"ping","x":"\udc00\ud800"}"#] {
                    ann.say_in_vain(&["bad_json", "bad_command"], text).await?;
                }
                Ok(())
            },
        ),
        case(
            "an_escaped_pair_is_one_character",
            "A surrogate pair in escapes is the character that it stands for.",
            "RFC 8259 section 7",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.text(r#"{"type":"ping","ref":"\ud83d\ude00"}"#).await?;
                expect_pong_event(&mut ann, "😀").await
            },
        ),
        case(
            "a_key_that_stands_twice_is_a_bad_command",
            "Two equal keys, written differently or deep inside, could mean two things: `bad_command`.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for text in [
                    r#"{"type":"ping","type":"ping"}"#,
                    r#"{"type":"ping","ref":"1","x":1,"x":2}"#,
                    r#"{"type":"ping","x":{"a":1,"a":1}}"#,
                    r#"{"type":"ping","x":[{"a":1,"\u0061":1}]}"#,
                ] {
                    ann.say_in_vain(&["bad_command"], text).await?;
                }
                Ok(())
            },
        ),
        case(
            "an_array_in_place_of_an_object_is_a_bad_command",
            "An array is no `body` and no `after`, even with the right values in it.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let room = stage.room();
                for text in [
                    format!(r#"{{"type":"send","room":"{room}","body":["hi"]}}"#),
                    format!(r#"{{"type":"send","room":"{room}","body":[]}}"#),
                    format!(r#"{{"type":"join","room":"{room}","after":["epoch",1]}}"#),
                ] {
                    ann.say_in_vain(&["bad_command"], text).await?;
                }
                ann.expect_quiet().await
            },
        ),
        case(
            "an_unknown_type_is_told",
            "A `type` that no command has is `unknown_type`, with the `ref`.",
            "PROTOCOL.md, section 7.1",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for kind in ["dance", "Join", "", "welcome", "message"] {
                    ann.ask_in_vain("unknown_type", serde_json::json!({"type": kind})).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_missing_or_numeric_type_is_a_bad_command",
            "A command without a `type`, or with one that is no string, is `bad_command`.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for kind in ["{}", r#"{"type":1}"#, r#"{"type":null}"#, r#"{"type":["ping"]}"#] {
                    ann.say_in_vain(&["bad_command"], kind).await?;
                }
                Ok(())
            },
        ),
        case(
            "unknown_fields_are_ignored",
            "Fields that a command does not have, of any shape, change nothing.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.text(r#"{"x":{"y":[1,{"z":null}]},"type":"ping","seq":-1,"ref":"1","":""}"#).await?;
                expect_pong_event(&mut ann, "1").await
            },
        ),
        case(
            "a_wrong_type_is_named_and_not_quoted",
            "An error names the field that is wrong, and never what stood in it.",
            "PROTOCOL.md, section 7.1",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for (field, text) in [
                    ("room", r#"{"type":"join","room":{"marker":"marker"}}"#),
                    ("last", r#"{"type":"join","room":"lobby","last":"marker"}"#),
                    ("after", r#"{"type":"join","room":"lobby","after":"marker"}"#),
                    ("active", r#"{"type":"typing","room":"lobby","active":"marker"}"#),
                ] {
                    let error = ann.say_in_vain(&["bad_command"], text).await?;
                    let message = error["message"].as_str().unwrap_or_default();
                    ann.check(message.contains(field), format!("a message that names `{field}`"), &error)?;
                    ann.check(!error.to_string().contains("marker"), "nothing of the input", &error)?;
                }
                Ok(())
            },
        ),
        case(
            "integers_are_whole_and_below_two_to_the_53",
            "2^53, 2^64, -1, 1.0 and a string are no integers: `bad_command`; 2^53-1 is one.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let join =
                    |last: &str| format!(r#"{{"type":"join","room":"{}","last":{last}}}"#, stage.room());
                for bad in ["9007199254740992", "18446744073709551616", "-1", "1.0", "1e2", "\"1\"", "true"] {
                    ann.say_in_vain(&["bad_command"], join(bad)).await?;
                }
                ann.text(join("9007199254740991")).await?;
                ann.expect("joined").await.map(drop)
            },
        ),
        case(
            "numbers_beyond_measure_are_refused",
            "1e400 and ten thousand digits are refused, in a known field and in an unknown one.",
            "RFC 8259 section 6",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let digits = "9".repeat(10_000);
                for text in [
                    r#"{"type":"join","room":"lobby","last":1e400}"#.to_owned(),
                    format!(r#"{{"type":"join","room":"lobby","last":{digits}}}"#),
                    format!(r#"{{"type":"join","room":"lobby","last":-{digits}}}"#),
                ] {
                    ann.say_in_vain(&["bad_json", "bad_command"], text).await?;
                }
                Ok(())
            },
        ),
        case(
            "an_error_leaves_the_connection_open",
            "After an error the same connection serves on, and stays in its rooms.",
            "PROTOCOL.md, section 7.1",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                ann.say_in_vain(&["bad_json"], "{").await?;
                ann.post(&stage.room(), "still a member").await.map(drop)
            },
        ),
        case(
            "ten_errors_within_ten_seconds_close",
            "Ten errors within ten seconds are too many: each is told, then 4500.",
            "PROTOCOL.md, section 7.1 (`too_many_errors`)",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for _ in 0..stage.limits().connection.max_errors {
                    ann.text("x").await?;
                }
                for _ in 0..stage.limits().connection.max_errors {
                    ann.expect("error").await?;
                }
                ann.expect_closed(4500).await
            },
        ),
        case(
            "nine_errors_do_not_close",
            "One error less than too many leaves the connection open, however many good commands follow.",
            "PROTOCOL.md, section 7.1 (`too_many_errors`)",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for _ in 1..stage.limits().connection.max_errors {
                    ann.say_in_vain(&["bad_json"], "x").await?;
                }
                for _ in 0..20 {
                    ann.expect_quiet().await?;
                }
                Ok(())
            },
        ),
        case(
            "errors_are_forgiven_with_time",
            "Errors further apart than the window do not add up.",
            "PROTOCOL.md, section 7.1 (`too_many_errors`)",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for _ in 0..3 {
                    for _ in 1..stage.limits().connection.max_errors {
                        ann.say_in_vain(&["bad_json"], "x").await?;
                    }
                    // That time passes is what this is about.
                    tokio::time::sleep(stage.limits().connection.error_window + super::millis(200)).await;
                }
                ann.text(ping("1")).await?;
                expect_pong_event(&mut ann, "1").await
            },
        )
        .with(|limits| limits.connection.error_window = super::millis(300)),
        case(
            "bad_json_in_fragments_is_one_error",
            "A bad message in fragments is one error, as if it had come whole.",
            "RFC 6455 section 5.4; PROTOCOL.md, section 7.1",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.send_all(&[Frame::text("{").unfinished(), Frame::continuation("{}")]).await?;
                let error = ann.expect("error").await?;
                ann.check(error["code"] == "bad_json", "the error `bad_json`", &error)?;
                ann.expect_quiet().await
            },
        ),
    ];
    Group {
        name: "json",
        look: "crates/chat-proto/src/fields.rs and crates/chat-proto/src/command.rs",
        cases,
    }
}

/// Each of these texts is `bad_json`.
async fn bad_json(stage: &Stage, texts: &[&str]) -> Verdict {
    let mut client = stage.client("ann").await?;
    for text in texts {
        client.say_in_vain(&["bad_json"], text).await?;
    }
    client.expect_quiet().await
}
