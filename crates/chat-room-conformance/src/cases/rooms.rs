use std::collections::BTreeSet;

use super::{ann, at_once, body, event, same, seqs};
use crate::case::{Group, case};
use crate::shown::Shown;
use crate::{Ability, Failure};

/// What rooms have to do with each other: nothing.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "rooms_are_numbered_each_by_itself",
            "Messages of 40 rooms, written in turn, are 1, 2, 3 in each.",
            |stage| async move {
                let names = (0..40).map(|number| format!("room-{number}"));
                let rooms: Vec<_> = names.map(|name| stage.open(&name)).collect::<Result<_, _>>()?;
                for seq in 1..=3 {
                    for room in &rooms {
                        same(&room.say("hi").await?.seq, &seq)?;
                    }
                }
                for (number, room) in rooms.iter().enumerate() {
                    let read = room.read_after(0).await?;
                    same(&seqs(&read), &vec![1, 2, 3])?;
                    for stored in read {
                        same(&event(&stored)?["room"].as_str(), &Some(format!("room-{number}").as_str()))?;
                    }
                }
                Ok(())
            },
        ),
        case(
            "rooms_are_written_at_once",
            "Many rooms, each with writers of its own at the same time, keep what is theirs.",
            |stage| async move {
                let rooms: Vec<_> =
                    (0..16).map(|number| stage.open(&format!("r{number}"))).collect::<Result<_, _>>()?;
                let writers = rooms.clone();
                at_once(64, move |number| {
                    let room = writers[number % 16].clone();
                    async move { room.say_all(5).await }
                })
                .await?;
                for room in rooms {
                    same(&seqs(&room.read_after(0).await?), &(1..=20).collect())?;
                    same(&room.told.seqs(), &(1..=20).collect())?;
                }
                Ok(())
            },
        ),
        case(
            "a_room_may_have_any_name",
            "Names of 64 bytes, of any script, of digits, or that mean something elsewhere are names.",
            |stage| async move {
                let longest =
                    ["r".repeat(64), format!("{}1", "r".repeat(63)), format!("{}x", "안녕".repeat(10))];
                let names = [
                    "a",
                    "a-",
                    "a_",
                    "a-b",
                    "a_b",
                    "ab",
                    "0",
                    "00",
                    "1e5",
                    "-1".trim_start_matches('-'),
                    "null",
                    "con",
                    "nul",
                    "index",
                    "select",
                    "로비",
                    "ロビー",
                    "лобби",
                    "été",
                    "ß",
                    "٣",
                    "default",
                    "main",
                    "temp",
                ];
                let names: Vec<&str> = names.into_iter().chain(longest.iter().map(String::as_str)).collect();
                same(&names.iter().collect::<BTreeSet<_>>().len(), &names.len())?;
                for name in &names {
                    let room = stage.open(name)?;
                    same(&room.append(&ann(), Some("k"), &body(name)).await?.seq, &1)?;
                    let read = room.read_after(0).await?;
                    same(&seqs(&read), &vec![1])?;
                    let event = event(&read[0])?;
                    same(
                        &(event["room"].as_str(), event["body"]["text"].as_str()),
                        &(Some(*name), Some(*name)),
                    )?;
                }
                Ok(())
            },
        ),
        case("rooms_have_epochs_of_their_own", "No two rooms have the same epoch.", |stage| async move {
            let mut epochs = BTreeSet::new();
            for number in 0..50 {
                epochs.insert(stage.open(&format!("r{number}"))?.bounds().await?.epoch);
            }
            same(&epochs.len(), &50)
        }),
        case(
            "a_room_that_is_opened_again_is_the_same_log",
            "A room that nobody held for a while has its messages, its keys and its epoch.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say("hi").await?;
                room.append(&ann(), Some("k"), &body("hi")).await?;
                let before = (room.bounds().await?, room.read_after(0).await?);
                drop(room);
                let room = stage.open("lobby")?;
                same(&(room.bounds().await?, room.read_after(0).await?), &before)?;
                same(&room.repeat(&ann(), "k", &body("hi")).await?.seq, &2)?;
                same(&room.say("more").await?.seq, &3)?;
                same(&room.told.seqs(), &vec![3])
            },
        )
        .needs(Ability::Lasting),
        case(
            "of_two_openings_each_hears_everything",
            "A room that is opened twice at once is one log, and both outlets hear all of it, in order.",
            |stage| async move {
                let (one, two) = (stage.open("lobby")?, stage.open("lobby")?);
                let writers = [one.clone(), two.clone()];
                at_once(4, move |number| {
                    let room = writers[number % 2].clone();
                    async move { room.say_all(20).await }
                })
                .await?;
                same(&seqs(&one.read_after(0).await?), &(1..=80).collect())?;
                for opened in [&one, &two] {
                    // An opening is told of the other's messages as soon as may be.
                    super::eventually("80 messages told", || async { Ok(opened.told.seqs().len() >= 80) })
                        .await?;
                    same(&opened.told.seqs(), &(1..=80).collect())?;
                }
                Ok(())
            },
        )
        .needs(Ability::Lasting),
        case(
            "an_opening_that_is_dropped_leaves_the_other",
            "Of two openings at once either may go: the other writes, reads and hears on.",
            |stage| async move {
                for (name, first_goes) in [("lobby", true), ("hall", false)] {
                    let (one, two) = (stage.open(name)?, stage.open(name)?);
                    one.say("hi").await?;
                    let (left, gone) = if first_goes { (two, one) } else { (one, two) };
                    drop(gone);
                    same(&left.say("more").await?.seq, &2)?;
                    same(&seqs(&left.read_after(0).await?), &vec![1, 2])?;
                    let told = left.told.seqs();
                    told.ends_with(&[2]).then_some(()).ok_or_else(|| Failure::new("2 told", told.shown()))?;
                }
                Ok(())
            },
        )
        .needs(Ability::Lasting),
    ];
    Group { name: "rooms", promise: "Openings", cases }
}
