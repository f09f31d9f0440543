//! Rooms in which some write at a rate and all read: what most scenarios are made of.

mod fill;
mod pacer;
mod reader;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use chat_client::Text;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;

use crate::check::{Ledger, Tally};
use crate::load::Load;
use pacer::{DUE, Pacer, Token};
pub(crate) use reader::{Reader, Room};

/// Messages in one run.
const MOST: u64 = 100_000_000;

/// Rooms, their writers and their readers.
#[derive(Debug)]
pub(crate) struct Talk {
    load: Arc<Load>,
    tempo: Tempo,
    rooms: Vec<Arc<Room>>,
    readers: Vec<Arc<Reader>>,
    writers: Vec<mpsc::Sender<Token>>,
    /// Whether writers who wait for nothing but their acknowledgements are to go on.
    open: Arc<AtomicBool>,
    history: u64,
    messages: u64,
    unsent: u64,
}

/// When messages are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tempo {
    /// At the rate that was asked for, and so many times as fast in the middle third.
    Paced(f64),
    /// A writer's next as soon as its last is acknowledged.
    Closed,
}

impl Tempo {
    pub(crate) const EVEN: Self = Self::Paced(1.0);
    pub(crate) const SPIKE: Self = Self::Paced(10.0);
}

impl Talk {
    /// `rooms` rooms of this run, for as many messages as its rate and duration make.
    pub(crate) fn new(load: &Arc<Load>, rooms: usize, tempo: Tempo) -> Result<Self> {
        Self::with_history(load, rooms, tempo, 0)
    }

    /// The same, where [`fill`](Self::fill) writes so many messages into the first room.
    pub(crate) fn with_history(load: &Arc<Load>, rooms: usize, tempo: Tempo, history: u64) -> Result<Self> {
        let common = &load.common;
        let busiest = match tempo {
            Tempo::Paced(middle) => (2.0 + middle) / 3.0,
            Tempo::Closed => 1.0,
        };
        let messages = (common.rate * common.duration.as_secs_f64() * busiest).ceil();
        anyhow::ensure!(messages <= MOST as f64, "more than 100 million messages in one run");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        let messages = messages as u64;
        let each = match tempo {
            // Writers take turns, so rooms differ by one round at the most.
            Tempo::Paced(_) => messages / rooms as u64 + 2,
            Tempo::Closed => MOST,
        };
        let text = "x".repeat(common.size as usize);
        let body: Arc<RawValue> = to_raw_value(&Text(&text))?.into();
        let room = |n| {
            let (name, ledger, body) = (load.room(n)?, Ledger::new(history + each), Arc::clone(&body));
            Ok(Arc::new(Room { name, ledger, body }))
        };
        Ok(Self {
            load: Arc::clone(load),
            tempo,
            rooms: (0..rooms).map(room).collect::<Result<_>>()?,
            readers: Vec::new(),
            writers: Vec::new(),
            open: Arc::new(AtomicBool::new(tempo == Tempo::Closed)),
            history,
            messages,
            unsent: 0,
        })
    }

    /// Writes the history, as fast as the server takes it.
    pub(crate) async fn fill(&self) -> Result<()> {
        fill::fill(&self.load, &self.rooms[0], self.history).await
    }

    pub(crate) fn room(&self, n: usize) -> &Arc<Room> {
        &self.rooms[n % self.rooms.len()]
    }

    /// Connects members, of whom the first `writers` write, spread over the rooms.
    pub(crate) async fn populate(&mut self, members: usize, writers: usize) -> Result<()> {
        let load = Arc::clone(&self.load);
        let rooms = self.rooms.clone();
        let join = |n: usize| {
            let room = Arc::clone(&rooms[n % rooms.len()]);
            let load = Arc::clone(&load);
            async move { Ok((n, load.member(n, &room.name).await?)) }
        };
        let mut joined = load.many(members, join).await?;
        joined.sort_by_key(|(n, _)| *n);
        for (n, (socket, seq)) in joined {
            let reader = self.add(n, seq, true);
            if n < writers {
                let (due, tokens) = mpsc::channel(DUE);
                self.writers.push(due);
                tokio::spawn(writer::write(reader, socket, tokens, Arc::clone(&self.open)));
            } else {
                tokio::spawn(reader::read(reader, socket));
            }
        }
        Ok(())
    }

    /// Another reader, who has got as far as `seq`. Only those who read as fast as they can are measured.
    pub(crate) fn add(&mut self, n: usize, seq: u64, measured: bool) -> Arc<Reader> {
        let reader = Arc::new(Reader::new(&self.load, self.room(n), n, seq, measured));
        self.readers.push(Arc::clone(&reader));
        reader
    }

    /// Has messages written as they are due, until all are acknowledged or it takes too long.
    pub(crate) async fn run(&mut self) -> Result<()> {
        let start = self.load.begin()?;
        self.run_from(start).await
    }

    /// The same, for who has said already that the load begins.
    pub(crate) async fn run_from(&mut self, start: u64) -> Result<()> {
        let load = Arc::clone(&self.load);
        let pacer = Pacer {
            load: Arc::clone(&load),
            start,
            writers: std::mem::take(&mut self.writers),
            first: self.history,
            messages: self.messages,
            tempo: self.tempo,
        };
        let pacing = thread::Builder::new().name("pacer".to_owned()).spawn(move || pacer.run())?;
        let limit = load.common.duration + load.common.patience;
        load.wait("load", limit, || pacing.is_finished()).await;
        self.open.store(false, Ordering::Relaxed);
        let writers;
        (self.unsent, writers) = pacing.join().map_err(|_| anyhow!("the pacer failed"))?;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let expected = |load: &Load| count(&load.sent) <= count(&load.acknowledged);
        load.wait("acknowledgements", load.common.patience, || expected(&load)).await;
        load.end()?;
        drop(writers);
        Ok(())
    }

    /// Waits until every reader has read everything; what came of it.
    pub(crate) async fn settle(&self) -> Tally {
        let limit = self.load.common.patience;
        let mut done = 0;
        let all_arrived = || {
            while done < self.readers.len() && self.readers[done].has_arrived() {
                done += 1;
            }
            done == self.readers.len()
        };
        self.load.wait("the last deliveries", limit, all_arrived).await;
        self.tally()
    }

    pub(crate) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for reader in &self.readers {
            all.add(&reader.tally());
        }
        // What the server took twice came to every reader as two messages.
        all.duplicated += self.rooms.iter().map(|room| room.ledger.repeats()).sum::<u64>();
        all
    }

    /// Messages that could not even be handed to a connection.
    pub(crate) fn unsent(&self) -> u64 {
        self.unsent
    }
}

/// The text that a message is sent with must be one that the server takes.
pub(crate) fn check_size(load: &Load) -> Result<()> {
    let limit = chat_client::LimitsNotice::default().max_body;
    let size = load.common.size as usize;
    Some(())
        .filter(|()| size <= limit)
        .with_context(|| format!("--size: a message has at most {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::Options;

    #[test]
    fn a_message_under_a_number_that_is_anothers_is_altered() {
        let options = Options::parse_from(["chat-load", "fanout"]);
        let load = Load::new(&options.common).unwrap();
        let mut talk = Talk::new(&load, 1, Tempo::EVEN).unwrap();
        let [one, other] = [0, 1].map(|n| talk.add(n, 0, true));
        let body = &*one.room.body.get().to_owned();
        one.take(1, "0.5", body);
        other.take(1, "0.5", body);
        assert!(talk.tally().is_whole());
        other.take(2, "7.5", body);
        one.take(2, "1.5", body);
        one.take(3, "of somebody else", body);
        other.take(3, "2.5", body);
        one.take(4, "3.5", r#"{"text":"x"}"#);
        other.take(4, "3.5", body);
        assert_eq!(talk.tally(), Tally { delivered: 8, altered: 3, ..Tally::default() });
    }
}
