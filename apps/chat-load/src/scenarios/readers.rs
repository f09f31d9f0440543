//! Readers who are not there all the time, or slow.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use chat_client::socket::{Socket, Target};
use chat_client::{Client, Closed, Command, Event, Events, JoinFrom, Lost, Reconnect};
use tokio::io::Interest;
use tokio::time::sleep;

use super::{Outcome, finish};
use crate::load::Load;
use crate::options::{Pace, Resume, Slow};
use crate::talk::{Reader, Talk, Tempo, check_size};

/// Bytes that the kernel may hold for a reader that is to be slow.
const SMALL: u32 = 4 * 1024;

pub(super) async fn resuming(load: &Arc<Load>, resume: &Resume) -> Result<Outcome> {
    check_size(load)?;
    let mut talk = Talk::new(load, 1, Tempo::EVEN)?;
    talk.populate(1, 1).await?;
    let room = talk.room(0).name.clone();
    let connect = |n: usize| {
        let (load, room) = (Arc::clone(load), room.clone());
        async move {
            let policy = Reconnect::default()
                .first(Duration::from_millis(100))
                .max(Duration::from_secs(2))
                .settled(Duration::from_secs(1));
            let builder = Client::builder(&load.common.url).name(load.run.clone()).reconnect(policy);
            let builder = match load.common.source(n) {
                Some(address) => builder.local_address(address),
                None => builder,
            };
            let (client, events) = builder.connect().await?;
            let joined = client.join(&room, JoinFrom::Now).await?;
            Ok((n, client, events, joined.seq))
        }
    };
    for (n, client, events, seq) in load.many(load.common.connections(), connect).await? {
        let reader = talk.add(n, seq, true);
        let every = resume.every;
        let cutter = Arc::clone(load);
        tokio::spawn(follow(Arc::clone(load), reader, events));
        tokio::spawn(async move {
            while !cutter.is_stopped() {
                // From nothing to twice the average.
                sleep(every.mul_f64(2.0 * f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX)))
                    .await;
                if client.reconnect().await.is_err() {
                    return;
                }
            }
        });
    }
    talk.run().await?;
    let mut outcome = finish(&talk, talk.settle().await, Outcome::default());
    outcome.expected_endings.push("a reconnect was requested");
    if load.reconnects.load(Ordering::Relaxed) == 0 && !load.is_stopped() {
        outcome.failures.push("no connection was ever cut: the run was too short".to_owned());
    }
    Ok(outcome)
}

/// Reads a client's events to the end.
async fn follow(load: Arc<Load>, reader: Arc<Reader>, mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::Message(message) => {
                reader.take(message.seq, message.key.as_deref().unwrap_or_default(), message.body.get());
            }
            Event::Gap { from, to, .. } => reader.gap(from, to),
            Event::Disconnected { lost, .. } => load.lost(&lost),
            Event::Reconnected => {
                load.reconnects.fetch_add(1, Ordering::Relaxed);
            }
            Event::Resumed { recovered: false, .. } => load.count("resumed without recovery".to_owned()),
            Event::Expelled { error, .. } => load.refused(&error.code),
            Event::Closed(Closed::Locally) => {}
            Event::Closed(why) => load.count(format!("ended: {:#}", anyhow::Error::from(why))),
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
    let mut talk = Talk::new(load, 1, Tempo::EVEN)?;
    talk.populate(all.saturating_sub(count) + 4, 4).await?;
    let room = talk.room(0).name.clone();
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
            let target = Target { receive_buffer: Some(SMALL), ..load.target(n) };
            let mut socket = Socket::connect(&target).await?;
            socket.welcome().await?;
            let join = Command::Join { room: room.clone(), from: JoinFrom::Now };
            socket.send(join.encode(None)).await?;
            tokio::spawn(trickle(Arc::clone(load), socket));
        }
        talk.run().await?;
        outcome.notes.push(format!("{count} readers took one byte a second; the rest is about the others"));
        return Ok(finish(&talk, talk.settle().await, outcome));
    }
    let mut sleepers = Vec::new();
    for n in 0..count {
        let policy = Reconnect::default().first(Duration::from_millis(100)).max(Duration::from_secs(2));
        let builder = Client::builder(&load.common.url).name(load.run.clone()).reconnect(policy);
        let (client, events) = builder.event_buffer(4).receive_buffer(SMALL).connect().await?;
        let seq = client.join(&room, JoinFrom::Now).await?.seq;
        sleepers.push((talk.add(n, seq, false), client, events));
    }
    talk.run().await?;
    // Now they wake, and must find everything, or be told.
    let (mut clients, mut woken) = (Vec::new(), Vec::new());
    for (reader, client, events) in sleepers {
        woken.push(Arc::clone(&reader));
        clients.push(client);
        tokio::spawn(follow(Arc::clone(load), reader, events));
    }
    let tally = talk.settle().await;
    let told = woken.iter().map(|reader| reader.tally()).filter(|tally| tally.gaps > 0).count();
    outcome.notes.push(format!(
        "{count} readers read nothing until the load had ended; {} then found everything, {told} were told of a gap",
        woken.iter().filter(|reader| reader.tally().is_whole() && reader.tally().gaps == 0).count()
    ));
    drop(clients);
    Ok(finish(&talk, tally, outcome))
}

/// Takes a byte a second, as long as the server bears it.
async fn trickle(load: Arc<Load>, socket: Socket) {
    loop {
        let readable = socket.tcp().ready(Interest::READABLE).await;
        let read = readable.and_then(|_| socket.tcp().try_read(&mut [0]));
        match read {
            Ok(0) => return load.lost(&Lost::End),
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                return load.lost(&Lost::Io(error.kind()));
            }
            _ => sleep(Duration::from_secs(1)).await,
        }
    }
}
