//! Rooms with writers that send at a rate, and readers. Most scenarios use them.

mod fill;
mod mark;
mod pacer;
mod reader;
mod room;
mod writer;

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use tokio::sync::mpsc;

use crate::check::{SeqTable, Tally};
use crate::load::{Load, Measured};
use crate::report::FaultyMember;
use pacer::{DUE_QUEUE, DueMessages, Pacer};
pub(crate) use reader::Reader;
use room::Room;
pub(crate) use room::{PING, PONG};
use writer::Sent;

/// The limit of messages in one run.
const MAX_MESSAGES: u64 = 100_000_000;

/// The limit of members that a report names.
const MAX_FAULTY_MEMBERS: usize = 50;

/// Rooms with their writers and readers.
#[derive(Debug)]
pub(crate) struct Workload {
    load: Arc<Load>,
    shape: Shape,
    rooms: Vec<Arc<Room>>,
    readers: Vec<Arc<Reader>>,
    writers: Vec<mpsc::Sender<DueMessages>>,
    /// True while the writers of a closed loop continue.
    is_closed_loop_running: Arc<AtomicBool>,
    messages: u64,
    unsent: u64,
}

/// The rooms and writers of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rooms: usize,
    /// The number of writers in all rooms.
    pub(crate) writers: usize,
    pub(crate) schedule: Schedule,
    /// The number of messages that a writer sends at the same time. In a closed loop, the number in flight.
    pub(crate) burst: u64,
    /// The number of messages that [`Workload::fill`] writes into the first room.
    pub(crate) history: u64,
}

impl Shape {
    /// One room with an even rate.
    pub(crate) fn one_room(writers: usize) -> Self {
        Self { rooms: 1, writers, schedule: Schedule::EVEN, burst: 1, history: 0 }
    }
}

/// The times at which messages are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Schedule {
    /// An open loop at the requested rate. In the middle third, the rate is multiplied by this factor.
    Paced(f64),
    /// A closed loop: each writer sends its next message when the last one is acknowledged.
    Closed,
}

impl Schedule {
    pub(crate) const EVEN: Self = Self::Paced(1.0);
    pub(crate) const SPIKE: Self = Self::Paced(10.0);
}

impl Workload {
    /// Creates rooms for the number of messages that the rate and the duration require.
    pub(crate) fn new(load: &Arc<Load>, shape: Shape) -> Result<Self> {
        let Shape { rooms, writers, schedule, history, .. } = shape;
        let common = &load.common;
        let busiest = match schedule {
            Schedule::Paced(middle) => (2.0 + middle) / 3.0,
            Schedule::Closed => 1.0,
        };
        let messages = (common.rate * common.duration.as_secs_f64() * busiest).ceil();
        anyhow::ensure!(messages <= MAX_MESSAGES as f64, "more than 100 million messages in one run");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        let messages = messages as u64;
        let each = match schedule {
            // Writers take turns, so the rooms differ by at most one message each.
            Schedule::Paced(_) => messages / rooms as u64 + 2,
            Schedule::Closed => MAX_MESSAGES,
        };
        let (writers, size) = (writers.div_ceil(rooms), common.size as usize);
        let room =
            |n| Ok(Arc::new(Room::new(load.room(n)?, common.protocol, writers, history + each, size)?));
        Ok(Self {
            load: Arc::clone(load),
            shape,
            rooms: (0..rooms).map(room).collect::<Result<_>>()?,
            readers: Vec::new(),
            writers: Vec::new(),
            is_closed_loop_running: Arc::new(AtomicBool::new(schedule == Schedule::Closed)),
            messages,
            unsent: 0,
        })
    }

    /// Writes the history as fast as the server accepts it.
    pub(crate) async fn fill(&self) -> Result<()> {
        fill::fill(&self.load, &self.rooms[0], self.shape.history).await
    }

    pub(crate) fn room(&self, n: usize) -> &Arc<Room> {
        &self.rooms[n % self.rooms.len()]
    }

    /// Connects members to the rooms in turn. The first ones of them write.
    pub(crate) async fn connect_members(&mut self, members: usize) -> Result<()> {
        let load = Arc::clone(&self.load);
        let rooms = self.rooms.clone();
        let join = |n: usize| {
            let room = Arc::clone(&rooms[n % rooms.len()]);
            let load = Arc::clone(&load);
            async move { Ok((n, load.member(n, &room.name).await?)) }
        };
        let mut joined = load.connect_all(members, join).await?;
        joined.sort_by_key(|(n, _)| *n);
        for (n, (socket, seq)) in joined {
            let reader = self.add_reader(n, seq, true);
            if n < self.shape.writers {
                let (due, due_messages) = mpsc::channel(DUE_QUEUE);
                self.writers.push(due);
                let (sent, running) =
                    (Sent::by(n / self.rooms.len()), Arc::clone(&self.is_closed_loop_running));
                tokio::spawn(writer::write(reader, sent, socket, due_messages, running));
            } else {
                tokio::spawn(reader::read(reader, socket));
            }
        }
        Ok(())
    }

    /// Adds a reader that has received all messages up to `seq`. `measured` is false for slow readers.
    pub(crate) fn add_reader(&mut self, n: usize, seq: u64, measured: bool) -> Arc<Reader> {
        let reader = Arc::new(Reader::new(&self.load, self.room(n), n, seq, measured));
        self.readers.push(Arc::clone(&reader));
        reader
    }

    /// Sends all messages when they are due, and waits until they are acknowledged or the time limit is over.
    pub(crate) async fn run(&mut self) -> Result<()> {
        let start = self.load.begin(Measured::Deliveries)?;
        self.run_from(start).await
    }

    /// Sends all messages like [`run`](Self::run), for a load that has already started.
    pub(crate) async fn run_from(&mut self, start: u64) -> Result<()> {
        let load = Arc::clone(&self.load);
        let pacer = Pacer {
            load: Arc::clone(&load),
            start,
            writers: std::mem::take(&mut self.writers),
            first: self.shape.history,
            messages: self.messages,
            burst: self.shape.burst,
            schedule: self.shape.schedule,
        };
        let pacing = thread::Builder::new().name("pacer".to_owned()).spawn(move || pacer.run())?;
        let limit = load.common.duration + load.common.patience;
        load.wait("load", limit, || pacing.is_finished()).await;
        self.is_closed_loop_running.store(false, Ordering::Relaxed);
        let writers;
        (self.unsent, writers) = pacing.join().map_err(|_| anyhow!("the pacer failed"))?;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let expected = |load: &Load| count(&load.sent) <= count(&load.acknowledged);
        load.wait("acknowledgements", load.common.patience, || expected(&load)).await;
        load.end()?;
        drop(writers);
        Ok(())
    }

    /// Waits until every reader has received everything, and returns the result.
    pub(crate) async fn wait_for_deliveries(&self) -> Tally {
        let limit = self.load.common.patience;
        let mut done = 0;
        let all_arrived = || {
            while done < self.readers.len() && self.readers[done].is_done() {
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
        // A message that the server stored twice reached the readers as two messages.
        all.duplicated +=
            self.rooms.iter().flat_map(|room| &room.tables).map(SeqTable::duplicates).sum::<u64>();
        all
    }

    /// Returns the number of members with a failed check, and those with the most failures.
    pub(crate) fn faulty_members(&self) -> (usize, Vec<FaultyMember>) {
        let mut faulty: Vec<_> = self.readers.iter().filter_map(|reader| reader.faults()).collect();
        faulty.sort_by_key(|member| Reverse(member.deliveries.faults()));
        let count = faulty.len();
        faulty.truncate(MAX_FAULTY_MEMBERS);
        (count, faulty)
    }

    /// Returns the number of messages that no writer accepted.
    pub(crate) fn unsent(&self) -> u64 {
        self.unsent
    }
}

/// Checks that the server accepts the size of a message.
pub(crate) fn check_size(load: &Load) -> Result<()> {
    let limit = chat_client::LimitsNotice::default().max_body;
    let size = load.common.size as usize;
    Some(()).filter(|()| size <= limit).with_context(|| format!("--size: the limit is {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::Options;

    #[test]
    fn a_message_at_the_seq_of_another_is_altered() {
        let options = Options::parse_from(["chat-load", "fanout"]);
        let load = Load::new(&options.common).unwrap();
        let mut workload = Workload::new(&load, Shape::one_room(1)).unwrap();
        let [one, other] = [0, 1].map(|n| workload.add_reader(n, 0, true));
        let body = &*one.room.body.get().to_owned();
        one.receive(1, "0.5", body);
        other.receive(1, "0.5", body);
        assert!(workload.tally().is_correct());
        other.receive(2, "7.5", body);
        one.receive(2, "1.5", body);
        one.receive(3, "of another client", body);
        other.receive(3, "2.5", body);
        one.receive(4, "3.5", r#"{"text":"x"}"#);
        other.receive(4, "3.5", body);
        assert_eq!(workload.tally(), Tally { delivered: 8, altered: 3, ..Tally::default() });
    }
}
