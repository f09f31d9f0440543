use super::changed::{change, change_nothing, edit, messages_at, page, react};
use super::*;

chat_suite::cases!(
    /// A reaction that a user has placed already, and one that the user does not have, change nothing: the `done` has
    /// no `seq`, and there is no entry.
    async fn a_repeated_reaction_changes_nothing(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        change_nothing(&mut bob, react(&room, 1, "+1", false)).await?;
        change(&mut bob, react(&room, 1, "+1", true)).await?;
        change_nothing(&mut bob, react(&room, 1, "+1", true)).await?;
        change(&mut bob, react(&room, 1, "+1", false)).await?;
        change_nothing(&mut bob, react(&room, 1, "+1", false)).await?;
        let entries = ann.events_so_far().await?;
        let changed: Vec<_> = entries.into_iter().filter(|event| event["type"] == "changed").collect();
        let fits = seqs(&changed) == [2, 3] && changed[1]["reactions"] == json!([]);
        check(fits, "the entries 2 and 3, the last without reactions", Events(&changed))?;
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        let fits = read[0]["rev"] == 3 && read[0]["reactions"].is_null();
        check(fits, "a message with `rev` 3 and without reactions", Events(&read))
    }

    /// A `changed` has all reactions of the message, in the order in which they were placed first, each with its exact
    /// number of users.
    #[with(one_node(ORDER))]
    async fn reactions_are_counted_by_user(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        for reaction in ["b", "a"] {
            change(&mut ann, react(&room, 1, reaction, true)).await?;
            change(&mut bob, react(&room, 1, reaction, true)).await?;
        }
        change(&mut ann, react(&room, 1, "b", false)).await?;
        let entries = bob.events_so_far().await?;
        let changed = entries.iter().rfind(|event| event["type"] == "changed").cloned().unwrap_or_default();
        let user = |name: &str| json!({"id": stage.named(name), "name": stage.named(name)});
        let expected = json!([
            {"reaction": "b", "count": 1, "users": [user("bob")]},
            {"reaction": "a", "count": 2, "users": [user("ann"), user("bob")]},
        ]);
        check(changed["reactions"] == expected, format!("the reactions {expected}"), &changed)?;
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        check(read[0]["reactions"] == expected, format!("the reactions {expected}"), Events(&read))
    }

    /// A reaction names the first ten of its users, and counts all.
    async fn a_reaction_names_ten_users(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        let mut names = Vec::new();
        for number in 0..12 {
            let mut client = stage.member(&format!("user{number}")).await?;
            change(&mut client, react(&room, 1, "+1", true)).await?;
            names.push(stage.named(&format!("user{number}")));
        }
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        let reaction = &read[0]["reactions"][0];
        let users: Vec<_> = reaction["users"].as_array().into_iter().flatten().collect();
        let users: Vec<_> = users.iter().map(|user| user["name"].as_str().unwrap_or_default()).collect();
        let fits = reaction["count"] == 12 && users == names[..10];
        check(fits, "the number 12, and the first ten users", Events(&read))
    }

    /// All reactions of a message name users of at most 8 KiB together, the first ones, and count all.
    async fn long_names_of_many_reactions_are_left_out(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        let mut entry = Value::Null;
        // A running server adds up to 13 characters to a name.
        for number in 0..5 {
            let mut client = stage.member(&format!("{number:0>18}")).await?;
            for kind in 0..32 {
                change(&mut client, react(&room, 1, &format!("{kind:0>64}"), true)).await?;
            }
            let entries = client.events_so_far().await?;
            entry = entries.into_iter().rfind(|event| event["type"] == "changed").unwrap_or_default();
        }
        let reactions = entry["reactions"].as_array().cloned().unwrap_or_default();
        let users = |reaction: &Value| reaction["users"].as_array().cloned().unwrap_or_default();
        let named: Vec<_> = reactions.iter().flat_map(users).collect();
        let text = |user: &Value, field: &str| user[field].as_str().map_or(0, str::len);
        let bytes: usize = named.iter().map(|user| 20 + text(user, "id") + text(user, "name")).sum();
        let counted = reactions.len() == 32 && reactions.iter().all(|reaction| reaction["count"] == 5);
        let fits = counted && (7 * 1024..=8 * 1024).contains(&bytes) && users(&reactions[0]).len() == 5;
        check(fits, "32 reactions of 5 users, and 7 to 8 KiB of the first names", &entry)?;
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        check(read[0]["reactions"] == entry["reactions"], "the reactions of the change", Events(&read))
    }

    /// An edit makes the reactions before it stale, and no later one.
    async fn an_edit_makes_reactions_stale(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        change(&mut bob, react(&room, 1, "+1", true)).await?;
        change(&mut ann, edit(&room, 1, "hello")).await?;
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        let reaction = &read[0]["reactions"][0];
        check(reaction["count"] == 1 && reaction["stale"] == 1, "one stale reaction", Events(&read))?;
        change(&mut ann, react(&room, 1, "+1", true)).await?;
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        let reaction = &read[0]["reactions"][0];
        check(reaction["count"] == 2 && reaction["stale"] == 1, "one stale of two", Events(&read))
    }

    /// A message has a limited number of different reactions, and of reactions at all: `too_many_reactions`.
    #[with(limits(|limits| {
        limits.rooms.max_reaction_kinds = 2;
        limits.rooms.max_reactions = 3;
    }))]
    #[with(needs(Needs::Limits))]
    async fn too_many_reactions_are_refused(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        change(&mut ann, react(&room, 1, "a", true)).await?;
        change(&mut ann, react(&room, 1, "b", true)).await?;
        ann.ask_for_error("too_many_reactions", react(&room, 1, "c", true)).await?;
        change(&mut bob, react(&room, 1, "a", true)).await?;
        bob.ask_for_error("too_many_reactions", react(&room, 1, "b", true)).await?;
        change_nothing(&mut bob, react(&room, 1, "a", true)).await?;
        change(&mut ann, react(&room, 1, "a", false)).await?;
        change(&mut bob, react(&room, 1, "b", true)).await.map(drop)
    }

    /// Reactions of two users at once are both counted.
    #[with(race("either reaction can be first"))]
    async fn reactions_at_once_are_all_counted(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        for round in 0..5 {
            let name = round.to_string();
            let (one, two) = tokio::join!(
                change(&mut ann, react(&room, 1, &name, true)),
                change(&mut bob, react(&room, 1, &name, true)),
            );
            one.and(two)?;
        }
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        let reactions = read[0]["reactions"].as_array().cloned().unwrap_or_default();
        let all = reactions.len() == 5 && reactions.iter().all(|reaction| reaction["count"] == 2);
        check(all, "five reactions of two users", Events(&read))
    }
);
