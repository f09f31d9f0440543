use super::changed::{change, change_nothing, with};
use super::governed::{create, restrict, role, user};
use super::host::{DETAIL, SPAM, STAFF, with_rights, with_tokens};
use super::*;

const RACE: &str = "two users open the room at the same time";

chat_suite::cases!(
    /// A `join` with a user joins the direct room of both. Each of them finds it so, and is a member of it.
    #[with(identify(with_tokens))]
    async fn both_users_find_one_room(stage: Stage) -> Verdict {
        let mut ann = user(&stage, "1", "Ann").await?;
        let joined = ann.ask_for("joined", join("2")).await?;
        let room = joined["room"].clone();
        let is_named = room.as_str().is_some_and(|room| room.starts_with("direct-") && room.len() <= 64);
        ann.check(is_named, "a name that begins with `direct-`", &joined)?;
        let fits = joined["with"]["id"] == "2" && joined["seq"] == 1 && joined["role"] == "member";
        ann.check(fits, "a new room with the user 2, as a member", &joined)?;
        ann.check(joined["may"] == json!(["send", "react", "edit", "delete"]), "4 rights", &joined)?;
        let mut bob = user(&stage, "2", "Bob").await?;
        let joined = bob.ask_for("joined", join("1")).await?;
        let fits = joined["room"] == room && joined["with"] == named("1", "Ann");
        bob.check(fits, format!("the room {room} with Ann"), &joined)?;
        let room = room.as_str().unwrap_or_default();
        bob.post(room, "hi").await?;
        ann.until("message").await?;
        let again = ann.ask_for("joined", json!({"type": "join", "room": room})).await?;
        ann.check(again["with"] == named("2", "Bob"), "the same room by its name, with Bob", &again)
    }

    /// The first `join` of a direct room is an entry of its log, with both users. That of the other user adds the
    /// name, and the next one changes nothing.
    #[with(identify(with_tokens))]
    async fn a_direct_room_is_opened_once(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (user(&stage, "1", "Ann").await?, user(&stage, "2", "Bob").await?);
        let opened = ann.ask_for("joined", join("2")).await?;
        bob.expect("activity").await?;
        let joined = bob
            .ask_for("joined", with(join("1"), "after", json!({"epoch": opened["epoch"], "seq": 0})))
            .await?;
        bob.check(joined["seq"] == 2, "2 entries, with the name of Bob in the second one", &joined)?;
        let entry = bob.until("settings").await?;
        let fits = entry["created"] == true && entry["join"] == "members" && entry["by"] == named("1", "Ann");
        bob.check(fits, "a room for members that Ann has created", &entry)?;
        let users = json!([named("1", "Ann"), named("2", "2")]);
        bob.check(entry["direct"] == users, "both users, and no name of Bob", &entry)?;
        for peer in [&mut ann, &mut bob] {
            let entry = peer.until("settings").await?;
            let fits = entry["created"].is_null() && entry["by"] == named("2", "Bob");
            peer.check(fits, "a change by Bob", &entry)?;
            let users = json!([named("1", "Ann"), named("2", "Bob")]);
            peer.check(entry["direct"] == users, "both users with their names", &entry)?;
        }
        let again = ann.ask_for("joined", join("2")).await?;
        ann.check(again["seq"] == 2, "no further entry", &again)
    }

    /// Of two users who open their direct room at the same time, both are in one room, which one of them opens.
    #[with(identify(with_tokens))]
    #[with(race(RACE))]
    async fn both_users_open_one_room_at_once(stage: Stage) -> Verdict {
        for other in 2..12 {
            let (id, name) = (other.to_string(), format!("Bob{other}"));
            let (mut ann, mut bob) = (user(&stage, "1", "Ann").await?, user(&stage, &id, &name).await?);
            ann.command(with(join(&id), "ref", "at once")).await?;
            bob.command(with(join("1"), "ref", "at once")).await?;
            let (one, two) = (ann.reply(&json!("at once")).await?, bob.reply(&json!("at once")).await?);
            let fits = one["type"] == "joined" && one["room"] == two["room"];
            bob.check(fits && two["type"] == "joined", format!("the room {}", one["room"]), &two)?;
            let room = one["room"].as_str().unwrap_or_default();
            let seq = ann.post(room, "hi").await?;
            check(seq == 3, "the first message after the opening and a name", seq)?;
            bob.until("message").await?;
        }
        Ok(())
    }

    /// A user who is not connected finds the room in `rooms`, with the other user and the unread messages.
    #[with(identify(with_tokens))]
    async fn an_absent_user_finds_the_room_in_the_list(stage: Stage) -> Verdict {
        let mut ann = user(&stage, "1", "Ann").await?;
        let joined = ann.ask_for("joined", join("2")).await?;
        ann.post(joined["room"].as_str().unwrap_or_default(), "hi").await?;
        let mut bob = user(&stage, "2", "Bob").await?;
        let expected = json!([{"room": joined["room"], "seq": 2, "read": 0, "unread": 1, "mentions": 0,
                               "with": named("1", "Ann")}]);
        for _ in 0..2 {
            let listed = bob.ask_for("rooms", json!({"type": "rooms"})).await?;
            bob.check(listed["rooms"] == expected, format!("the rooms {expected}"), &listed)?;
        }
        Ok(())
    }

    /// A user who is connected gets the `activity` of the room, with the other user, without having asked for it. The
    /// user who opens the room does not learn that the other one is connected.
    #[with(identify(with_tokens))]
    async fn a_connected_user_learns_of_the_room(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (user(&stage, "1", "Ann").await?, user(&stage, "2", "Bob").await?);
        let joined = ann.ask_for("joined", join("2")).await?;
        ann.check(joined["with"] == named("2", "2"), "the id of a user who has not joined", &joined)?;
        let activity = bob.expect("activity").await?;
        let fits = activity["room"] == joined["room"] && activity["seq"] == 1 && activity["unread"] == 0;
        bob.check(fits, "the activity of a new room", &activity)?;
        bob.check(activity["with"] == named("1", "Ann"), "the user Ann", &activity)?;
        ann.post(joined["room"].as_str().unwrap_or_default(), "hi").await?;
        let activity = bob.expect("activity").await?;
        let fits = activity["seq"] == 2 && activity["unread"] == 1 && activity["with"] == named("1", "Ann");
        bob.check(fits, "the activity of a message from Ann", &activity)?;
        ann.expect_no_events().await
    }

    /// For others, each name of a direct room is `forbidden`, whether there is such a room or not, and also for a
    /// user who is a moderator of each room.
    #[with(identify(with_tokens))]
    #[with(authorize(with_rights))]
    async fn others_cannot_tell_if_a_direct_room_exists(stage: Stage) -> Verdict {
        let mut ann = user(&stage, "1", "Ann").await?;
        let joined = ann.ask_for("joined", join("2")).await?;
        let absent = json!(format!("direct-{}", "0".repeat(32)));
        for (id, name) in [("3", "Zoe"), ("9", "boss")] {
            let mut other = user(&stage, id, name).await?;
            for kind in ["join", "create", "follow"] {
                let mut answers = Vec::new();
                for room in [&joined["room"], &absent] {
                    let asked = json!({"type": kind, "room": room, "on": true});
                    let mut error = other.ask_for_error("forbidden", asked).await?;
                    other.check(error["room"] == *room, "the room of the command", &error)?;
                    (error["room"], error["ref"]) = (json!(null), json!(null));
                    answers.push(error);
                }
                other.check(answers[0] == answers[1], answers[0].to_string(), &answers[1])?;
            }
        }
        ann.expect_no_events().await
    }

    /// Nobody sets the rules of a direct room, gives roles in it or restricts its users. Nobody pins in it.
    #[with(identify(with_tokens))]
    async fn a_direct_room_is_not_governed(stage: Stage) -> Verdict {
        let mut ann = user(&stage, "1", "Ann").await?;
        let joined = ann.ask_for("joined", join("2")).await?;
        let room = joined["room"].as_str().unwrap_or_default();
        let seq = ann.post(room, "hi").await?;
        for command in [
            create(room),
            role(room, "3", "member"),
            role(room, "2", "none"),
            role(room, "1", "none"),
            restrict(room, "2", "mute"),
            json!({"type": "pin", "room": room, "seq": seq, "on": true}),
        ] {
            ann.ask_for_error("forbidden", command).await?;
        }
        let edit = json!({"type": "edit", "room": room, "seq": seq, "body": {"text": "ho"}});
        let edited = change(&mut ann, edit).await?;
        check(edited == seq + 1, "no entry before the edit", edited)
    }

    /// A guest proves nothing, and so has no direct rooms.
    async fn a_guest_has_no_direct_rooms(stage: Stage, mut ann: Client) -> Verdict {
        let mut bob = stage.client("bob").await?;
        let id = stage.named("bob");
        for with in [id.as_str(), "7"] {
            ann.ask_for_error("forbidden", join(with)).await?;
        }
        bob.expect_no_events().await
    }

    /// The host decides who writes to whom: it sees the other user.
    #[with(identify(with_tokens))]
    #[with(authorize(with_rights))]
    async fn the_host_decides_who_opens_a_direct_room(stage: Stage) -> Verdict {
        let mut ann = user(&stage, "1", "Ann").await?;
        ann.ask_for_error("forbidden", join(STAFF)).await?;
        let error = ann.ask_for_error("rejected", join(SPAM)).await?;
        ann.check(error["detail"] == DETAIL, "the text of the host", &error)?;
        let listed = ann.ask_for("rooms", json!({"type": "rooms"})).await?;
        ann.check(listed["rooms"] == json!([]), "no room", &listed)?;
        ann.ask_for("joined", join("2")).await.map(drop)
    }

    /// Direct rooms that others open take no place of the rooms that a user follows. A user is in a limited number.
    #[with(identify(with_tokens))]
    #[with(limits(|limits| limits.rooms.max_followed_per_user = 2))]
    #[with(needs(Needs::Limits))]
    async fn direct_rooms_take_no_place_of_others(stage: Stage) -> Verdict {
        for (stranger, name) in [("3", "Cid"), ("4", "Dan")] {
            user(&stage, stranger, name).await?.ask_for("joined", join("1")).await?;
        }
        let mut ann = user(&stage, "1", "Ann").await?;
        for room in ["a", "b"] {
            change_nothing(&mut ann, follow(&json!(stage.named(room)), true)).await?;
        }
        let listed = ann.ask_for("rooms", json!({"type": "rooms"})).await?;
        let of_direct = |room: &&Value| room["with"].is_object();
        let rooms = listed["rooms"].as_array().cloned().unwrap_or_default();
        let fits = rooms.len() == 4 && rooms.iter().filter(of_direct).count() == 2;
        ann.check(fits, "2 direct rooms and 2 others", &listed)?;
        let mut zoe = user(&stage, "5", "Zoe").await?;
        zoe.ask_for_error("too_many_rooms", join("1")).await?;
        ann.ask_for_error("too_many_rooms", join("6")).await?;
        let direct = rooms.iter().find(of_direct).map(|room| room["room"].clone()).unwrap_or_default();
        change_nothing(&mut ann, follow(&direct, false)).await?;
        zoe.ask_for("joined", join("1")).await?;
        ann.expect("activity").await.map(drop)
    }

    /// A direct room that is opened is one of the new rooms of the user who opens it.
    #[with(identify(with_tokens))]
    #[with(limits(|limits| limits.rooms.max_created_per_hour = 1))]
    #[with(needs(Needs::Limits))]
    async fn opening_too_many_direct_rooms_is_refused(stage: Stage) -> Verdict {
        let (mut ann, mut zoe) = (user(&stage, "1", "Ann").await?, user(&stage, "3", "Zoe").await?);
        ann.ask_for("joined", join("2")).await?;
        let error = ann.ask_for_error("rate_limited", join("3")).await?;
        let is_long = error["retry_after_ms"].as_u64().is_some_and(|wait| wait > 60_000);
        ann.check(is_long, "`retry_after_ms` of minutes", &error)?;
        ann.ask_for("joined", join("2")).await?;
        zoe.expect_no_events().await?;
        zoe.ask_for("joined", join("1")).await?;
        ann.expect("activity").await?;
        ann.ask_for("joined", join("3")).await.map(drop)
    }

    /// A user who joins with the own id has a room for notes.
    #[with(identify(with_tokens))]
    async fn a_user_has_a_room_for_notes(stage: Stage) -> Verdict {
        let mut ann = user(&stage, "1", "Ann").await?;
        let joined = ann.ask_for("joined", join("1")).await?;
        ann.check(joined["with"] == named("1", "Ann"), "a room with the user Ann", &joined)?;
        let room = joined["room"].as_str().unwrap_or_default();
        ann.post(room, "to do").await?;
        let mut bob = user(&stage, "2", "Bob").await?;
        bob.ask_for_error("forbidden", json!({"type": "join", "room": room})).await.map(drop)
    }

    /// A `join` with a user resumes as one with a room does.
    #[with(identify(with_tokens))]
    async fn a_join_with_a_user_resumes(stage: Stage) -> Verdict {
        let mut ann = user(&stage, "1", "Ann").await?;
        let joined = ann.ask_for("joined", join("2")).await?;
        let room = joined["room"].as_str().unwrap_or_default();
        for text in ["one", "two"] {
            ann.post(room, text).await?;
        }
        let mut again = user(&stage, "1", "Ann").await?;
        let after = json!({"epoch": joined["epoch"], "seq": 2});
        let resumed = again.ask_for("joined", with(join("2"), "after", after)).await?;
        again.check(resumed["recovered"] == true && resumed["seq"] == 3, "3 entries", &resumed)?;
        expect_messages(&mut again, [3]).await
    }

    /// A `join` with a bad user, or with a user and a room, is `bad_command`.
    #[with(identify(with_tokens))]
    async fn a_bad_user_is_refused(stage: Stage) -> Verdict {
        let mut ann = user(&stage, "1", "Ann").await?;
        for asked in [
            json!({"type": "join"}),
            join(""),
            join(&"x".repeat(256)),
            json!({"type": "join", "with": 2}),
            json!({"type": "join", "with": {"id": "2"}}),
            json!({"type": "join", "with": "2", "room": stage.room()}),
            json!({"type": "join", "with": "2", "last": 1, "after": {"epoch": "e", "seq": 1}}),
        ] {
            ann.ask_for_error("bad_command", asked).await?;
        }
        Ok(())
    }
);

fn join(with: &str) -> Value {
    json!({"type": "join", "with": with})
}

fn named(id: &str, name: &str) -> Value {
    json!({"id": id, "name": name})
}

fn follow(room: &Value, on: bool) -> Value {
    json!({"type": "follow", "room": room, "on": on})
}
