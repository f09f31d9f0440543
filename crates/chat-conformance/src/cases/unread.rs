use super::changed::{change, delete};
use super::host::{with_token, with_tokens};
use super::*;

chat_suite::cases!(
    /// `joined` has the marker of the user and the number of unread messages. A user without a marker has read nothing.
    async fn joined_has_the_marker_and_the_unread_messages(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        for text in ["one", "two", "three"] {
            ann.post(&room, text).await?;
        }
        let mut bob = stage.client("bob").await?;
        expect_counts(&mut bob, &room, (0, 3)).await?;
        mark(&mut bob, &room, 2, 2).await?;
        expect_counts(&mut bob, &room, (2, 1)).await?;
        let mut again = stage.client("bob").await?;
        expect_counts(&mut again, &room, (2, 1)).await
    }

    /// A marker moves forward only. The reply to an earlier position is the present one.
    async fn a_marker_does_not_go_back(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        for text in ["one", "two", "three"] {
            ann.post(&room, text).await?;
        }
        expect_messages(&mut bob, 1..=3).await?;
        for (seq, present) in [(0, 0), (2, 2), (1, 2), (2, 2), (0, 2), (3, 3)] {
            mark(&mut bob, &room, seq, present).await?;
        }
        expect_counts(&mut bob, &room, (3, 0)).await
    }

    /// A position beyond the newest entry is `bad_cursor`, and does not move the marker.
    async fn a_marker_beyond_the_newest_entry_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.ask_for_error("bad_cursor", read(&room, 1)).await?;
        ann.post(&room, "one").await?;
        for seq in [2, 3, (1 << 53) - 1] {
            ann.ask_for_error("bad_cursor", read(&room, seq)).await?;
        }
        expect_counts(&mut ann, &room, (0, 0)).await
    }

    /// The user's own messages, and deleted ones, are not unread.
    async fn own_and_deleted_ones_do_not_count(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        for text in ["one", "two", "three"] {
            ann.post(&room, text).await?;
        }
        bob.post(&room, "four").await?;
        change(&mut ann, delete(&room, 2)).await?;
        let mut bob = stage.client("bob").await?;
        expect_counts(&mut bob, &room, (0, 2)).await?;
        let mut ann = stage.client("ann").await?;
        expect_counts(&mut ann, &room, (0, 1)).await
    }

    /// A number of unread messages is exact below 100, and 100 from there on.
    #[with(limits(without_rates))]
    async fn a_number_below_100_is_exact(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.send_all_while_reading(&sends(&room, 1..=98)).await?;
        for unread in [99, 100, 100] {
            ann.post(&room, "one more").await?;
            let mut bob = stage.client("bob").await?;
            expect_counts(&mut bob, &room, (0, unread)).await?;
        }
        Ok(())
    }

    /// The other connections of the user that are in the room get a `read` without a `ref`, if the marker has moved.
    /// Other users do not.
    async fn other_connections_see_a_read(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        let mut second = stage.member("ann").await?;
        let mut elsewhere = stage.client("ann").await?;
        bob.post(&room, "hi").await?;
        for member in [&mut *ann, &mut second] {
            expect_messages(member, [1]).await?;
        }
        mark(&mut ann, &room, 1, 1).await?;
        mark(&mut ann, &room, 1, 1).await?;
        let event = second.expect("read").await?;
        let fits = event["ref"].is_null() && event["seq"] == 1 && event["user"]["id"] == stage.named("ann");
        second.check(fits, "a `read` of this user without a `ref`", &event)?;
        for client in [&mut *ann, &mut second, &mut elsewhere, &mut *bob] {
            client.expect_no_events().await?;
        }
        Ok(())
    }

    /// A guest and a user of the host with the same id have markers of their own.
    #[with(identify(with_tokens))]
    async fn a_user_has_the_marker_of_earlier_connections(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = stage.accepted("ann", &with_token(&stage, "7:Ann")).await?;
        ann.join(&room).await?;
        let mut bob = stage.accepted("bob", &with_token(&stage, "8:Ann")).await?;
        bob.join(&room).await?;
        ann.post(&room, "hi").await?;
        mark(&mut bob, &room, 1, 1).await?;
        bob.reset();
        let mut bob = stage.accepted("bob", &with_token(&stage, "8:Bob")).await?;
        expect_counts(&mut bob, &room, (1, 0)).await?;
        let mut other = stage.accepted("other", &with_token(&stage, "9:Ann")).await?;
        expect_counts(&mut other, &room, (0, 1)).await
    }

    /// A `read` without a valid `seq` is `bad_command`.
    async fn a_read_with_a_bad_seq_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        ann.ask_for_error("bad_command", json!({"type": "read", "room": room})).await?;
        for seq in [json!("1"), json!(-1), json!(1.5), json!(null), json!([1])] {
            ann.ask_for_error("bad_command", json!({"type": "read", "room": room, "seq": seq})).await?;
        }
        expect_counts(&mut ann, &room, (0, 0)).await
    }

    /// A `read` of a connection that is not in the room, and does not know that the user follows it, is `not_joined`.
    async fn a_read_by_a_connection_that_did_not_join_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        ann.post(&stage.room(), "hi").await?;
        let mut bob = stage.client("bob").await?;
        bob.ask_for_error("not_joined", read(&stage.room(), 1)).await.map(drop)
    }
);

pub(super) fn read(room: &str, seq: u64) -> Value {
    json!({"type": "read", "room": room, "seq": seq})
}

/// Moves the marker, and expects this present position.
pub(super) async fn mark(client: &mut Client, room: &str, seq: u64, present: u64) -> Verdict {
    let reply = client.ask_for("read", read(room, seq)).await?;
    let fits = reply["seq"] == present && reply["room"] == room && reply["user"]["id"].is_string();
    client.check(fits, format!("the marker {present}"), &reply)
}

/// Joins, and expects this marker and number of unread messages.
async fn expect_counts(client: &mut Client, room: &str, (read, unread): (u64, u64)) -> Verdict {
    let joined = client.join(room).await?;
    let fits = joined["read"] == read && joined["unread"] == unread && joined["mentions"] == 0;
    client.check(fits, format!("`read` {read}, `unread` {unread}, `mentions` 0"), &joined)
}
