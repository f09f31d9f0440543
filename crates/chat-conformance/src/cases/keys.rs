use super::*;

chat_suite::cases!(
    /// The same key and body again get the first `seq` and `duplicate`, and are not delivered.
    async fn a_repeated_key_is_not_delivered_again(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        let first = ann.ask_for("sent", keyed(&stage.room(), "k", "hi")).await?;
        bob.expect("message").await?;
        for _ in 0..3 {
            let again = ann.ask_for("sent", keyed(&stage.room(), "k", "hi")).await?;
            let same = again["seq"] == first["seq"] && again["at"] == first["at"];
            ann.check(same && again["duplicate"] == true, format!("a duplicate of {first}"), &again)?;
        }
        bob.expect_no_events().await
    }

    /// A retry on a new connection of the same user is the same message.
    async fn a_key_is_kept_across_connections(stage: Stage, mut ann: Member) -> Verdict {
        ann.command(keyed(&stage.room(), "k", "hi")).await?;
        ann.events_so_far().await?;
        ann.0.reset();
        let mut again = stage.member("ann").await?;
        let sent = again.ask_for("sent", keyed(&stage.room(), "k", "hi")).await?;
        again.check(sent["seq"] == 1 && sent["duplicate"] == true, "a duplicate of 1", &sent)
    }

    /// A key that was used for another body is `key_conflict`, and the message is not stored.
    async fn a_key_with_another_body_is_a_conflict(stage: Stage, mut ann: Member) -> Verdict {
        ann.ask_for("sent", keyed(&stage.room(), "k", "hi")).await?;
        ann.ask_for_error("key_conflict", keyed(&stage.room(), "k", "other")).await?;
        let history = stage.history().await?;
        check(history.len() == 1, "one message", Events(&history))
    }

    /// The same key of another user is another message.
    async fn keys_of_two_users_are_independent(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let one = ann.ask_for("sent", keyed(&stage.room(), "k", "hi")).await?;
        let two = bob.ask_for("sent", keyed(&stage.room(), "k", "hi")).await?;
        let apart = one["seq"] == 1 && two["seq"] == 2 && two.get("duplicate").is_none();
        bob.check(apart, "a message of its own", &two)
    }

    /// The same key in another room is another message.
    async fn keys_of_two_rooms_are_independent(stage: Stage, mut ann: Member) -> Verdict {
        let other = stage.named("other");
        ann.join(&other).await?;
        ann.ask_for("sent", keyed(&stage.room(), "k", "hi")).await?;
        let sent = ann.ask_for("sent", keyed(&other, "k", "bye")).await?;
        ann.check(sent["seq"] == 1 && sent.get("duplicate").is_none(), "a message of its own", &sent)
    }

    /// Two equal messages without a key are two messages.
    async fn messages_without_a_key_are_never_duplicates(stage: Stage, mut ann: Member) -> Verdict {
        let seqs = [ann.post(&stage.room(), "hi").await?, ann.post(&stage.room(), "hi").await?];
        check(seqs == [1, 2], "the messages 1 and 2", format!("{seqs:?}"))
    }

    /// A key has 1 to 64 bytes: none and 65 are `bad_key`; a number is `bad_command`.
    #[source = "PROTOCOL.md, section 3"]
    async fn a_key_of_64_bytes_is_the_longest(stage: Stage, mut ann: Member) -> Verdict {
        ann.ask_for("sent", keyed(&stage.room(), &"k".repeat(64), "hi")).await?;
        for key in [String::new(), "k".repeat(65), "é".repeat(33)] {
            ann.ask_for_error("bad_key", keyed(&stage.room(), &key, "hi")).await?;
        }
        let mut command = keyed(&stage.room(), "", "hi");
        command["key"] = json!(1);
        ann.ask_for_error("bad_command", command).await.map(drop)
    }

    /// A key can be printed: control, bidirectional and invisible characters are `bad_key`.
    #[source = "PROTOCOL.md, section 3"]
    async fn a_key_that_cannot_be_printed_is_refused(stage: Stage) -> Verdict {
        let mut ann = stage.member("ann").await?;
        for key in ["\u{1b}[31m", "a\0", "a\nb", "a\u{202e}b", "\u{200b}"] {
            ann.ask_for_error("bad_key", keyed(&stage.room(), key, "hi")).await?;
        }
        ann.ask_for("sent", keyed(&stage.room(), "주문 7", "hi")).await.map(drop)
    }

    /// A command and its retry in one packet are one message and one duplicate.
    async fn a_retry_in_the_same_packet_is_a_duplicate(stage: Stage, mut ann: Member) -> Verdict {
        let text = keyed(&stage.room(), "k", "hi").to_string();
        ann.send_all(&[Frame::text(&text), Frame::text(&text)]).await?;
        let events = ann.events_so_far().await?;
        let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
        let once = count("message") == 1 && count("sent") == 2;
        check(once, "one `message` and two `sent`", Events(&events))
    }
);

fn keyed(room: &str, key: &str, text: &str) -> Value {
    json!({"type": "send", "room": room, "key": key, "body": {"text": text}})
}
