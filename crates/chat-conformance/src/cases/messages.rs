use super::*;

chat_suite::cases!(
    /// A text that is empty, or of white space only, is `empty_body`.
    async fn an_empty_body_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        for text in ["", " ", "\n\t", "\u{3000}\u{a0}"] {
            ann.ask_for_error("empty_body", send(&stage.room(), text)).await?;
        }
        ann.expect_no_events().await
    }

    /// A text without a visible character is `empty_body`, whichever invisible characters it has.
    #[source = "PROTOCOL.md, section 3"]
    async fn a_text_without_a_visible_character_is_refused(stage: Stage) -> Verdict {
        let mut ann = stage.member("ann").await?;
        for text in
            ["\u{2800}", "\u{200b}\u{2060}", "\u{3164}", "\u{fe0f}", "\u{ad}", "\u{e0041}", "\u{13441}"]
        {
            ann.ask_for_error("empty_body", send(&stage.room(), text)).await?;
        }
        ann.post(&stage.room(), "\u{2800}\u{2801}").await.map(drop)
    }

    /// A text of 4,096 bytes is sent; one byte more is `body_too_large`.
    async fn a_text_of_exactly_the_limit_is_sent(stage: Stage, mut ann: Member) -> Verdict {
        let limit = stage.limits().wire.max_body_bytes;
        ann.post(&stage.room(), &"x".repeat(limit)).await?;
        let over = send(&stage.room(), &"x".repeat(limit + 1));
        ann.ask_for_error("body_too_large", over).await.map(drop)
    }

    /// The size of a text is its number of bytes in UTF-8, not its characters and not its escaped form.
    async fn the_text_limit_counts_bytes(stage: Stage, mut ann: Member) -> Verdict {
        let limit = stage.limits().wire.max_body_bytes;
        ann.post(&stage.room(), &"é".repeat(limit / 2)).await?;
        let over = send(&stage.room(), &"é".repeat(limit / 2 + 1));
        ann.ask_for_error("body_too_large", over).await?;
        let escaped = r"\u00e9".repeat(limit / 2);
        let room = stage.room();
        ann.text(format!(r#"{{"type":"send","room":"{room}","body":{{"text":"{escaped}"}}}}"#)).await?;
        ann.events_so_far().await.and_then(|events| {
            let sent = events.iter().any(|event| event["type"] == "sent");
            ann.check(sent, "`sent`", &json!(events.len()))
        })
    }

    /// The limit of a text is that of the whole body: a long field beside a short text is `body_too_large`.
    #[source = "PROTOCOL.md, section 3"]
    async fn a_long_field_beside_the_text_is_too_large(stage: Stage) -> Verdict {
        let mut ann = stage.member("ann").await?;
        let send = |length: usize| {
            let body = json!({"text": "hi", "note": "x".repeat(length)});
            json!({"type": "send", "room": stage.room(), "body": body})
        };
        ann.ask_for("sent", send(16)).await?;
        let over = send(stage.limits().wire.max_body_bytes + 64);
        ann.ask_for_error("body_too_large", over).await.map(drop)
    }

    /// A body without a text, or whose text is no string, is refused.
    async fn a_body_of_another_shape_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        for body in [json!({}), json!({"text": 1}), json!({"text": null}), json!({"words": "hi"})] {
            let command = json!({"type": "send", "room": stage.room(), "body": body});
            ann.ask_for_error("bad_body", command).await?;
        }
        Ok(())
    }

    /// A text has no NUL, escape or bell; line feeds and tabs are accepted.
    async fn control_characters_in_a_text_are_refused(stage: Stage, mut ann: Member) -> Verdict {
        for text in ["a\0b", "\u{1b}[31m", "\u{7}", "a\u{7f}"] {
            let error = ann.ask_for_error("bad_body", send(&stage.room(), text)).await?;
            let names_rule = error["message"].as_str().is_some_and(|text| text.contains("control character"));
            ann.check(names_rule, "a `message` about control characters", &error)?;
        }
        ann.post(&stage.room(), "one\n\ttwo\r\nthree").await.map(drop)
    }

    /// Tags, scripts, quotes and entities arrive exactly as they were sent.
    async fn markup_is_delivered_as_text(stage: Stage, mut ann: Member) -> Verdict {
        for text in [
            "<script>alert(1)</script>",
            "\"><img src=x onerror=alert(1)>",
            "&lt;b&gt; '\\' \u{2028} </textarea>",
            "{{7*7}} ${7*7} %s %n",
        ] {
            let message = sent(&stage, &mut ann, send(&stage.room(), text)).await?;
            ann.check(text_of(&message) == text, format!("the text {text:?}"), &message)?;
        }
        Ok(())
    }

    /// A valid body is delivered byte for byte: unknown fields, their order and the spelling of numbers stay.
    async fn a_body_is_delivered_unchanged(stage: Stage) -> Verdict {
        let (mut ann, room) = (stage.member("ann").await?, stage.room());
        let body = r#"{"text":"hi", "mood" : 1.50,"a":{"z":1,"y":[ ]}}"#;
        ann.text(format!(r#"{{"type":"send","room":"{room}","body":{body},"ref":"1"}}"#)).await?;
        loop {
            match ann.frame().await? {
                Ok(frame) if frame.payload.starts_with(br#"{"type":"message""#) => {
                    let text = String::from_utf8_lossy(&frame.payload).into_owned();
                    let kept = text.contains(body);
                    return ann.check(kept, format!("the body {body}"), &Value::from(text));
                }
                Ok(_) => {}
                Err(end) => return Err(ann.failure("the message", end)),
            }
        }
    }

    /// The fields `user`, `seq` and `at` in a command change nothing: the server sets them.
    #[source = "PROTOCOL.md, section 4"]
    async fn a_client_cannot_set_user_seq_or_time(stage: Stage, mut ann: Member) -> Verdict {
        let mut command = send(&stage.room(), "forged");
        command["user"] = json!({"id": "root", "name": "root"});
        command["seq"] = json!(1_000);
        command["at"] = json!(1);
        let message = sent(&stage, &mut ann, command).await?;
        let honest = message["user"]["id"] == *stage.named("ann") && message["seq"] == 1;
        ann.check(honest && message["at"].as_u64() > Some(1_600_000_000_000), "its own truth", &message)
    }

    /// The reply `sent` and the message itself have the same `seq` and the same time.
    #[source = "PROTOCOL.md, section 4"]
    async fn sent_and_message_have_the_same_seq_and_time(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        let reply = ann.ask_for("sent", send(&stage.room(), "hi")).await?;
        let message = bob.expect("message").await?;
        let agree = reply["seq"] == message["seq"] && reply["at"] == message["at"];
        ann.check(agree, format!("the `seq` and `at` of {message}"), &reply)?;
        ann.check(reply.get("duplicate").is_none(), "no `duplicate`", &reply)
    }

    /// A message of the maximum size, which escapes make longer, is delivered and readable.
    #[source = "PROTOCOL.md, sections 2 and 4"]
    async fn a_text_that_grows_when_escaped_is_delivered(stage: Stage, mut ann: Member) -> Verdict {
        let text = "\"\\".repeat(stage.limits().wire.max_body_bytes / 2);
        let message = sent(&stage, &mut ann, send(&stage.room(), &text)).await?;
        ann.check(text_of(&message) == text, "the text as sent", &json!(text_of(&message).len()))
    }
);

/// Sends a message and returns the event `message` for it.
async fn sent(stage: &Stage, client: &mut Client, command: Value) -> Result<Value, Failure> {
    client.command(command).await?;
    let events = client.events_so_far().await?;
    let message = events.iter().find(|event| event["type"] == "message" && event["room"] == *stage.room());
    message.cloned().ok_or_else(|| client.failure("the sender's own message", Events(&events)))
}
