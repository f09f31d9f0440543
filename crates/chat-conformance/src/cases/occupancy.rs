use std::collections::BTreeSet;

use super::*;

const RACE: &str = "the number of users is sent over time";

/// Members that drop at once. With two observers they are fewer than the threshold. Other cases run at the same time,
/// and all connections together are fewer than an address may have.
const DROPPED: usize = 40;

chat_suite::cases!(
    /// Up to the threshold, `joined.presence` is `each`. Above it, it is `count`: the other members get `occupancy`, at
    /// most once a second, and no `presence`.
    #[with(limits(|limits| limits.rooms.presence_threshold = 4))]
    #[with(needs(Needs::Limits))]
    #[with(race(RACE))]
    #[with(one_node(ORDER))]
    async fn a_room_above_the_threshold_counts_its_users(stage: Stage, mut ann: Member) -> Verdict {
        let mut others = Vec::new();
        let start = Instant::now();
        for number in 2..=8 {
            let mut other = stage.client(&format!("u{number}")).await?;
            let joined = other.join(&stage.room()).await?;
            let presence = if number > 4 { "count" } else { "each" };
            let fits = joined["presence"] == presence && joined["members"] == number;
            other.check(fits, format!("`presence` {presence}, `members` {number}"), &joined)?;
            others.push(other);
        }
        for number in 2..=4 {
            let presence = ann.any_event().await?;
            let fits = presence["user"]["id"] == stage.named(&format!("u{number}"));
            ann.check(fits, format!("`presence` of u{number}"), &presence)?;
        }
        others.push(stage.member("u9").await?);
        let mut numbers = Vec::new();
        while numbers.last() != Some(&json!(9)) {
            let event = ann.any_event().await?;
            let fits = event["type"] == "occupancy" && event["presence"] == "count";
            ann.check(fits, "`occupancy` with `count`", &event)?;
            numbers.push(event["members"].clone());
        }
        let elapsed = start.elapsed();
        let is_slow = numbers.len() as u64 - 1 <= elapsed.as_secs();
        check(is_slow, "at most one number in a second", format!("{numbers:?} in {elapsed:?}"))
    }

    /// At 90 % of the threshold, `occupancy` says `each`. From then on, `presence` announces each user again.
    #[with(limits(|limits| limits.rooms.presence_threshold = 4))]
    #[with(needs(Needs::Limits))]
    #[with(race(RACE))]
    async fn a_room_with_fewer_users_announces_each_again(stage: Stage, mut ann: Member) -> Verdict {
        let mut others = members(&stage, 5).await?;
        until_users(&mut ann, 6, "count").await?;
        for mut other in others.split_off(2) {
            other.ask_for("left", json!({"type": "leave", "room": stage.room()})).await?;
        }
        until_users(&mut ann, 3, "each").await?;
        let ask = json!({"type": "members", "room": stage.room()});
        let members = ann.ask_for("members", ask).await?;
        ann.check(members["total"] == 3, "3 users", &members)?;
        others.remove(0).reset();
        let presence = ann.any_event().await?;
        let fits = presence["user"]["id"] == stage.named("u0") && presence["state"] == "left";
        ann.check(fits, "`presence` of u0: left", &presence)
    }

    /// A room that counts its users sends no `typing`.
    #[with(limits(|limits| limits.rooms.presence_threshold = 1))]
    #[with(needs(Needs::Limits))]
    #[with(race(RACE))]
    async fn a_room_that_counts_sends_no_typing(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        bob.command(json!({"type": "typing", "room": stage.room(), "active": true})).await?;
        bob.post(&stage.room(), "hi").await?;
        let events = ann.events_so_far().await?;
        let typing = events.iter().find(|event| event["type"] == "typing");
        check(typing.is_none(), "no `typing`", Events(&events))
    }

    /// Forty members drop at once. A member that reads, and one that reads later, get `left` once for each of them.
    #[source = "PROTOCOL.md, section 5.4"]
    #[with(limits(|limits| limits.rooms.tail_events = 16))]
    #[with(race("the members drop in any order"))]
    async fn no_departure_is_lost_when_many_members_drop_at_once(stage: Stage) -> Verdict {
        let dropped = members(&stage, DROPPED).await?;
        let names: BTreeSet<_> = (0..DROPPED).map(|number| stage.named(&format!("u{number}"))).collect();
        let mut ann = stage.member("ann").await?;
        let mut late = stage.client_with_small_buffer("late").await?;
        late.join(&stage.room()).await?;
        dropped.into_iter().for_each(Client::reset);
        for client in [&mut ann, &mut late] {
            let mut left = BTreeSet::new();
            while left != names {
                let event = client.until("presence").await?;
                if event["state"] == "left" {
                    let user = event["user"]["id"].as_str().unwrap_or_default().to_owned();
                    let is_new = names.contains(&user) && left.insert(user);
                    client.check(is_new, "`left` once for each user who drops", &event)?;
                }
            }
        }
        let members = ann.ask_for("members", json!({"type": "members", "room": stage.room()})).await?;
        ann.check(members["total"] == 2, "2 users", &members)
    }

    /// Many members of a room that counts drop at once. The last `occupancy` has the number of those who stay.
    #[source = "PROTOCOL.md, section 4"]
    #[with(limits(|limits| limits.rooms.presence_threshold = 20))]
    #[with(needs(Needs::Limits))]
    #[with(race(RACE))]
    async fn the_last_number_is_true_when_many_members_drop_at_once(stage: Stage) -> Verdict {
        let mut ann = stage.member("ann").await?;
        let mut others = members(&stage, 60).await?;
        until_users(&mut ann, 61, "count").await?;
        others.drain(..20).for_each(Client::reset);
        until_users(&mut ann, 41, "count").await?;
        others.drain(..30).for_each(Client::reset);
        until_users(&mut ann, 11, "each").await?;
        let members = ann.ask_for("members", json!({"type": "members", "room": stage.room()})).await?;
        ann.check(members["total"] == 11, "11 users", &members)
    }
);

/// Connects this number of guests who join the room of the case.
async fn members(stage: &Stage, count: usize) -> Result<Vec<Client>, Failure> {
    let mut clients = Vec::new();
    for number in 0..count {
        clients.push(stage.member(&format!("u{number}")).await?);
    }
    Ok(clients)
}

/// Waits until a member knows that the room has this number of users, and announces them in this way.
async fn until_users(client: &mut Client, users: i64, presence: &str) -> Verdict {
    let (mut known, mut mode) = (None, Value::Null);
    while known != Some(users) || mode != presence {
        let event = client.any_event().await?;
        if event["type"] == "occupancy" {
            (known, mode) = (event["members"].as_i64(), event["presence"].clone());
        } else if event["type"] == "presence" && mode == "each" {
            known = known.map(|known| known + if event["state"] == "left" { -1 } else { 1 });
        }
    }
    Ok(())
}
