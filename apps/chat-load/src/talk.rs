//! Rooms in which some write at a rate and all read: what most scenarios are made of.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use chat_client::socket::{Received, Socket};
use chat_client::{Command, ErrorCode, RawEvent, RoomName, Text};
use parking_lot::Mutex;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::check::{Ledger, Stream, Tally};
use crate::clock;
use crate::load::Load;

/// Messages that are due and that a writer has not yet taken; a server that does not keep up fills it.
const DUE: usize = 4_096;

/// Messages that a writer has taken and not yet written.
const UNWRITTEN: usize = 256;

/// How often the pacer looks whether it is to stop, in microseconds.
const GLANCE: u64 = 100_000;

/// A message that is due: its number in this run, and when.
type Token = (u64, u64);

/// Rooms, their writers and their readers.
#[derive(Debug)]
pub(crate) struct Talk {
    load: Arc<Load>,
    rooms: Vec<Arc<Room>>,
    readers: Vec<Arc<Reader>>,
    writers: Vec<mpsc::Sender<Token>>,
    messages: u64,
    unsent: u64,
}

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: RoomName,
    ledger: Ledger,
    /// Of each of its messages.
    body: Arc<RawValue>,
}

/// One who reads a room, and all that came of it.
#[derive(Debug)]
pub(crate) struct Reader {
    load: Arc<Load>,
    room: Arc<Room>,
    number: usize,
    stream: Mutex<Stream>,
    /// Its connection is gone for good.
    ended: AtomicBool,
    /// Whether its latencies count.
    measured: bool,
}

impl Talk {
    /// `rooms` rooms of this run, for as many messages as its rate and duration make.
    pub(crate) fn new(load: &Arc<Load>, rooms: usize, busiest: f64) -> Result<Self> {
        let common = &load.common;
        let messages = (common.rate * common.duration.as_secs_f64() * busiest).ceil();
        anyhow::ensure!(messages <= 100_000_000.0, "more than 100 million messages in one run");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        let messages = messages as u64;
        // Writers take turns, so rooms differ by one round at the most.
        let each = usize::try_from(messages)? / rooms + 2;
        let text = "x".repeat(common.size as usize);
        let body: Arc<RawValue> = to_raw_value(&Text(&text))?.into();
        let room = |n| {
            let (name, ledger, body) = (load.room(n)?, Ledger::new(each), Arc::clone(&body));
            Ok(Arc::new(Room { name, ledger, body }))
        };
        Ok(Self {
            load: Arc::clone(load),
            rooms: (0..rooms).map(room).collect::<Result<_>>()?,
            readers: Vec::new(),
            writers: Vec::new(),
            messages,
            unsent: 0,
        })
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
                tokio::spawn(write(reader, socket, tokens));
            } else {
                tokio::spawn(read(reader, socket));
            }
        }
        Ok(())
    }

    /// Another reader, who has got as far as `seq`. Only those who read as fast as they can are measured.
    pub(crate) fn add(&mut self, n: usize, seq: u64, measured: bool) -> Arc<Reader> {
        let reader = Arc::new(Reader {
            load: Arc::clone(&self.load),
            room: Arc::clone(self.room(n)),
            number: n,
            stream: Mutex::new(Stream::after(seq)),
            ended: AtomicBool::new(false),
            measured,
        });
        self.readers.push(Arc::clone(&reader));
        reader
    }

    /// Has messages written as they are due, `factor` times as fast in the middle third, until all are
    /// acknowledged or it takes too long.
    pub(crate) async fn run(&mut self, factor: f64) -> Result<()> {
        let load = Arc::clone(&self.load);
        load.begin()?;
        let pacer = Pacer {
            load: Arc::clone(&load),
            writers: std::mem::take(&mut self.writers),
            messages: self.messages,
            factor,
        };
        let pacing = thread::Builder::new().name("pacer".to_owned()).spawn(move || pacer.run())?;
        let limit = load.common.duration + load.common.patience;
        load.wait("load", limit, || pacing.is_finished()).await;
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
        let arrived = |reader: &Arc<Reader>| {
            reader.ended.load(Ordering::Relaxed) || reader.stream.lock().reached(reader.room.ledger.last())
        };
        let limit = self.load.common.patience;
        let mut done = 0;
        let all_arrived = || {
            while done < self.readers.len() && arrived(&self.readers[done]) {
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

impl Reader {
    /// A message came, with the key that [`write`] gave it, and the body that all have.
    pub(crate) fn take(&self, seq: u64, key: &str, body: &str) {
        let sent = key.split_once('.').and_then(|(n, due)| Some((n.parse().ok()?, due.parse().ok()?)));
        let agrees =
            sent.is_some_and(|(n, _)| self.room.ledger.agrees(seq, n)) && body == self.room.body.get();
        let mut stream = self.stream.lock();
        stream.take(seq);
        if !agrees {
            stream.altered();
        }
        drop(stream);
        self.load.delivered.fetch_add(1, Ordering::Relaxed);
        if let Some((_, due)) = sent.filter(|_| self.measured) {
            self.load.delivery.record(self.number, due);
        }
    }

    pub(crate) fn gap(&self, from: u64, to: u64) {
        self.stream.lock().gap(from, to);
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn tally(&self) -> Tally {
        self.stream.lock().tally(self.room.ledger.last())
    }

    fn handle(&self, text: &str, unacknowledged: &mut HashMap<u64, u64>) {
        let Some(event) = RawEvent::parse(text) else {
            self.load.count("a frame that is no event".to_owned());
            return;
        };
        match &*event.kind {
            "message" if event.room == self.room.name.as_str() => {
                self.take(event.seq.unwrap_or(0), &event.key, event.body.map_or("", RawValue::get));
            }
            "gap" => self.gap(event.from.unwrap_or(0), event.to.unwrap_or(0)),
            "sent" => {
                let number = event.reference.parse().unwrap_or(u64::MAX);
                let Some(due) = unacknowledged.remove(&number) else {
                    self.load.count("acknowledged twice, or never sent".to_owned());
                    return;
                };
                self.load.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.load.acknowledge.record(self.number, due);
                if !self.room.ledger.agrees(event.seq.unwrap_or(0), number) {
                    self.stream.lock().altered();
                }
            }
            "error" => {
                let code = event.code.and_then(|code| serde_json::from_str::<&str>(code.get()).ok());
                self.load.refused(&ErrorCode::from(code.unwrap_or_default()));
            }
            _ => {}
        }
    }
}

async fn read(reader: Arc<Reader>, mut socket: Socket) {
    let mut none = HashMap::new();
    loop {
        match socket.receive().await {
            Ok(text) => reader.handle(&text, &mut none),
            Err(lost) => {
                reader.load.lost(&lost);
                reader.end();
                return;
            }
        }
    }
}

async fn write(reader: Arc<Reader>, mut socket: Socket, mut tokens: mpsc::Receiver<Token>) {
    let mut outbox = VecDeque::new();
    let mut unacknowledged = HashMap::new();
    loop {
        let writable = outbox.len() < UNWRITTEN;
        let received = tokio::select! {
            Some((number, due)) = tokens.recv(), if writable => {
                let (reference, key) = (number.to_string(), format!("{number}.{due}"));
                let command = Command::send(&reader.room.name, Some(&key), &reader.room.body).with_ref(&reference);
                outbox.push_back(command.encode().into());
                unacknowledged.insert(number, due);
                continue;
            }
            received = poll_fn(|cx| socket.poll_exchange(cx, &mut outbox, true)) => received,
        };
        match received {
            Ok(Received::Text(text)) => reader.handle(&text, &mut unacknowledged),
            Ok(Received::Other) => {}
            Err(lost) => {
                reader.load.lost(&lost);
                reader.end();
                return;
            }
        }
    }
}

/// Says when a message is due, on a thread of its own, whatever the server does.
#[derive(Debug)]
struct Pacer {
    load: Arc<Load>,
    writers: Vec<mpsc::Sender<Token>>,
    messages: u64,
    factor: f64,
}

impl Pacer {
    /// How many messages found no writer, and the writers, who end when they are dropped.
    fn run(self) -> (u64, Vec<mpsc::Sender<Token>>) {
        let start = clock::now();
        let limit = self.load.common.duration + self.load.common.patience;
        let limit = start + u64::try_from(limit.as_micros()).unwrap_or(u64::MAX / 2);
        let mut unsent = 0;
        for number in 0..self.messages {
            let due = start + due_at(number, self.load.common.rate, self.load.common.duration, self.factor);
            while clock::now() < due && !self.load.is_stopped() {
                clock::sleep_until(due.min(clock::now() + GLANCE));
            }
            if self.load.is_stopped() {
                break;
            }
            if self.hand_over(number, due, limit) {
                self.load.sent.fetch_add(1, Ordering::Relaxed);
            } else {
                unsent += 1;
            }
        }
        (unsent, self.writers)
    }

    /// Whether a writer took it.
    fn hand_over(&self, number: u64, due: u64, limit: u64) -> bool {
        let writer = usize::try_from(number).unwrap_or(0) % self.writers.len();
        loop {
            match self.writers[writer].try_send((number, due)) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                // Latency counts from when it was due, so nothing is hidden by waiting.
                Err(TrySendError::Full(_)) if clock::now() < limit && !self.load.is_stopped() => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(TrySendError::Full(_)) => return false,
            }
        }
    }
}

/// When message `number` is due, in microseconds from the start: at `rate`, but for the middle third of the time,
/// where it is `factor` times as much.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a run is shorter than an age")]
fn due_at(number: u64, rate: f64, duration: Duration, factor: f64) -> u64 {
    let third = duration.as_secs_f64() / 3.0;
    let number = number as f64;
    let (calm, busy) = (rate * third, rate * third * factor);
    let seconds = if number < calm {
        number / rate
    } else if number < calm + busy {
        third + (number - calm) / (rate * factor)
    } else {
        2.0 * third + (number - calm - busy) / rate
    };
    (seconds * 1e6) as u64
}

/// The text that a message is sent with must be one that the server takes.
pub(crate) fn check_size(load: &Load) -> Result<()> {
    let limit = chat_client::ServerLimits::default().max_body;
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
        let mut talk = Talk::new(&load, 1, 1.0).unwrap();
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

    #[test]
    fn a_spike_is_in_the_middle_third() {
        let due = |n| due_at(n, 10.0, Duration::from_secs(3), 10.0);
        let seconds = [0, 9, 10, 20, 109, 110, 119].map(|n| due(n) as f64 / 1e6);
        assert_eq!(seconds, [0.0, 0.9, 1.0, 1.1, 1.99, 2.0, 2.9]);
        assert_eq!(due_at(25, 10.0, Duration::from_secs(3), 1.0), 2_500_000);
    }
}
