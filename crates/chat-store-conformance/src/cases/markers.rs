use chat_core::{
    Change, Links, MarkerError, Mentions, NewChange, NewMessage, RawValue, Role, RoomName, User,
};

use super::{ann, body, check, guest, same};
use crate::{Capability, Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// Either markers, counts and followed rooms are all supported, or none of them.
    async fn markers_and_followed_rooms_are_supported_or_none(stage: Stage, room: OpenRoom) -> Verdict {
        room.say("hi").await?;
        let (bob, store) = (known("Bob"), stage.store(0)?);
        let answers = [
            room.try_mark(&bob, 1).await.err(),
            room.try_unread(&bob, 1).await.err(),
            store.follow(&bob.key(), &name("lobby")?, true, 9).await.err(),
            store.followed(&bob.key()).await.err(),
        ];
        let unsupported = answers.iter().filter(|error| **error == Some(MarkerError::Unsupported)).count();
        check(unsupported == 0 || unsupported == 4, "0 or 4 unsupported calls", answers)
    }

    /// A marker moves forward only, and each answer has its present position.
    #[with(needs(Capability::Markers))]
    async fn a_marker_moves_forward_only(stage: Stage, room: OpenRoom) -> Verdict {
        say(&room, &ann(), 5).await?;
        let bob = known("Bob");
        same(&room.unread(&bob).await?.read, &0)?;
        for (seq, read, moved) in [(0, 0, false), (3, 3, true), (2, 3, false), (3, 3, false), (5, 5, true)] {
            let marked = room.mark(&bob, seq).await?;
            same(&(marked.seq, marked.moved), &(read, moved))?;
            let unread = room.unread(&bob).await?;
            same(&(unread.read, unread.unread, unread.head), &(read, 5 - read, 5))?;
            same(&[&marked.epoch, &unread.epoch], &[&room.bounds().await?.epoch; 2])?;
        }
        Ok(())
    }

    /// A marker cannot be set to a position that the log does not have yet.
    #[with(needs(Capability::Markers))]
    async fn a_marker_beyond_the_head_is_refused(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        same(&room.try_mark(&bob, 1).await, &Err(MarkerError::BeyondHead))?;
        say(&room, &ann(), 2).await?;
        same(&room.try_mark(&bob, 3).await, &Err(MarkerError::BeyondHead))?;
        same(&room.try_mark(&bob, u64::MAX >> 11).await, &Err(MarkerError::BeyondHead))?;
        same(&room.unread(&bob).await?.read, &0)
    }

    /// A user's own messages are not unread.
    #[with(needs(Capability::Markers))]
    async fn own_messages_are_not_unread(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        say(&room, &bob, 3).await?;
        say(&room, &ann(), 2).await?;
        room.mark(&bob, 1).await?;
        same(&room.unread(&bob).await?.unread, &2)?;
        same(&room.unread(&ann()).await?.unread, &3)
    }

    /// Deleted messages are not unread, and changes are no messages.
    #[with(needs(Capability::Markers))]
    #[with(needs(Capability::Changes))]
    async fn deleted_messages_and_changes_are_not_unread(stage: Stage, room: OpenRoom) -> Verdict {
        let (bob, zoe) = (known("Bob"), known("Zoe"));
        say(&room, &bob, 3).await?;
        room.change(NewChange::new(bob.clone(), 2, Change::Delete { reason: None })).await?;
        same(&room.unread(&zoe).await?.unread, &2)?;
        room.mark(&zoe, 1).await?;
        same(&room.unread(&zoe).await?.unread, &1)?;
        let reaction = Change::React { reaction: "+1".to_owned(), on: true };
        room.change(NewChange::new(bob, 3, reaction)).await?;
        let unread = room.unread(&zoe).await?;
        same(&(unread.unread, unread.head), &(1, 5))
    }

    /// Unread messages that name the user, or the room, are counted as mentions too.
    #[with(needs(Capability::Markers))]
    async fn mentions_among_the_unread_messages_are_counted(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        for (author, mentions) in [
            (ann(), Some(Mentions::users(["Zoe", "Bob"]))),
            (ann(), Some(Mentions::Room)),
            (ann(), Some(Mentions::users(["Zoe"]))),
            (ann(), None),
            (bob.clone(), Some(Mentions::users(["Bob"]))),
        ] {
            let body = RawValue::from_string(body("hi")).expect("a body is JSON");
            let links = Links::default().with_mentions(mentions);
            let message = NewMessage::new(author, body).with_links(links).with_role(Role::Moderator);
            let sent = room.append_message(message).await;
            check(sent.is_ok(), "a message that is stored", sent)?;
        }
        for (read, unread, mentions) in [(0, 4, 2), (1, 3, 1), (2, 2, 0)] {
            room.mark(&bob, read).await?;
            let counted = room.unread(&bob).await?;
            same(&(counted.unread, counted.mentions), &(unread, mentions))?;
        }
        Ok(())
    }

    /// A number of unread messages is exact below 100, and 100 from there on.
    #[with(needs(Capability::Markers))]
    async fn a_number_below_100_is_exact(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        say(&room, &ann(), 99).await?;
        for unread in [99, 100, 100] {
            same(&room.unread(&bob).await?.unread, &unread)?;
            say(&room, &ann(), 1).await?;
        }
        room.mark(&bob, 3).await?;
        same(&room.unread(&bob).await?.unread, &99)
    }

    /// A count ends at the position that the caller names.
    #[with(needs(Capability::Markers))]
    async fn a_count_ends_at_a_position(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        say(&room, &ann(), 9).await?;
        room.mark(&bob, 4).await?;
        for (up_to, unread) in [(0, 0), (4, 0), (5, 1), (8, 4), (9, 5), (u64::MAX, 5)] {
            let counted = room.try_unread(&bob, up_to).await;
            same(&counted.map(|counted| counted.unread), &Ok(unread))?;
        }
        Ok(())
    }

    /// A guest and a known user with the same id have markers, messages and followed rooms of their own.
    #[with(needs(Capability::Markers))]
    async fn a_guest_and_a_known_user_share_no_marker(stage: Stage, room: OpenRoom) -> Verdict {
        let (user, other) = (known("Bob"), guest("Bob"));
        say(&room, &user, 2).await?;
        room.mark(&user, 2).await?;
        same(&room.unread(&other).await?.read, &0)?;
        same(&room.unread(&other).await?.unread, &2)?;
        let store = stage.store(0)?;
        same(&store.follow(&user.key(), &name("lobby")?, true, 9).await, &Ok(()))?;
        same(&store.followed(&other.key()).await, &Ok(vec![]))
    }

    /// A restart keeps markers and followed rooms.
    #[with(needs(Capability::Markers))]
    #[with(needs(Capability::Persistence))]
    async fn a_restart_keeps_markers_and_followed_rooms(stage: Stage) -> Verdict {
        let (bob, lobby) = (known("Bob"), name("lobby")?);
        let room = stage.open("lobby").await?;
        say(&room, &ann(), 4).await?;
        room.mark(&bob, 3).await?;
        same(&stage.store(0)?.follow(&bob.key(), &lobby, true, 9).await, &Ok(()))?;
        drop(room);
        let stage = stage.restart().await;
        let room = stage.open("lobby").await?;
        let unread = room.unread(&bob).await?;
        same(&(unread.read, unread.unread), &(3, 1))?;
        same(&stage.store(0)?.followed(&bob.key()).await, &Ok(vec![lobby]))
    }

    /// A marker of an earlier epoch does not count.
    #[with(needs(Capability::Markers))]
    #[with(needs(Capability::Renewal))]
    async fn a_renewed_log_has_no_markers(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        say(&room, &ann(), 3).await?;
        room.mark(&bob, 3).await?;
        stage.renew().await?;
        say(&room, &ann(), 4).await?;
        let unread = room.unread(&bob).await?;
        same(&(unread.read, unread.unread), &(0, 4))
    }

    /// A marker that one node has set counts on the other.
    #[with(needs(Capability::Markers))]
    #[with(needs(Capability::MultipleNodes))]
    async fn a_marker_of_one_node_counts_on_the_other(stage: Stage) -> Verdict {
        let (first, second) = (stage.open_on(0, "lobby").await?, stage.open_on(1, "lobby").await?);
        let bob = known("Bob");
        say(&first, &ann(), 4).await?;
        first.mark(&bob, 3).await?;
        same(&second.unread(&bob).await?.read, &3)?;
        same(&second.mark(&bob, 2).await?.seq, &3)
    }

    /// Followed rooms are in the order of their names. They may be rooms without messages. A repeat changes nothing.
    #[with(needs(Capability::Markers))]
    async fn followed_rooms_are_in_the_order_of_their_names(stage: Stage) -> Verdict {
        let (bob, store) = (known("Bob").key(), stage.store(0)?);
        for (room, on) in
            [("c", true), ("로비", true), ("a", true), ("b", true), ("a", true), ("b", false), ("d", false)]
        {
            same(&store.follow(&bob, &name(room)?, on, 9).await, &Ok(()))?;
        }
        same(&store.followed(&bob).await, &Ok(vec![name("a")?, name("c")?, name("로비")?]))
    }

    /// A user follows at most as many rooms as the caller allows. A room that is followed already is one of them.
    #[with(needs(Capability::Markers))]
    async fn a_user_follows_a_limited_number_of_rooms(stage: Stage) -> Verdict {
        let (bob, store) = (known("Bob").key(), stage.store(0)?);
        for room in ["a", "b", "a"] {
            same(&store.follow(&bob, &name(room)?, true, 2).await, &Ok(()))?;
        }
        same(&store.follow(&bob, &name("c")?, true, 2).await, &Err(MarkerError::TooManyRooms))?;
        same(&store.follow(&known("Zoe").key(), &name("c")?, true, 2).await, &Ok(()))?;
        same(&store.follow(&bob, &name("a")?, false, 2).await, &Ok(()))?;
        same(&store.follow(&bob, &name("c")?, true, 2).await, &Ok(()))?;
        same(&store.followed(&bob).await, &Ok(vec![name("b")?, name("c")?]))
    }

    /// Direct rooms, which others may open, count separately: they take no place of other rooms.
    #[with(needs(Capability::Markers))]
    async fn direct_rooms_count_separately(stage: Stage) -> Verdict {
        let (bob, store) = (known("Bob").key(), stage.store(0)?);
        let direct = ["Ann", "Cid", "Zoe"].map(|other| RoomName::direct("Bob", other));
        for room in [&direct[0], &direct[1], &name("a")?, &name("b")?] {
            same(&store.follow(&bob, room, true, 2).await, &Ok(()))?;
        }
        for room in [&direct[2], &name("c")?] {
            same(&store.follow(&bob, room, true, 2).await, &Err(MarkerError::TooManyRooms))?;
        }
        same(&store.follow(&bob, &direct[0], false, 2).await, &Ok(()))?;
        same(&store.follow(&bob, &direct[2], true, 2).await, &Ok(()))
    }
);

async fn say(room: &OpenRoom, user: &User, count: usize) -> Verdict {
    for _ in 0..count {
        room.append(user, None, &body("hi")).await?;
    }
    Ok(())
}

/// A user that the host knows.
fn known(id: &str) -> User {
    User::new(id, id).expect("the names in the cases are valid")
}

fn name(room: &str) -> Result<RoomName, Failure> {
    room.parse().map_err(|error| Failure::new("a valid room name", error))
}
