use serde_json::json;

use super::{Group, case, fail};
use crate::client::Events;
use crate::{Stage, Verdict};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "names_of_any_script_are_rooms",
            "Letters and digits of any script, `-` and `_`, make a room's name.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for name in ["로비", "team-7", "a_b", "7", "комната", "部屋", "ñandú", "١٢"] {
                    ann.join(&stage.named(name)).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_room_name_of_64_bytes_is_the_longest",
            "A name has 1 to 64 bytes, not characters: 65 and none are `bad_room`.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let tag = stage.named("");
                ann.join(&format!("{}{tag}", "x".repeat(64 - tag.len()))).await?;
                bad(&stage, &["", &"x".repeat(65), &"가".repeat(22)]).await
            },
        ),
        case(
            "a_room_name_is_no_path",
            "Dots, slashes and percent signs do not stand in a name.",
            "PROTOCOL.md, section 6",
            |stage| async move { bad(&stage, &[".", "..", "a/b", "a\\b", "%2e", "a.b", "~", "c:"]).await },
        ),
        case(
            "a_room_name_is_no_pattern",
            "Wildcards and the subjects of brokers do not stand in a name.",
            "PROTOCOL.md, section 6",
            |stage| async move { bad(&stage, &["*", ">", "a*", "$js", "$JS.API", "a b", "#", "?"]).await },
        ),
        case(
            "a_room_name_is_in_lower_case",
            "A name has one spelling: upper and title case, in any script, is `bad_room`.",
            "PROTOCOL.md, section 6",
            |stage| async move { bad(&stage, &["Lobby", "LOBBY", "Ñ", "Комната", "ǅ"]).await },
        ),
        case(
            "a_room_name_is_in_nfc",
            "A name has one spelling: decomposed Korean or accents are `bad_room`.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                bad(&stage, &["\u{1105}\u{1169}\u{1107}\u{1175}", "n\u{303}", "e\u{301}"]).await
            },
        ),
        case(
            "a_room_name_can_be_seen",
            "Emoji, controls, zero-width and bidirectional characters do not stand in a name.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                bad(&stage, &["😀", "a\0", "a\n", "a\u{200b}", "\u{202e}a", "\u{feff}a", "\u{3164}"]).await
            },
        ),
        case(
            "a_room_name_begins_with_a_letter_or_digit",
            "`-` and `_` stand within a name, not at its beginning.",
            "PROTOCOL.md, section 6",
            |stage| async move { bad(&stage, &["-a", "_a", "-", "--help"]).await },
        ),
        case(
            "every_command_checks_the_room_name",
            "A bad name is `bad_room` in every command, not `not_joined`.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for command in [
                    json!({"type": "leave", "room": "../x"}),
                    json!({"type": "send", "room": "../x", "body": {"text": "hi"}}),
                    json!({"type": "history", "room": "../x"}),
                    json!({"type": "members", "room": "../x"}),
                    json!({"type": "typing", "room": "../x", "active": true}),
                ] {
                    ann.ask_in_vain("bad_room", command).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_connection_is_in_a_bounded_number_of_rooms",
            "One room more than `max_rooms` is `too_many_rooms`; after leaving one, there is place again.",
            "PROTOCOL.md, section 7.1",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let max = stage.limits().connection.max_rooms;
                for n in 0..max {
                    ann.join(&stage.named(&format!("room{n}"))).await?;
                }
                let one_more = json!({"type": "join", "room": stage.named("more")});
                ann.ask_in_vain("too_many_rooms", one_more.clone()).await?;
                ann.join(&stage.named("room0")).await?;
                ann.ask_for("left", json!({"type": "leave", "room": stage.named("room0")})).await?;
                ann.ask_for("joined", one_more).await.map(drop)
            },
        ),
        case(
            "joining_again_is_no_error",
            "A member who joins again gets `joined`, is counted once, and gets nothing twice.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                ann.post(&stage.room(), "one").await?;
                let joined = ann.join(&stage.room()).await?;
                ann.check(joined["members"] == 1 && joined["seq"] == 1, "1 member, `seq` 1", &joined)?;
                let mut bob = stage.member("bob").await?;
                bob.post(&stage.room(), "two").await?;
                super::expect_messages(&mut ann, [2]).await?;
                ann.expect_quiet().await
            },
        ),
        case(
            "rooms_do_not_mix",
            "A message reaches the members of its room and nobody else, and each room counts for itself.",
            "PROTOCOL.md, section 5.1",
            |stage| async move {
                let (left, right) = (stage.named("left"), stage.named("right"));
                let (mut ann, mut bob) = (stage.client("ann").await?, stage.client("bob").await?);
                ann.join(&left).await?;
                bob.join(&right).await?;
                let mut both = stage.client("both").await?;
                both.join(&left).await?;
                both.join(&right).await?;
                for n in 1..=3 {
                    fail(ann.post(&left, "l").await? == n, "a `seq` of the room's own", n)?;
                    fail(bob.post(&right, "r").await? == n, "a `seq` of the room's own", n)?;
                }
                let came = both.so_far().await?;
                let count = came.iter().filter(|event| event["type"] == "message").count();
                fail(count == 6, "six messages for who is in both rooms", count)?;
                ann.expect_quiet().await?;
                bob.expect_quiet().await
            },
        ),
        case(
            "who_left_gets_nothing_more",
            "After `left` no event of the room comes, not even those that were on their way.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                ann.ask_for("left", json!({"type": "leave", "room": stage.room()})).await?;
                ann.so_far().await?;
                for n in 0..5 {
                    bob.post(&stage.room(), &n.to_string()).await?;
                }
                let came = ann.so_far().await?;
                fail(came.is_empty(), "nothing of the room", Events(&came))
            },
        ),
        case(
            "members_are_sorted_and_each_stands_once",
            "`members` lists users by name, each once however many connections it has.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let mut ann = stage.member("bea").await?;
                let _others =
                    (stage.member("cid").await?, stage.member("ann").await?, stage.member("cid").await?);
                let members =
                    ann.ask_for("members", json!({"type": "members", "room": stage.room()})).await?;
                let names: Vec<_> = ["ann", "bea", "cid"].map(|name| json!(stage.named(name))).into();
                let got: Vec<_> = members["members"].as_array().into_iter().flatten().collect();
                let fits = got.len() == 3 && got.iter().zip(&names).all(|(user, name)| user["name"] == *name);
                ann.check(fits, format!("the users {names:?}"), &members)
            },
        ),
    ];
    Group {
        name: "rooms",
        look: "crates/chat-proto/src/name.rs, session.rs and roster.rs; crates/chat-core/src/live.rs",
        cases,
    }
}

/// Each of these is `bad_room`.
async fn bad(stage: &Stage, names: &[&str]) -> Verdict {
    let mut client = stage.client("ann").await?;
    for name in names {
        client.ask_in_vain("bad_room", json!({"type": "join", "room": name})).await?;
    }
    client.expect_quiet().await
}
