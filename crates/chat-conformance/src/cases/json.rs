use super::*;

chat_suite::cases!(
    /// An empty text, or one of white space only, is `bad_json`.
    #[source = "PROTOCOL.md, sections 2 and 7.1"]
    async fn an_empty_frame_is_bad_json(stage: Stage) -> Verdict {
        bad_json(&stage, &["", " ", "\n\t\r "]).await
    }

    /// A number, a string, a word or an array is `bad_json`.
    async fn a_value_that_is_no_object_is_bad_json(stage: Stage) -> Verdict {
        bad_json(&stage, &["1", "\"ping\"", "null", "true", "[]", "[\"ping\"]", "[{\"type\":\"ping\"}]"])
            .await
    }

    /// A byte order mark before the object is `bad_json`.
    #[source = "RFC 8259 section 8.1"]
    async fn a_byte_order_mark_is_bad_json(stage: Stage) -> Verdict {
        bad_json(&stage, &["\u{feff}{\"type\":\"ping\"}"]).await
    }

    /// NaN, trailing commas, single quotes, comments and unquoted names are `bad_json`.
    #[source = "RFC 8259 section 2"]
    async fn invalid_json_syntax_is_bad_json(stage: Stage) -> Verdict {
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
    }

    /// A frame is one object: two objects, or an object and more, are `bad_json`.
    async fn two_values_in_one_frame_are_bad_json(stage: Stage) -> Verdict {
        let two = r#"{"type":"ping"}{"type":"ping"}"#;
        bad_json(&stage, &[two, r#"{"type":"ping"} x"#, r#"{"type":"ping"}]"#]).await
    }

    /// A frame that ends inside the object is `bad_json`; the server does not wait for the rest.
    #[source = "RFC 8259 section 2"]
    async fn an_incomplete_object_is_bad_json(stage: Stage) -> Verdict {
        bad_json(&stage, &["{", r#"{"type""#, r#"{"type":"ping"#, r#"{"type":"ping""#]).await?;
        let mut ann = stage.client("ann").await?;
        ann.text_for_error(&["bad_json"], r#"{"type":"ping","#).await?;
        ann.text_for_error(&["bad_json"], r#""ref":"1"}"#).await.map(drop)
    }

    /// A raw line end or tab inside a string is `bad_json`.
    #[source = "RFC 8259 section 7"]
    async fn control_characters_in_strings_are_bad_json(stage: Stage) -> Verdict {
        bad_json(&stage, &["{\"type\":\"ping\",\"x\":\"\n\"}", "{\"type\":\"ping\",\"x\":\"\t\"}"]).await
    }

    /// Thousands of brackets, at the top or in an unknown field, are `bad_json`, and use no stack.
    #[source = "RFC 8259 section 9"]
    async fn deep_nesting_is_bad_json(stage: Stage, mut ann: Client) -> Verdict {
        let started = Instant::now();
        let deep = format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(8_000), "]".repeat(8_000));
        for text in ["[".repeat(16_000), deep, r#"{"a":"#.repeat(3_000)] {
            ann.text_for_error(&["bad_json", "bad_command"], text).await?;
        }
        let took = started.elapsed();
        check(took < millis(6_000), "answers within 6 s", format!("{took:?}"))?;
        ann.expect_no_events().await
    }

    /// An escape of half a surrogate pair is no character: the error is `bad_json` or `bad_command`.
    #[source = "RFC 8259 section 8.2"]
    async fn an_escaped_lone_surrogate_is_refused(stage: Stage, mut ann: Client) -> Verdict {
        for text in [r#"{"type":"ping","ref":"\ud800"}"#, r#"{"type":"ping","x":"\udc00\ud800"}"#] {
            ann.text_for_error(&["bad_json", "bad_command"], text).await?;
        }
        Ok(())
    }

    /// A surrogate pair in escapes is the character that it encodes.
    #[source = "RFC 8259 section 7"]
    async fn an_escaped_surrogate_pair_is_one_character(stage: Stage, mut ann: Client) -> Verdict {
        ann.text(r#"{"type":"ping","ref":"\ud83d\ude00"}"#).await?;
        expect_pong_event(&mut ann, "😀").await
    }

    /// Two equal keys in one object, also with different escapes or in a nested object, are `bad_command`.
    async fn a_repeated_object_key_is_a_bad_command(stage: Stage, mut ann: Client) -> Verdict {
        for text in [
            r#"{"type":"ping","type":"ping"}"#,
            r#"{"type":"ping","ref":"1","x":1,"x":2}"#,
            r#"{"type":"ping","x":{"a":1,"a":1}}"#,
            r#"{"type":"ping","x":[{"a":1,"\u0061":1}]}"#,
        ] {
            ann.text_for_error(&["bad_command"], text).await?;
        }
        Ok(())
    }

    /// An array in place of `body` or `after` is `bad_command`, even with the right values in it.
    async fn an_array_in_place_of_an_object_is_a_bad_command(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        for text in [
            format!(r#"{{"type":"send","room":"{room}","body":["hi"]}}"#),
            format!(r#"{{"type":"send","room":"{room}","body":[]}}"#),
            format!(r#"{{"type":"join","room":"{room}","after":["epoch",1]}}"#),
        ] {
            ann.text_for_error(&["bad_command"], text).await?;
        }
        ann.expect_no_events().await
    }

    /// A `type` that no command has is `unknown_type`, with the `ref`.
    #[source = "PROTOCOL.md, section 7.1"]
    async fn an_unknown_type_is_refused(stage: Stage, mut ann: Client) -> Verdict {
        for kind in ["dance", "Join", "", "welcome", "message"] {
            ann.ask_for_error("unknown_type", json!({"type": kind})).await?;
        }
        Ok(())
    }

    /// A command without a `type`, or with one that is no string, is `bad_command`.
    async fn a_missing_or_numeric_type_is_a_bad_command(stage: Stage, mut ann: Client) -> Verdict {
        for kind in ["{}", r#"{"type":1}"#, r#"{"type":null}"#, r#"{"type":["ping"]}"#] {
            ann.text_for_error(&["bad_command"], kind).await?;
        }
        Ok(())
    }

    /// Fields that a command does not have, of any shape, change nothing.
    async fn unknown_fields_are_ignored(stage: Stage, mut ann: Client) -> Verdict {
        ann.text(r#"{"x":{"y":[1,{"z":null}]},"type":"ping","seq":-1,"ref":"1","":""}"#).await?;
        expect_pong_event(&mut ann, "1").await
    }

    /// An error names the field that is wrong, and does not contain its value.
    #[source = "PROTOCOL.md, section 7.1"]
    async fn an_error_names_the_field_and_not_its_value(stage: Stage, mut ann: Client) -> Verdict {
        for (field, text) in [
            ("room", r#"{"type":"join","room":{"marker":"marker"}}"#),
            ("last", r#"{"type":"join","room":"lobby","last":"marker"}"#),
            ("after", r#"{"type":"join","room":"lobby","after":"marker"}"#),
            ("active", r#"{"type":"typing","room":"lobby","active":"marker"}"#),
        ] {
            let error = ann.text_for_error(&["bad_command"], text).await?;
            let message = error["message"].as_str().unwrap_or_default();
            ann.check(message.contains(field), format!("a message that names `{field}`"), &error)?;
            ann.check(!error.to_string().contains("marker"), "nothing of the input", &error)?;
        }
        Ok(())
    }

    /// The values 2^53, 2^64, -1, 1.0 and a string are no integers: `bad_command`. The value 2^53-1 is one.
    async fn integers_are_below_2_to_the_53(stage: Stage, mut ann: Client) -> Verdict {
        let join = |last: &str| format!(r#"{{"type":"join","room":"{}","last":{last}}}"#, stage.room());
        for bad in ["9007199254740992", "18446744073709551616", "-1", "1.0", "1e2", "\"1\"", "true"] {
            ann.text_for_error(&["bad_command"], join(bad)).await?;
        }
        ann.text(join("9007199254740991")).await?;
        ann.expect("joined").await.map(drop)
    }

    /// The number 1e400, and one of ten thousand digits, are refused in a known field and in an unknown one.
    #[source = "RFC 8259 section 6"]
    async fn numbers_out_of_range_are_refused(stage: Stage, mut ann: Client) -> Verdict {
        let digits = "9".repeat(10_000);
        for text in [
            r#"{"type":"join","room":"lobby","last":1e400}"#.to_owned(),
            format!(r#"{{"type":"join","room":"lobby","last":{digits}}}"#),
            format!(r#"{{"type":"join","room":"lobby","last":-{digits}}}"#),
            r#"{"type":"ping","x":1e400}"#.to_owned(),
        ] {
            ann.text_for_error(&["bad_json", "bad_command"], text).await?;
        }
        Ok(())
    }

    /// The connection stays open and in its rooms after an error.
    #[source = "PROTOCOL.md, section 7.1"]
    async fn an_error_leaves_the_connection_open(stage: Stage, mut ann: Member) -> Verdict {
        ann.text_for_error(&["bad_json"], "{").await?;
        ann.post(&stage.room(), "still a member").await.map(drop)
    }

    /// Ten errors within ten seconds are too many: each is answered, and then the close code is 4500.
    #[source = "PROTOCOL.md, section 7.1 (`too_many_errors`)"]
    async fn ten_errors_within_ten_seconds_close_the_connection(stage: Stage, mut ann: Client) -> Verdict {
        for _ in 0..stage.limits().connection.max_errors {
            ann.text("x").await?;
        }
        for _ in 0..stage.limits().connection.max_errors {
            ann.expect("error").await?;
        }
        ann.expect_closed(4500).await
    }

    /// One error less than the limit leaves the connection open for any number of good commands.
    #[source = "PROTOCOL.md, section 7.1 (`too_many_errors`)"]
    async fn nine_errors_leave_the_connection_open(stage: Stage, mut ann: Client) -> Verdict {
        for _ in 1..stage.limits().connection.max_errors {
            ann.text_for_error(&["bad_json"], "x").await?;
        }
        for _ in 0..20 {
            ann.expect_no_events().await?;
        }
        Ok(())
    }

    /// Errors that are further apart than the window do not add up.
    #[source = "PROTOCOL.md, section 7.1 (`too_many_errors`)"]
    #[with(limits(|limits| limits.connection.error_window = millis(300)))]
    async fn errors_outside_the_window_do_not_add_up(stage: Stage, mut ann: Client) -> Verdict {
        for _ in 0..3 {
            for _ in 1..stage.limits().connection.max_errors {
                ann.text_for_error(&["bad_json"], "x").await?;
            }
            // The time between the errors is the subject of the case.
            sleep(stage.limits().connection.error_window + millis(200)).await;
        }
        ann.text(ping("1")).await?;
        expect_pong_event(&mut ann, "1").await
    }

    /// An invalid message in fragments is one error, like one that arrives in one frame.
    #[source = "RFC 6455 section 5.4; PROTOCOL.md, section 7.1"]
    async fn bad_json_in_fragments_is_one_error(stage: Stage, mut ann: Client) -> Verdict {
        ann.send_all(&[Frame::text("{").unfinished(), Frame::continuation("{}")]).await?;
        let error = ann.expect("error").await?;
        ann.check(error["code"] == "bad_json", "the error `bad_json`", &error)?;
        ann.expect_no_events().await
    }
);

/// Expects `bad_json` for each of these texts.
async fn bad_json(stage: &Stage, texts: &[&str]) -> Verdict {
    let mut client = stage.client("ann").await?;
    for text in texts {
        client.text_for_error(&["bad_json"], text).await?;
    }
    client.expect_no_events().await
}
