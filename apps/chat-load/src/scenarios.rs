//! The scenarios: each puts its load on the server and says what came of it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, ensure};
use chat_client::socket::{Received, Socket, Target};
use chat_client::{Client, Closed, Command, Event, Events, JoinFrom, Lost, RawEvent, Reconnect};
use tokio::io::Interest;
use tokio::time::{sleep, timeout};

use crate::check::{Stream, Tally};
use crate::clock;
use crate::load::Load;
use crate::options::{Echo, Fanout, Options, Pace, Resume, Rooms, Scenario, Slow, What};
use crate::talk::{Reader, Talk, check_size};

/// Bytes that the kernel may hold for a reader that is to be slow.
const SMALL: u32 = 4 * 1024;

/// What came of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// Endings of connections that are part of the scenario.
    pub(crate) expected_endings: Vec<&'static str>,
    /// Whether holes that are told of are part of the scenario.
    pub(crate) expects_gaps: bool,
    /// What else was not as it should be.
    pub(crate) failures: Vec<String>,
    /// What else there is to say.
    pub(crate) notes: Vec<String>,
}

pub(crate) async fn run(load: &Arc<Load>, options: &Options) -> Result<Outcome> {
    let members = load.common.connections();
    match &options.scenario {
        Scenario::Fanout(Fanout { senders }) => talk(load, 1, members, *senders as usize, 1.0).await,
        Scenario::Spike(Fanout { senders }) => talk(load, 1, members, *senders as usize, 10.0).await,
        Scenario::Rooms(Rooms { members: each }) => {
            let rooms = (members / *each as usize).max(1);
            talk(load, rooms, rooms * *each as usize, rooms, 1.0).await
        }
        Scenario::Storm => storm(load).await,
        Scenario::Resume(resume) => resuming(load, resume).await,
        Scenario::Slow(slow) => slow_readers(load, slow).await,
        Scenario::Idle => idle(load).await,
        Scenario::Echo(Echo { what }) => echo(load, *what).await,
    }
}

async fn talk(
    load: &Arc<Load>,
    rooms: usize,
    members: usize,
    writers: usize,
    factor: f64,
) -> Result<Outcome> {
    check_size(load)?;
    // The writers of a fan-out are on top of those who only read.
    let members = if rooms == 1 { members + writers } else { members };
    let busiest = if factor > 1.0 { (2.0 + factor) / 3.0 } else { 1.0 };
    let mut talk = Talk::new(load, rooms, busiest)?;
    talk.populate(members, writers).await?;
    talk.run(factor).await?;
    Ok(finish(&talk, talk.settle().await, Outcome::default()))
}

fn finish(talk: &Talk, tally: Tally, mut outcome: Outcome) -> Outcome {
    if talk.unsent() > 0 {
        let unsent = talk.unsent();
        outcome.failures.push(format!(
            "{unsent} messages could not be sent: the server took them too slowly, or was gone"
        ));
    }
    Outcome { tally, ..outcome }
}

async fn storm(load: &Arc<Load>) -> Result<Outcome> {
    load.begin()?;
    let count = load.common.rate * load.common.duration.as_secs_f64();
    ensure!(count <= 10_000_000.0, "more than 10 million connections in one run");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let count = count as usize;
    let start = clock::now();
    let mut connections = tokio::task::JoinSet::new();
    for n in 0..count {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shorter than an age")]
        let due = start + (n as f64 / load.common.rate * 1e6) as u64;
        if load.is_stopped() {
            break;
        }
        if due > clock::now() {
            sleep(Duration::from_micros(due - clock::now())).await;
        }
        load.sent.fetch_add(1, Ordering::Relaxed);
        load.show("connecting");
        let load = Arc::clone(load);
        connections.spawn(async move {
            match load.connect(n).await {
                Ok(socket) => {
                    load.connect.record(n, due);
                    load.acknowledged.fetch_add(1, Ordering::Relaxed);
                    Some(socket)
                }
                Err(error) => {
                    load.count(format!("{error:#}"));
                    None
                }
            }
        });
    }
    let limit = load.common.patience;
    let mut sockets = Vec::new();
    let all = async {
        while let Some(connected) = connections.join_next().await {
            sockets.extend(connected.ok().flatten());
        }
    };
    let in_time = timeout(limit, all).await.is_ok();
    load.end()?;
    let mut outcome = Outcome::default();
    if !in_time {
        outcome.failures.push(format!("not all connections were there after {limit:?}"));
    }
    outcome.notes.push(format!("{} connections stand at the end", sockets.len()));
    Ok(outcome)
}

async fn idle(load: &Arc<Load>) -> Result<Outcome> {
    let sockets = load.many(load.common.connections(), |n| load.connect(n)).await?;
    // The server's allocator settles.
    sleep(Duration::from_millis(500)).await;
    load.begin()?;
    let held = sockets.len();
    for mut socket in sockets {
        let load = Arc::clone(load);
        tokio::spawn(async move {
            loop {
                if let Err(lost) = socket.receive().await {
                    load.lost(&lost);
                    return;
                }
            }
        });
    }
    load.wait("idle", load.common.duration, || false).await;
    load.end()?;
    Ok(Outcome { notes: vec![format!("{held} connections were held")], ..Outcome::default() })
}

async fn resuming(load: &Arc<Load>, resume: &Resume) -> Result<Outcome> {
    check_size(load)?;
    let mut talk = Talk::new(load, 1, 1.0)?;
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
    talk.run(1.0).await?;
    let mut outcome = finish(&talk, talk.settle().await, Outcome::default());
    outcome.expected_endings.push("a reconnect was asked for");
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
            Event::Expelled { refusal, .. } => load.refused(&refusal.code),
            Event::Closed(Closed::Here) => {}
            Event::Closed(why) => load.count(format!("ended: {why}")),
            _ => {}
        }
    }
    reader.end();
}

async fn slow_readers(load: &Arc<Load>, slow: &Slow) -> Result<Outcome> {
    check_size(load)?;
    let all = load.common.connections();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of what fits")]
    let count = ((all as f64 * slow.share) as usize).max(1);
    let mut talk = Talk::new(load, 1, 1.0)?;
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
            socket.send(Command::join(&room, &JoinFrom::Now).encode()).await?;
            tokio::spawn(trickle(Arc::clone(load), socket));
        }
        talk.run(1.0).await?;
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
    talk.run(1.0).await?;
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

async fn echo(load: &Arc<Load>, what: What) -> Result<Outcome> {
    let connect = |n: usize| {
        let load = Arc::clone(load);
        async move {
            if what == What::Ping {
                return load.connect(n).await;
            }
            let target = Target { offer: false, name: None, ..load.target(n) };
            Ok(Socket::connect(&target).await?)
        }
    };
    let count = load.common.connections();
    let sockets = load.many(count, connect).await?;
    load.begin()?;
    let start = clock::now();
    let mut tasks = tokio::task::JoinSet::new();
    let each = load.common.rate / count as f64;
    for (n, socket) in sockets.into_iter().enumerate() {
        tasks.spawn(round_trips(Arc::clone(load), what, socket, n, start, each));
    }
    load.wait("round trips", load.common.duration + load.common.patience, || {
        tasks.is_empty() || {
            while tasks.try_join_next().is_some_and(|joined| joined.is_ok()) {}
            tasks.is_empty()
        }
    })
    .await;
    load.end()?;
    let sent = load.sent.load(Ordering::Relaxed);
    let back = load.acknowledged.load(Ordering::Relaxed);
    let mut outcome = Outcome::default();
    outcome.tally.lost = sent.saturating_sub(back);
    let disordered = load.delivered.load(Ordering::Relaxed);
    if disordered > 0 {
        outcome.failures.push(format!("{disordered} answers were not the next one that was due"));
    }
    Ok(outcome)
}

/// One connection's round trips, each due `1/rate` after the one before; they may overlap.
async fn round_trips(load: Arc<Load>, what: What, mut socket: Socket, n: usize, start: u64, rate: f64) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a run is shorter than an age"
    )]
    let (total, gap) = ((rate * load.common.duration.as_secs_f64()).ceil() as u64, (1e6 / rate) as u64);
    let filler = "x".repeat(load.common.size as usize);
    let text = |number: u64| match what {
        What::Ping => Command::ping().with_ref(&number.to_string()).encode(),
        What::Text => format!("{number} {filler}"),
    };
    // Connections begin one after another, or all would be due at once.
    let first = start + gap * n as u64 / u64::from(load.common.connections).max(1);
    let mut outbox = VecDeque::new();
    let mut stream = Stream::after(0);
    let (mut written, mut back) = (0, 0);
    while back < total {
        let due = first + gap * written;
        let wait = Duration::from_micros(due.saturating_sub(clock::now()));
        let received = tokio::select! {
            () = sleep(wait), if written < total && outbox.len() < 64 && !load.is_stopped() => {
                written += 1;
                load.sent.fetch_add(1, Ordering::Relaxed);
                outbox.push_back(text(written).into());
                continue;
            }
            received = poll_fn(|cx| socket.poll_exchange(cx, &mut outbox, true)) => received,
        };
        match received {
            Ok(Received::Text(came)) => {
                let number = match what {
                    What::Ping => RawEvent::parse(&came)
                        .filter(|event| event.kind == "pong")
                        .and_then(|event| event.reference.parse().ok()),
                    What::Text => came.split(' ').next().and_then(|number| number.parse().ok()),
                };
                let number = number.filter(|number| what == What::Ping || *came == *text(*number));
                stream.take(number.unwrap_or(0));
                back += 1;
                load.acknowledged.fetch_add(1, Ordering::Relaxed);
                load.round_trip.record(n, first + gap * number.unwrap_or(1).saturating_sub(1));
            }
            Ok(Received::Other) => {}
            Err(lost) => {
                load.lost(&lost);
                break;
            }
        }
    }
    let tally = stream.tally(back);
    // Here only the order is looked at; what never came back is what was sent and did not.
    load.delivered.fetch_add(tally.duplicated + tally.out_of_order + tally.lost, Ordering::Relaxed);
}
