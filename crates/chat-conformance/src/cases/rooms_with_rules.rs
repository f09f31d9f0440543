use super::changed::{change, change_nothing, react, resume, with};
use super::governed::{create, owner, present, role, user};
use super::host::with_tokens;
use super::*;

chat_suite::cases!(
    /// The user who creates a room is its owner, and need not join it. The first entry has the rules.
    #[with(identify(with_tokens))]
    async fn a_created_room_has_an_owner_and_rules(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({"post": "members", "title": "News"})).await?;
        let mut bob = user(&stage, "2", "Bob").await?;
        let joined = bob.ask_for("joined", json!({"type": "join", "room": room})).await?;
        bob.check(joined["role"] == "none", "no role", &joined)?;
        bob.ask_for("joined", resume(&room, &joined["epoch"], 0)).await?;
        let entry = bob.expect("settings").await?;
        let fits =
            entry["seq"] == 1 && entry["created"] == true && entry["by"]["id"] == "1" && entry["at"].is_u64();
        bob.check(fits, "the entry that creates the room, by Ann", &entry)?;
        let fits = entry["join"] == "open" && entry["post"] == "members" && entry["title"] == "News";
        bob.check(fits, "the rules of the room", &entry)?;
        let joined = ann.ask_for("joined", json!({"type": "join", "room": room})).await?;
        ann.check(joined["role"] == "owner", "the owner", &joined)
    }

    /// A room that has an entry or an owner is not created again: `room_exists`.
    #[with(identify(with_tokens))]
    async fn a_room_is_created_once(stage: Stage) -> Verdict {
        let room = stage.room();
        let _ann = owner(&stage, json!({})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        bob.ask_for_error("room_exists", create(&room)).await?;
        let used = stage.named("used");
        bob.join(&used).await?;
        bob.post(&used, "hi").await?;
        bob.ask_for_error("room_exists", create(&used)).await?;
        let joined = stage.named("joined");
        bob.join(&joined).await?;
        change(&mut bob, create(&joined)).await.map(drop)
    }

    /// A guest creates no room.
    async fn a_guest_creates_no_room(stage: Stage, mut ann: Client) -> Verdict {
        let room = stage.room();
        ann.ask_for_error("forbidden", create(&room)).await?;
        let joined = ann.ask_for("joined", json!({"type": "join", "room": room})).await?;
        ann.check(joined["seq"] == 0 && joined["role"] == "none", "a room without entries", &joined)
    }

    /// An owner sets all rules at once. What is left out has its default.
    #[with(identify(with_tokens))]
    async fn an_owner_sets_all_rules_again(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({"post": "moderators", "title": "News"})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        change_nothing(&mut ann, with(with(create(&room), "post", "moderators"), "title", "News")).await?;
        let seq = change(&mut ann, with(create(&room), "title", "Talk")).await?;
        let entry = bob.until("settings").await?;
        let fits = entry["seq"] == seq && entry["title"] == "Talk" && entry["join"] == "open";
        bob.check(fits && entry["post"].is_null() && entry["created"].is_null(), "the new rules", &entry)?;
        bob.post(&room, "hi").await.map(drop)
    }

    /// `joined` and `rooms` have the title of a room that has one.
    #[source = "PROTOCOL.md, section 4"]
    #[with(identify(with_tokens))]
    async fn a_join_and_a_list_have_the_title(stage: Stage) -> Verdict {
        let (room, plain) = (stage.room(), stage.named("plain"));
        let join = json!({"type": "join", "room": room});
        let mut ann = owner(&stage, json!({"title": "News"})).await?;
        ann.join(&plain).await?;
        let mut bob = user(&stage, "2", "Bob").await?;
        let joined = bob.ask_for("joined", join.clone()).await?;
        bob.check(joined["title"] == "News", "the title News", &joined)?;
        change(&mut ann, with(create(&room), "title", "Talk")).await?;
        let joined = bob.ask_for("joined", join.clone()).await?;
        bob.check(joined["title"] == "Talk", "the title Talk", &joined)?;
        let joined = bob.join(&plain).await?;
        bob.check(joined["title"].is_null(), "no title", &joined)?;
        // One client is in the rooms, the other one follows them.
        let mut zoe = user(&stage, "3", "Zoe").await?;
        for name in [&room, &plain] {
            change_nothing(&mut zoe, json!({"type": "follow", "room": name, "on": true})).await?;
        }
        for client in [&mut bob, &mut zoe] {
            let listed = client.ask_for("rooms", json!({"type": "rooms"})).await?;
            let listed_as = |name: &str| {
                let mut rooms = listed["rooms"].as_array().into_iter().flatten();
                rooms.find(|listed| listed["room"] == name).cloned().unwrap_or_default()
            };
            client.check(listed_as(&room)["title"] == "Talk", "the title Talk", &listed)?;
            let other = listed_as(&plain);
            client.check(other["room"] == plain && other["title"].is_null(), "no title", &listed)?;
        }
        change(&mut ann, create(&room)).await?;
        let joined = bob.ask_for("joined", join).await?;
        bob.check(joined["title"].is_null(), "no title any more", &joined)
    }

    /// In a room in which only some users write, others get `forbidden`, and their rights say so.
    #[with(identify(with_tokens))]
    async fn the_rules_decide_who_writes(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({"post": "moderators"})).await?;
        let mut bob = user(&stage, "2", "Bob").await?;
        let joined = bob.ask_for("joined", json!({"type": "join", "room": room})).await?;
        bob.check(joined["may"] == json!(["delete"]), "the right to delete", &joined)?;
        let seq = ann.post(&room, "hi").await?;
        for lower in ["none", "member"] {
            if lower == "member" {
                change(&mut ann, role(&room, "2", lower)).await?;
            }
            bob.ask_for_error("forbidden", send(&room, "x")).await?;
            bob.ask_for_error("forbidden", react(&room, seq, "+1", true)).await?;
        }
        change(&mut ann, with(create(&room), "post", "members")).await?;
        bob.post(&room, "hi").await?;
        change(&mut ann, role(&room, "2", "none")).await?;
        bob.ask_for_error("forbidden", send(&room, "x")).await.map(drop)
    }

    /// A room for members is `forbidden` to others, until they have a role.
    #[with(identify(with_tokens))]
    async fn a_room_for_members_is_forbidden_to_others(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({"join": "members"})).await?;
        let mut bob = user(&stage, "2", "Bob").await?;
        bob.ask_for_error("forbidden", json!({"type": "join", "room": room})).await?;
        bob.ask_for_error("not_joined", json!({"type": "history", "room": room})).await?;
        change(&mut ann, role(&room, "2", "member")).await?;
        let joined = bob.ask_for("joined", json!({"type": "join", "room": room})).await?;
        bob.check(joined["role"] == "member", "a member", &joined)?;
        bob.post(&room, "hi").await.map(drop)
    }

    /// A room that becomes one for members keeps only those who have a role.
    #[with(identify(with_tokens))]
    async fn a_room_that_becomes_one_for_members_removes_others(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({})).await?;
        let (mut bob, mut zoe) = (present(&stage, "2", "Bob").await?, present(&stage, "3", "Zoe").await?);
        change(&mut ann, role(&room, "2", "member")).await?;
        change(&mut ann, with(create(&room), "join", "members")).await?;
        zoe.until("settings").await?;
        let left = zoe.until("left").await?;
        zoe.check(left["room"] == room && left["ref"].is_null(), "a `left` without `ref`", &left)?;
        zoe.ask_for_error("forbidden", json!({"type": "join", "room": room})).await?;
        bob.post(&room, "hi").await?;
        change(&mut ann, role(&room, "2", "none")).await?;
        bob.until("left").await.map(drop)
    }
);
