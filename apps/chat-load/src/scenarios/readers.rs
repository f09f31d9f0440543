//! Scenarios with readers that reconnect or are slow.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use chat_client::socket::{Socket, Target};
use chat_client::{ClientEvent, Closed, Command, Events, JoinFrom, Joined, Lost, Reconnect};
use serde_json::value::RawValue;
use tokio::io::Interest;
use tokio::time::sleep;

use super::{Outcome, finish};
use crate::load::Load;
use crate::options::{Pace, Resume, Slow};
use crate::workload::{Reader, Shape, Workload, check_size};

/// The receive buffer of a slow reader, in bytes.
const SMALL_BUFFER: u32 = 4 * 1024;

pub(super) async fn resuming(load: &Arc<Load>, resume: &Resume) -> Result<Outcome> {
    check_size(load)?;
    let mut workload = Workload::new(load, Shape::one_room(1))?;
    workload.connect_members(1).await?;
    let room = workload.room(0).name.clone();
    let connect = |n: usize| {
        let (load, room) = (Arc::clone(load), room.clone());
        async move {
            let policy = Reconnect::default()
                .first(Duration::from_millis(100))
                .max(Duration::from_secs(2))
                .settled(Duration::from_secs(1));
            let builder = load.client().reconnect(policy);
            let builder = match load.common.source(n) {
                Some(address) => builder.local_address(address),
                None => builder,
            };
            let (client, events) = builder.connect().await?;
            let joined = client.join(&room, JoinFrom::Now).await?;
            Ok((n, client, events, joined.seq))
        }
    };
    for (n, client, events, seq) in load.connect_all(load.common.connections(), connect).await? {
        let reader = workload.add_reader(n, seq, true);
        let every = resume.every;
        let cutter = Arc::clone(load);
        tokio::spawn(read_events(Arc::clone(load), reader, events));
        tokio::spawn(async move {
            while !cutter.is_stopped() {
                // A random time between zero and twice the average.
                sleep(every.mul_f64(2.0 * f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX)))
                    .await;
                if client.reconnect().await.is_err() {
                    return;
                }
            }
        });
    }
    workload.run().await?;
    let mut outcome = finish(&workload, workload.wait_for_deliveries().await, Outcome::default());
    outcome.expected_endings.push("a reconnect was requested");
    if load.reconnects.load(Ordering::Relaxed) == 0 && !load.is_stopped() {
        outcome.failures.push("no connection was cut: the run was too short".to_owned());
    }
    Ok(outcome)
}

/// Checks the events of a client until they end.
async fn read_events(load: Arc<Load>, reader: Arc<Reader>, mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            ClientEvent::Message(message) => {
                let body = message.body.as_deref().map_or("", RawValue::get);
                reader.receive(message.seq, message.key.as_deref().unwrap_or_default(), body);
            }
            ClientEvent::Gap { from, to, .. } => reader.gap(from, to),
            ClientEvent::Disconnected { lost, .. } => load.record_lost(&lost),
            ClientEvent::Reconnected => {
                load.reconnects.fetch_add(1, Ordering::Relaxed);
            }
            ClientEvent::Resumed(Joined { recovered: false, .. }) => {
                load.record_ending("resumed without recovery".to_owned());
            }
            ClientEvent::Expelled { error, .. } => load.record_refusal(&error.code),
            ClientEvent::Closed(Closed::Locally) => {}
            ClientEvent::Closed(why) => load.record_ending(format!("ended: {:#}", anyhow::Error::from(why))),
            _ => {}
        }
    }
    reader.end();
}

pub(super) async fn slow(load: &Arc<Load>, slow: &Slow) -> Result<Outcome> {
    check_size(load)?;
    let all = load.common.connections();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of what fits")]
    let count = ((all as f64 * slow.share) as usize).max(1);
    let mut workload = Workload::new(load, Shape::one_room(4))?;
    workload.connect_members(all.saturating_sub(count) + 4).await?;
    let room = workload.room(0).name.clone();
    let mut outcome = Outcome {
        expects_gaps: true,
        expected_endings: vec![
            "closed with 4000",
            "the connection ended",
            "connection reset",
            "resumed without",
        ],
        ..Outcome::default()
    };
    if slow.pace == Pace::Trickle {
        for n in 0..count {
            let target = Target { receive_buffer: Some(SMALL_BUFFER), ..load.target(n) };
            let mut socket = Socket::connect(&target).await?;
            socket.welcome().await?;
            let join = Command::Join { room: room.clone(), from: JoinFrom::Now };
            socket.send(join.encode(None)).await?;
            tokio::spawn(trickle(Arc::clone(load), socket));
        }
        workload.run().await?;
        outcome
            .notes
            .push(format!("{count} readers read one byte per second; the figures are those of the others"));
        return Ok(finish(&workload, workload.wait_for_deliveries().await, outcome));
    }
    let mut slow_readers = Vec::new();
    for n in 0..count {
        let policy = Reconnect::default().first(Duration::from_millis(100)).max(Duration::from_secs(2));
        let builder = load.client().reconnect(policy);
        let (client, events) = builder.event_buffer(4).receive_buffer(SMALL_BUFFER).connect().await?;
        let seq = client.join(&room, JoinFrom::Now).await?.seq;
        slow_readers.push((workload.add_reader(n, seq, false), client, events));
    }
    workload.run().await?;
    // The slow readers now read, and must receive every message or a gap.
    let (mut clients, mut late_readers) = (Vec::new(), Vec::new());
    for (reader, client, events) in slow_readers {
        late_readers.push(Arc::clone(&reader));
        clients.push(client);
        tokio::spawn(read_events(Arc::clone(load), reader, events));
    }
    let tally = workload.wait_for_deliveries().await;
    let with_gap = late_readers.iter().map(|reader| reader.tally()).filter(|tally| tally.gaps > 0).count();
    outcome.notes.push(format!(
        "{count} readers read nothing until the load had ended; {} then received everything, {with_gap} received a gap",
        late_readers.iter().filter(|reader| reader.tally().is_correct() && reader.tally().gaps == 0).count()
    ));
    drop(clients);
    Ok(finish(&workload, tally, outcome))
}

/// Reads one byte per second until the server ends the connection.
async fn trickle(load: Arc<Load>, socket: Socket) {
    loop {
        let readable = socket.tcp().ready(Interest::READABLE).await;
        let read = readable.and_then(|_| socket.tcp().try_read(&mut [0]));
        match read {
            Ok(0) => return load.record_lost(&Lost::End),
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                return load.record_lost(&Lost::Io(error.kind()));
            }
            _ => sleep(Duration::from_secs(1)).await,
        }
    }
}
