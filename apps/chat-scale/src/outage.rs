//! A stream without a leader: the sends that wait, their repeats, and the crowd after it.

use fastrand::Rng;

use crate::agenda::Agenda;
use crate::figures::{APPEND_TIMEOUT, CALL_TIMEOUT, COMMIT, RECORDS, REFUSAL, REQUEST_TIMEOUT};
use crate::queue::Queue;
use crate::sample::{Sample, exponential, uniform};
use crate::table::{Table, number, percent, time};

/// The time before an outage, and after its beginning.
const BEFORE: f64 = 5.0;
const AFTER: f64 = 60.0;

/// The time at the end without new sends.
const QUIET: f64 = 15.0;

/// The first wait of a client before it repeats a send, and the longest one (`send_backoff.rs` of chat-client).
const BACKOFF: (f64, f64) = (0.25, 2.0);

/// The longest pause of a writer before it tries again.
const PAUSE: f64 = 0.05;

/// The messages of one record.
const RECORD: usize = 256;

/// An outage of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// Seconds without a leader.
    pub length: f64,
    /// Sends per second, as a share of the records that the stream stores.
    pub load: f64,
    /// Rooms to which they go.
    pub rooms: usize,
    /// Records that the stream stores per second.
    pub rate: f64,
}

/// The result of an outage.
#[derive(Clone, Debug, Default)]
pub struct OutageResult {
    /// Sends of clients, without their repeats.
    pub sends: u64,
    /// Sends that are stored.
    pub stored: u64,
    /// Sends that were still repeated in the end.
    pub waiting: u64,
    /// Answers `unavailable`.
    pub unavailable: u64,
    /// The times from a send to its acknowledgement, of sends during the outage.
    pub waits: Sample,
    /// The most sends that waited in nodes at one time.
    pub peak: usize,
    /// The time from the new leader until no send waited for more than a second.
    pub recovery: f64,
}

#[derive(Clone, Copy)]
struct Send {
    first: f64,
    until: f64,
    refusals: i32,
}

#[derive(Default)]
struct Room {
    jobs: Vec<Send>,
    /// The number of the record that is published.
    ticket: u32,
    /// Jobs that are in the publish. 0 if none is waited for.
    in_record: usize,
}

#[derive(Clone, Copy)]
enum Event {
    Arrive,
    Send(usize, Send),
    Served,
    TimedOut(usize, u32),
    Stored(usize, u32),
}

struct Run<'a> {
    outage: &'a Outage,
    agenda: Agenda<Event>,
    random: Rng,
    rooms: Vec<Room>,
    stream: Queue<(usize, u32)>,
    /// Sends that wait in nodes, and those that their clients will repeat.
    waiting: usize,
    repeating: usize,
    result: OutageResult,
}

/// Simulates an outage. The same seed gives the same result.
pub fn simulate_outage(outage: &Outage, seed: u64) -> OutageResult {
    let rooms = (0..outage.rooms).map(|_| Room::default()).collect();
    let mut agenda = Agenda::default();
    agenda.add(0.0, Event::Arrive);
    let (random, stream) = (Rng::with_seed(seed), Queue::new(usize::MAX));
    let mut run = Run {
        outage,
        agenda,
        random,
        rooms,
        stream,
        waiting: 0,
        repeating: 0,
        result: OutageResult::default(),
    };
    while let Some(event) = run.agenda.next_event() {
        if run.agenda.now() > BEFORE + outage.length + AFTER {
            break;
        }
        run.handle(event);
    }
    run.result.waiting = (run.waiting + run.repeating) as u64;
    run.result
}

impl Run<'_> {
    fn has_leader(&self) -> bool {
        let now = self.agenda.now();
        now < BEFORE || now >= BEFORE + self.outage.length
    }

    fn handle(&mut self, event: Event) {
        let now = self.agenda.now();
        match event {
            Event::Arrive => {
                let interval = 1.0 / (self.outage.load * self.outage.rate);
                let next = exponential(&mut self.random, interval);
                // The last sends have the time to be stored.
                if now < BEFORE + self.outage.length + AFTER - QUIET {
                    self.agenda.add_in(next, Event::Arrive);
                }
                let room = self.random.usize(..self.rooms.len());
                self.result.sends += 1;
                self.send(room, Send { first: now, until: now + CALL_TIMEOUT.value, refusals: 0 });
            }
            Event::Send(room, send) => {
                self.repeating -= 1;
                self.send(room, send);
            }
            Event::Served => {
                let (request, goes_on) = self.stream.finish();
                if let Some((room, ticket)) = request.filter(|_| self.has_leader()) {
                    self.agenda.add_in(COMMIT.value, Event::Stored(room, ticket));
                }
                if goes_on {
                    self.serve();
                }
            }
            Event::Stored(room, ticket) if self.rooms[room].ticket == ticket => self.stored(room),
            Event::TimedOut(room, ticket) if self.rooms[room].ticket == ticket => self.repeat(room),
            Event::Stored(..) | Event::TimedOut(..) => {}
        }
    }

    fn send(&mut self, room: usize, send: Send) {
        self.rooms[room].jobs.push(send);
        self.waiting += 1;
        self.result.peak = self.result.peak.max(self.waiting);
        self.publish(room);
    }

    /// Publishes the sends that wait, unless a publish is waited for.
    fn publish(&mut self, number: usize) {
        let room = &mut self.rooms[number];
        if room.in_record == 0 && !room.jobs.is_empty() {
            room.in_record = room.jobs.len().min(RECORD);
            room.ticket += 1;
            self.ask(number);
        }
    }

    /// Sends a record. Without a leader, the servers discard it.
    fn ask(&mut self, number: usize) {
        let ticket = self.rooms[number].ticket;
        if self.has_leader() && self.stream.add((number, ticket)) {
            self.serve();
        }
        self.wait(number, APPEND_TIMEOUT.value);
    }

    fn wait(&mut self, number: usize, seconds: f64) {
        let pause = uniform(&mut self.random, (0.0, PAUSE));
        self.agenda.add_in(seconds + pause, Event::TimedOut(number, self.rooms[number].ticket));
    }

    /// Lets the stream work for the next record. One that it has, or that nobody waits for, is refused.
    fn serve(&mut self) {
        let Some((room, ticket)) = self.stream.first() else { return };
        let is_new = self.rooms[*room].ticket == *ticket;
        self.agenda.add_in(if is_new { 1.0 / self.outage.rate } else { REFUSAL.value }, Event::Served);
    }

    /// Asks for the end of the log, and sends the record again, as long as somebody waits for it.
    fn repeat(&mut self, number: usize) {
        let now = self.agenda.now();
        let room = &mut self.rooms[number];
        if room.jobs[..room.in_record].iter().any(|job| job.until > now) {
            if self.has_leader() {
                self.ask(number);
            } else {
                self.wait(number, REQUEST_TIMEOUT.value);
            }
            return;
        }
        room.in_record = 0;
        room.ticket += 1;
        self.expire(number);
        self.publish(number);
    }

    fn stored(&mut self, number: usize) {
        let now = self.agenda.now();
        let (begin, end) = (BEFORE, BEFORE + self.outage.length);
        let room = &mut self.rooms[number];
        let stored: Vec<_> = room.jobs.drain(..room.in_record).collect();
        room.in_record = 0;
        room.ticket += 1;
        self.waiting -= stored.len();
        for send in stored {
            self.result.stored += 1;
            let wait = now - send.first;
            if (begin..end).contains(&send.first) {
                self.result.waits.add(wait);
            }
            if wait > 1.0 {
                self.result.recovery = self.result.recovery.max(now - end);
            }
        }
        self.publish(number);
    }

    /// Answers the sends whose time is over. Their clients repeat them.
    fn expire(&mut self, number: usize) {
        let now = self.agenda.now();
        let jobs = std::mem::take(&mut self.rooms[number].jobs);
        let (late, rest): (Vec<_>, _) = jobs.into_iter().partition(|job| job.until <= now);
        self.rooms[number].jobs = rest;
        self.waiting -= late.len();
        for job in late {
            self.repeating += 1;
            self.result.unavailable += 1;
            let (first, longest) = BACKOFF;
            let wait = self.random.f64() * (first * 2_f64.powi(job.refusals)).min(longest);
            let (until, refusals) = (now + wait + CALL_TIMEOUT.value, job.refusals + 1);
            self.agenda.add_in(wait, Event::Send(number, Send { until, refusals, ..job }));
        }
    }
}

/// Returns the effect of outages of several lengths, under several loads.
pub fn tables(seed: u64) -> Vec<Table> {
    let header = [
        "without a leader",
        "load",
        "sends in it",
        "stored at the first try",
        "`unavailable`",
        "longest wait",
        "most wait at once",
        "normal again after",
    ];
    let mut table = Table::new("outage", header);
    for (length, load) in [(2.0, 0.5), (6.0, 0.5), (8.0, 0.5), (12.0, 0.5), (12.0, 0.8), (12.0, 0.95)] {
        let outage = Outage { length, load, rooms: 20_000, rate: RECORDS.value };
        let result = simulate_outage(&outage, seed);
        let [longest] = result.waits.shares([1.0]);
        let refused = result.waits.above(CALL_TIMEOUT.value);
        table.row([
            time(length),
            percent(load),
            number(result.waits.count() as f64),
            percent(1.0 - refused),
            number(result.unavailable as f64),
            time(longest),
            number(result.peak as f64),
            if result.waiting > 0 { format!("> {}", time(AFTER - QUIET)) } else { time(result.recovery) },
        ]);
    }
    vec![table]
}
