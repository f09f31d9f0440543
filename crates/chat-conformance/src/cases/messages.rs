use serde_json::{Value, json};

use super::{Group, case, send, text_of};
use crate::client::{Client, Events};
use crate::{Failure, Stage};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_body_that_says_nothing_is_refused",
            "A text of nothing, or of white space only, is `empty_body`.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                for text in ["", " ", "\n\t", "\u{3000}\u{a0}"] {
                    ann.ask_in_vain("empty_body", send(&stage.room(), text)).await?;
                }
                ann.expect_quiet().await
            },
        ),
        case(
            "a_text_of_exactly_the_limit_is_sent",
            "A text of 4,096 bytes passes; one more is `body_too_large`.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let limit = stage.limits().wire.max_body_bytes;
                ann.post(&stage.room(), &"x".repeat(limit)).await?;
                let over = send(&stage.room(), &"x".repeat(limit + 1));
                ann.ask_in_vain("body_too_large", over).await.map(drop)
            },
        ),
        case(
            "the_limit_of_a_text_counts_bytes",
            "A text is measured in bytes of UTF-8, not in characters and not as it was escaped.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let limit = stage.limits().wire.max_body_bytes;
                ann.post(&stage.room(), &"é".repeat(limit / 2)).await?;
                let over = send(&stage.room(), &"é".repeat(limit / 2 + 1));
                ann.ask_in_vain("body_too_large", over).await?;
                let escaped = r"\u00e9".repeat(limit / 2);
                let room = stage.room();
                ann.text(format!(r#"{{"type":"send","room":"{room}","body":{{"text":"{escaped}"}}}}"#))
                    .await?;
                ann.so_far().await.and_then(|came| {
                    let sent = came.iter().any(|event| event["type"] == "sent");
                    ann.check(sent, "`sent`", &json!(came.len()))
                })
            },
        ),
        case(
            "a_body_of_another_shape_is_refused",
            "A body without a text, or whose text is no string, is no message of the standard kind.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                for body in [json!({}), json!({"text": 1}), json!({"text": null}), json!({"words": "hi"})] {
                    let command = json!({"type": "send", "room": stage.room(), "body": body});
                    ann.ask_in_vain("bad_body", command).await?;
                }
                Ok(())
            },
        ),
        case(
            "control_characters_in_a_text_are_refused",
            "A text has no NUL, escape or bell; line feeds and tabs are fine.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                for text in ["a\0b", "\u{1b}[31m", "\u{7}", "a\u{7f}"] {
                    ann.ask_in_vain("bad_body", send(&stage.room(), text)).await?;
                }
                ann.post(&stage.room(), "one\n\ttwo\r\nthree").await.map(drop)
            },
        ),
        case(
            "markup_is_text",
            "Tags, scripts, quotes and entities arrive exactly as they were sent.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
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
            },
        ),
        case(
            "a_body_is_passed_on_unchanged",
            "A valid body is delivered as it was written: unknown fields, their order, numbers as spelt.",
            "PROTOCOL.md, section 3",
            |stage| async move {
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
            },
        ),
        case(
            "a_client_cannot_speak_for_others",
            "`user`, `seq` and `at` in a command change nothing: the server says who, where and when.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let mut command = send(&stage.room(), "forged");
                command["user"] = json!({"id": "root", "name": "root"});
                command["seq"] = json!(1_000);
                command["at"] = json!(1);
                let message = sent(&stage, &mut ann, command).await?;
                let honest = message["user"]["id"] == *stage.named("ann") && message["seq"] == 1;
                ann.check(
                    honest && message["at"].as_u64() > Some(1_600_000_000_000),
                    "its own truth",
                    &message,
                )
            },
        ),
        case(
            "sent_and_message_agree",
            "`sent` and the message itself have the same `seq` and the same time.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                let reply = ann.ask_for("sent", send(&stage.room(), "hi")).await?;
                let message = bob.expect("message").await?;
                let agree = reply["seq"] == message["seq"] && reply["at"] == message["at"];
                ann.check(agree, format!("the `seq` and `at` of {message}"), &reply)?;
                ann.check(reply.get("duplicate").is_none(), "no `duplicate`", &reply)
            },
        ),
        case(
            "a_text_of_limit_size_in_escapes_is_delivered",
            "A message whose encoding is larger than it came, by escapes, is still delivered and readable.",
            "PROTOCOL.md, sections 2 and 4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let text = "\"\\".repeat(stage.limits().wire.max_body_bytes / 2);
                let message = sent(&stage, &mut ann, send(&stage.room(), &text)).await?;
                ann.check(text_of(&message) == text, "the text as sent", &json!(text_of(&message).len()))
            },
        ),
    ];
    Group {
        name: "messages",
        look: "crates/chat-core/src/message.rs and crates/chat-proto/src/log.rs",
        cases,
    }
}

/// Sends a message and returns it as it came back.
async fn sent(stage: &Stage, client: &mut Client, command: Value) -> Result<Value, Failure> {
    client.command(command).await?;
    let came = client.so_far().await?;
    let message = came.iter().find(|event| event["type"] == "message" && event["room"] == *stage.room());
    message.cloned().ok_or_else(|| client.failure("the own message", Events(&came)))
}
