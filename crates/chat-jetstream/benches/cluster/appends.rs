//! Appends on the node that is asked, against the publish of the same bytes, and deliveries on another node.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat_core::Room;
use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout};

use crate::nodes::{Heard, Nodes, message};
use crate::{APPEND_BOUND, DELIVERY_BOUND_MS, median, share};

/// Appends of a writer in one round.
const APPENDS: u64 = 200;

/// Rooms, and writers, of which each has a room.
const ROOMS: usize = 64;

/// Appends of each of these writers in one round.
const EACH: u64 = 40;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The time of each operation, and of all.
struct Timed {
    ms: Vec<f64>,
    seconds: f64,
}

impl Timed {
    fn per_second(&self) -> f64 {
        self.ms.len() as f64 / self.seconds
    }
}

/// Runs the rounds on a chat with one stream and on one with four, and prints the table.
pub(crate) async fn run(nodes: &Nodes, streams: &Nodes, rounds: usize) -> Outcome<()> {
    let names = nodes.rooms_of_a("room", ROOMS).await?;
    let record = nodes.last_record().await?;
    println!("{} bytes in a record, {rounds} rounds, three servers, sync_interval: always\n", record.len());
    let mut rooms = Vec::new();
    for name in &names {
        rooms.push(nodes.room(&nodes.a, name).await?);
    }
    let mut in_streams = Vec::new();
    for name in streams.rooms_of_a("room", ROOMS).await? {
        in_streams.push(streams.room(&streams.a, &name).await?);
    }
    let (there, mut there_heard) = nodes.heard(&nodes.b, &names[0]).await?;
    let (here, mut here_heard) = nodes.heard(&nodes.a, &names[0]).await?;
    let mut places = vec![0; ROOMS];
    let mut figures: Vec<(&str, Vec<f64>)> = [
        "publish, 1 writer: p50, ms",
        "append at the asked node, 1 writer: p50, ms",
        "append at another node, 1 writer: p50, ms",
        "publish, 64 in 64 subjects: per second",
        "publish, 64 in 64 subjects, heard by two: per second",
        "append at the asked node, 64 in 64 rooms: per second",
        "append at the asked node, 64 in 64 rooms: p99, ms",
        "append at the asked node, 64 in 64 rooms, 4 streams: per second",
        "append at the asked node, 64 in 64 rooms, 4 streams: p99, ms",
        "append at the asked node, 64 in one room: messages per second",
        "append / publish, 1 writer, time",
        "append / publish, 64 in 64, time",
        "append / publish that two hear, 64 in 64, time",
        "4 streams / one stream, 64 in 64, messages",
        "heard on the same node: p50, ms",
        "heard on another node: p50, ms",
        "later on another node than on the same one: median, ms",
    ]
    .map(|name| (name, Vec::new()))
    .to_vec();
    for round in 0..rounds {
        // Each first in half of the rounds.
        let (mut raw, mut asked) = (None, None);
        let listeners = nodes.listen().await?;
        let heard_many = publish(nodes, &mut places, EACH, &record).await?;
        drop(listeners);
        for turn in [round % 2, 1 - round % 2] {
            if turn == 0 {
                let one = publish(nodes, &mut places[..1], APPENDS, &record).await?;
                let many = publish(nodes, &mut places, EACH, &record).await?;
                raw = Some((one, many));
            } else {
                let one = append(&rooms[..1], 1, APPENDS).await?;
                let (many, distributed) = if round.is_multiple_of(2) {
                    let many = append(&rooms, 1, EACH).await?;
                    (many, append(&in_streams, 1, EACH).await?)
                } else {
                    let distributed = append(&in_streams, 1, EACH).await?;
                    (append(&rooms, 1, EACH).await?, distributed)
                };
                asked = Some((one, many, distributed));
            }
        }
        let (Some((mut raw, raw_many)), Some((mut one, mut many, mut distributed))) = (raw, asked) else {
            continue;
        };
        let mut routed = append(std::slice::from_ref(&there), 1, APPENDS).await?;
        let hot = append(&rooms[..1], ROOMS, EACH).await?;
        drain(&mut here_heard);
        drain(&mut there_heard);
        let mut delays = deliveries(&here, (&mut here_heard, &mut there_heard)).await?;
        let (raw_one, own) = (median(&mut raw.ms), median(&mut one.ms));
        let values = [
            raw_one,
            own,
            median(&mut routed.ms),
            raw_many.per_second(),
            heard_many.per_second(),
            many.per_second(),
            share(&mut many.ms, 99),
            distributed.per_second(),
            share(&mut distributed.ms, 99),
            hot.per_second(),
            own / raw_one,
            raw_many.per_second() / many.per_second(),
            heard_many.per_second() / many.per_second(),
            distributed.per_second() / many.per_second(),
            median(&mut delays[0]),
            median(&mut delays[1]),
            median(&mut delays[2]),
        ];
        figures.iter_mut().zip(values).for_each(|((_, all), value)| all.push(value));
    }
    println!("| figure | median | lowest | highest | bound |\n|---|---|---|---|---|");
    for (name, mut values) in figures {
        let bound = match name {
            name if name.starts_with("append / publish") => APPEND_BOUND.to_string(),
            name if name.starts_with("later") => DELIVERY_BOUND_MS.to_string(),
            _ => String::new(),
        };
        let (low, high) = (share(&mut values, 0), share(&mut values, 100));
        println!("| {name} | {:.2} | {low:.2} | {high:.2} | {bound} |", median(&mut values));
    }
    println!();
    Ok(())
}

/// Publishes to as many subjects as there are places, one after the other in each.
async fn publish(nodes: &Nodes, places: &mut [u64], each: u64, record: &Bytes) -> Outcome<Timed> {
    let start = Instant::now();
    let writers = places.iter_mut().enumerate().map(|(number, place)| async move {
        let mut ms = Vec::new();
        for _ in 0..each {
            let start = Instant::now();
            *place = nodes.publish(format!("raw.{number}"), *place, record.clone()).await?;
            ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Outcome::Ok(ms)
    });
    let ms = try_join_all(writers).await?.concat();
    Ok(Timed { ms, seconds: start.elapsed().as_secs_f64() })
}

/// Appends to rooms, with this number of writers in each.
async fn append(rooms: &[Arc<dyn Room>], writers: usize, each: u64) -> Outcome<Timed> {
    let start = Instant::now();
    let writers = rooms.iter().flat_map(|room| vec![room; writers]).map(|room| async move {
        let mut ms = Vec::new();
        for number in 0..each {
            let start = Instant::now();
            room.append(message(number)).await?;
            ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Outcome::Ok(ms)
    });
    let ms = try_join_all(writers).await?.concat();
    Ok(Timed { ms, seconds: start.elapsed().as_secs_f64() })
}

/// Appends on a node. Returns the times until it has heard of a message, until another node has, and the difference.
async fn deliveries(room: &Arc<dyn Room>, heard: (&mut Heard, &mut Heard)) -> Outcome<[Vec<f64>; 3]> {
    let mut delays = [vec![], vec![], vec![]];
    for number in 0..APPENDS {
        let start = Instant::now();
        let seq = room.append(message(number)).await?.seq;
        let here = at(heard.0, seq).await?.duration_since(start).as_secs_f64() * 1e3;
        let there = at(heard.1, seq).await?.duration_since(start).as_secs_f64() * 1e3;
        delays.iter_mut().zip([here, there, there - here]).for_each(|(all, ms)| all.push(ms));
    }
    Ok(delays)
}

/// Returns the time at which a node has heard of a message.
async fn at(heard: &mut Heard, seq: u64) -> Outcome<Instant> {
    loop {
        let (found, at) = timeout(Duration::from_secs(5), heard.recv()).await?.ok_or("the node has ended")?;
        if found == seq {
            return Ok(at);
        }
    }
}

fn drain(heard: &mut Heard) {
    while heard.try_recv().is_ok() {}
}
