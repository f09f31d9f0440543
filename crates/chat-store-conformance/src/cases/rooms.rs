use std::collections::BTreeSet;

use super::{ann, body, concurrently, event, same, seqs};
use crate::{Capability, Case, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// The messages of 40 rooms, written in turn, are 1, 2, 3 in each room.
    async fn each_room_has_its_own_numbers(stage: Stage) -> Verdict {
        let mut rooms = Vec::new();
        for number in 0..40 {
            rooms.push(stage.open(&format!("room-{number}")).await?);
        }
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
    }

    /// Rooms that are written concurrently keep their own entries.
    async fn rooms_are_written_concurrently(stage: Stage) -> Verdict {
        let mut rooms = Vec::new();
        for number in 0..16 {
            rooms.push(stage.open(&format!("r{number}")).await?);
        }
        concurrently(64, rooms.clone(), |rooms, number| async move { rooms[number % 16].say_all(5).await })
            .await?;
        for room in rooms {
            same(&seqs(&room.read_after(0).await?), &(1..=20).collect())?;
            room.check_reports(1..=20).await?;
        }
        Ok(())
    }

    /// Names of 64 bytes, of any script, of digits, or with a meaning elsewhere are names.
    async fn a_room_can_have_any_valid_name(stage: Stage) -> Verdict {
        let longest = ["r".repeat(64), format!("{}1", "r".repeat(63)), format!("{}x", "안녕".repeat(10))];
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
            let room = stage.open(name).await?;
            same(&room.append(&ann(), Some("k"), &body(name)).await?.seq, &1)?;
            let read = room.read_after(0).await?;
            same(&seqs(&read), &vec![1])?;
            let event = event(&read[0])?;
            same(&(event["room"].as_str(), event["body"]["text"].as_str()), &(Some(*name), Some(*name)))?;
        }
        Ok(())
    }

    /// No two rooms have the same epoch.
    async fn no_two_rooms_share_an_epoch(stage: Stage) -> Verdict {
        let mut epochs = BTreeSet::new();
        for number in 0..50 {
            epochs.insert(stage.open(&format!("r{number}")).await?.bounds().await?.epoch);
        }
        same(&epochs.len(), &50)
    }

    /// A room that is dropped and opened again has its entries, keys and epoch.
    #[with(needs(Capability::Persistence))]
    async fn a_reopened_room_is_the_same_log(stage: Stage, room: OpenRoom) -> Verdict {
        room.say("hi").await?;
        room.append(&ann(), Some("k"), &body("hi")).await?;
        let before = (room.bounds().await?, room.read_after(0).await?);
        drop(room);
        let room = stage.open("lobby").await?;
        same(&(room.bounds().await?, room.read_after(0).await?), &before)?;
        same(&room.repeat(&ann(), "k", &body("hi")).await?.seq, &2)?;
        same(&room.say("more").await?.seq, &3)?;
        room.check_reports(3..=3).await
    }

    /// A room that is opened twice at once is one log, and both sinks hear of each entry.
    #[with(needs(Capability::Persistence))]
    async fn each_of_two_openings_hears_of_every_entry(stage: Stage) -> Verdict {
        let (one, two) = (stage.open("lobby").await?, stage.open("lobby").await?);
        let rooms = [one.clone(), two.clone()];
        concurrently(4, rooms, |rooms, number| async move { rooms[number % 2].say_all(20).await }).await?;
        same(&seqs(&one.read_after(0).await?), &(1..=80).collect())?;
        for opened in [&one, &two] {
            opened.check_reports(1..=80).await?;
        }
        Ok(())
    }

    /// Of two openings either may be dropped: the other one appends, reads and reports.
    #[with(needs(Capability::Persistence))]
    async fn a_dropped_opening_does_not_stop_the_other(stage: Stage) -> Verdict {
        for (name, first_goes) in [("lobby", true), ("hall", false)] {
            let (one, two) = (stage.open(name).await?, stage.open(name).await?);
            one.say("hi").await?;
            let (kept, dropped) = if first_goes { (two, one) } else { (one, two) };
            drop(dropped);
            same(&kept.say("more").await?.seq, &2)?;
            same(&seqs(&kept.read_after(0).await?), &vec![1, 2])?;
            kept.reports.cover(2..=2).await?;
        }
        Ok(())
    }
);
