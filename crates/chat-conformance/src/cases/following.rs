use super::host::{STAFF, with_rights};
use super::unread::mark;
use super::*;

const RACE: &str = "the activity of a room is sent over time";

chat_suite::cases!(
    /// `rooms` has each room that the user follows, with its unread messages, although the user is not in it.
    #[with(race(RACE))]
    async fn a_followed_room_is_listed_with_its_unread_messages(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let mut bob = stage.client("bob").await?;
        expect_rooms(&mut bob, json!({}), &[], false).await?;
        follow(&mut bob, &room, true).await?;
        follow(&mut bob, &room, true).await?;
        expect_rooms(&mut bob, json!({}), &[(&room, 0, 0, 0)], false).await?;
        let mut reader = stage.client("bob").await?;
        ann.post(&room, "one").await?;
        ann.post(&room, "two").await?;
        expect_rooms(&mut reader, json!({}), &[(&room, 2, 0, 2)], false).await?;
        mark(&mut reader, &room, 1, 1).await?;
        expect_rooms(&mut reader, json!({}), &[(&room, 2, 1, 1)], false).await
    }

    /// `rooms` has the rooms that the connection is in, and not those of other connections.
    async fn a_joined_room_is_listed_on_its_connection(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        expect_rooms(&mut ann, json!({}), &[(&room, 1, 0, 0)], false).await?;
        let mut second = stage.client("ann").await?;
        expect_rooms(&mut second, json!({}), &[], false).await?;
        ann.ask_for("left", json!({"type": "leave", "room": room})).await?;
        expect_rooms(&mut ann, json!({}), &[], false).await
    }

    /// `rooms` is sorted by name, and `after` continues a page.
    async fn rooms_are_listed_in_pages_in_the_order_of_their_names(stage: Stage, mut ann: Client) -> Verdict {
        let [a, b, c] = ["a", "b", "c"].map(|name| stage.named(name));
        for room in [&c, &a] {
            follow(&mut ann, room, true).await?;
        }
        ann.join(&b).await?;
        let empty = |room| (room, 0, 0, 0);
        let (a, b, c) = (empty(a.as_str()), empty(b.as_str()), empty(c.as_str()));
        expect_rooms(&mut ann, json!({}), &[a, b, c], false).await?;
        expect_rooms(&mut ann, json!({"limit": 2}), &[a, b], true).await?;
        expect_rooms(&mut ann, json!({"limit": 2, "after": b.0}), &[c], false).await?;
        expect_rooms(&mut ann, json!({"limit": 0, "after": a.0}), &[b], true).await?;
        expect_rooms(&mut ann, json!({"after": c.0}), &[], false).await
    }

    /// A connection that follows a room gets its `activity`, with the newest entry and the unread messages.
    #[with(race(RACE))]
    async fn a_followed_room_has_activity(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let mut bob = stage.client("bob").await?;
        follow(&mut bob, &room, true).await?;
        ann.post(&room, "one").await?;
        let activity = bob.expect("activity").await?;
        let fits = activity["room"] == room
            && activity["seq"] == 1
            && activity["unread"] == 1
            && activity["mentions"] == 0;
        bob.check(fits, "the activity of one message", &activity)?;
        ann.post(&room, "two").await?;
        let activity = bob.expect("activity").await?;
        bob.check(activity["seq"] == 2 && activity["unread"] == 2, "the activity of two messages", &activity)
    }

    /// There is at most one `activity` per second for a room, and the last one has the last state.
    #[with(race(RACE))]
    async fn activity_comes_at_most_once_per_second(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let mut bob = stage.client("bob").await?;
        follow(&mut bob, &room, true).await?;
        let (start, mut seqs) = (Instant::now(), Vec::new());
        ann.send_all_while_reading(&sends(&room, 1..=30)).await?;
        while seqs.last() != Some(&json!(30)) {
            let activity = bob.expect("activity").await?;
            bob.check(activity["seq"] == activity["unread"], "all messages unread", &activity)?;
            seqs.push(activity["seq"].clone());
        }
        seqs.extend(bob.events_so_far().await?.into_iter().map(|event| event["seq"].clone()));
        let elapsed = start.elapsed();
        // The first one comes at once.
        let is_slow = seqs.len() as u64 <= elapsed.as_secs() + 2;
        check(is_slow, "at most one activity in a second", format!("{seqs:?} in {elapsed:?}"))
    }

    /// A connection that is in the room gets no `activity`, although the user follows it.
    async fn a_member_gets_no_activity(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        follow(&mut bob, &room, true).await?;
        ann.post(&room, "hi").await?;
        expect_messages(&mut bob, [1]).await?;
        sleep(millis(100)).await;
        bob.expect_no_events().await
    }

    /// A room that the user no longer follows is not listed, and has no `activity`.
    async fn a_room_that_is_no_longer_followed_has_no_activity(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let mut bob = stage.client("bob").await?;
        for on in [false, true, false] {
            follow(&mut bob, &room, on).await?;
        }
        ann.post(&room, "hi").await?;
        sleep(millis(100)).await;
        bob.expect_no_events().await?;
        expect_rooms(&mut bob, json!({}), &[], false).await
    }

    /// A user follows at most `max_followed_per_user` rooms. A further one is `too_many_rooms`.
    #[with(limits(|limits| limits.rooms.max_followed_per_user = 3))]
    #[with(needs(Needs::Limits))]
    async fn a_user_follows_a_limited_number_of_rooms(stage: Stage, mut ann: Client) -> Verdict {
        let rooms = ["a", "b", "c", "d"].map(|name| stage.named(name));
        for room in &rooms[..3] {
            follow(&mut ann, room, true).await?;
        }
        ann.ask_for_error("too_many_rooms", command(&rooms[3], true)).await?;
        follow(&mut ann, &rooms[0], true).await?;
        follow(&mut ann, &rooms[0], false).await?;
        follow(&mut ann, &rooms[3], true).await
    }

    /// A user may follow only rooms that the user may join.
    #[with(authorize(with_rights))]
    async fn a_room_without_the_right_cannot_be_followed(stage: Stage, mut ann: Client) -> Verdict {
        ann.ask_for_error("forbidden", command(STAFF, true)).await?;
        expect_rooms(&mut ann, json!({}), &[], false).await?;
        follow(&mut ann, STAFF, false).await
    }

    /// A `follow` or a `rooms` with a field of a wrong type is `bad_command`, and one with an invalid name `bad_room`.
    async fn bad_fields_are_refused(stage: Stage, mut ann: Client) -> Verdict {
        let room = stage.room();
        for (code, command) in [
            ("bad_command", json!({"type": "follow", "room": room})),
            ("bad_command", json!({"type": "follow", "room": room, "on": 1})),
            ("bad_room", json!({"type": "follow", "room": "No Room", "on": true})),
            ("bad_command", json!({"type": "rooms", "after": {"room": room}})),
            ("bad_command", json!({"type": "rooms", "after": 1})),
            ("bad_room", json!({"type": "rooms", "after": "No Room"})),
            ("bad_command", json!({"type": "rooms", "limit": "9"})),
        ] {
            ann.ask_for_error(code, command).await?;
        }
        Ok(())
    }
);

fn command(room: &str, on: bool) -> Value {
    json!({"type": "follow", "room": room, "on": on})
}

async fn follow(client: &mut Client, room: &str, on: bool) -> Verdict {
    let done = client.ask_for("done", command(room, on)).await?;
    client.check(done["room"] == room && done["seq"].is_null(), "a `done` without a `seq`", &done)
}

/// Asks for rooms, and expects these: the name, the newest entry, the marker and the number of unread messages of each.
async fn expect_rooms(
    client: &mut Client,
    mut asked: Value,
    rooms: &[(&str, u64, u64, u64)],
    more: bool,
) -> Verdict {
    asked["type"] = json!("rooms");
    let reply = client.ask_for("rooms", asked).await?;
    let summary = |(room, seq, read, unread): &(&str, u64, u64, u64)| json!({"room": room, "seq": seq, "read": read, "unread": unread, "mentions": 0});
    let expected: Vec<_> = rooms.iter().map(summary).collect();
    let fits = reply["rooms"] == json!(expected) && reply["more"] == more;
    client.check(fits, format!("the rooms {}, `more` {more}", json!(expected)), &reply)
}
