use std::collections::HashMap;

use fastrand::Rng;

use super::{Ending, Moved};
use crate::agenda::Agenda;
use crate::figures::{
    CALL_TIMEOUT, COMMIT, HINT_SILENCE, HOT_RATE, KEY_GIB, KINDS, NODES, READS, REQUEST, messages,
};
use crate::keys::kept_for;
use crate::sample::{exponential, uniform};

/// The times at which the node ends and is back, and the end of the simulation.
const GONE: f64 = 10.0;
const BACK: f64 = 40.0;
const END: f64 = 70.0;

/// The time in which a sign of life reaches another node.
const SIGN: (f64, f64) = (0.000_2, 0.002);

/// The interval of the signs of life that decide which node is asked, and the pauses of a writer that was refused, the
/// first one and the longest one (`node/tasks.rs` and `room/writer.rs` of chat-jetstream).
const SIGN_INTERVAL: f64 = 2.0;
const PAUSES: (f64, f64) = (0.001, 0.05);

/// The longest first wait of a client before it repeats a message.
const FIRST_WAIT: f64 = 0.25;

#[derive(Clone, Copy)]
struct Send {
    room: usize,
    first: f64,
    until: f64,
}

/// A node, and the room to which it appends.
type WriterId = (usize, usize);

#[derive(Default)]
struct Writer {
    jobs: Vec<Send>,
    in_record: usize,
    state: State,
    refusals: i32,
    /// The number of records of the room after which the record that is published belongs.
    expected: u64,
    /// The time of the last append, if the keys are known.
    used: Option<f64>,
}

#[derive(Default, PartialEq)]
enum State {
    #[default]
    Idle,
    Loading,
    Publishing,
}

#[derive(Default)]
struct Room {
    rate: f64,
    /// The node that is asked while the node of the room is not there.
    other: usize,
    records: u64,
    /// The node that has written the last record, and the time. Another node hears of it a little later.
    last: Option<(usize, f64)>,
}

#[derive(Clone, Copy)]
enum Event {
    Arrive,
    Send(usize, Send),
    Expire(WriterId),
    Reach(WriterId),
    Stored(WriterId),
    /// Keys were read, or a pause has ended.
    Again(WriterId),
}

struct Run {
    ending: Ending,
    window: f64,
    /// The time for which a node keeps the keys of a room that is quiet.
    kept: f64,
    agenda: Agenda<Event>,
    random: Rng,
    /// The times at which each node notices that the node has ended, and that it is back.
    notices: Vec<(f64, f64)>,
    rooms: HashMap<usize, Room>,
    writers: HashMap<WriterId, Writer>,
    /// Messages that their clients will send again.
    repeating: usize,
    result: Moved,
}

/// The node that ends.
const NODE: usize = 0;

/// Simulates the rooms of one node. The same seed gives the same result.
pub fn restart(ending: Ending, window: f64, seed: u64) -> Moved {
    let mut random = Rng::with_seed(seed);
    let notices = (0..NODES.value as usize).map(|_| {
        let gone = match ending {
            Ending::Stays => f64::INFINITY,
            Ending::Drained => GONE + uniform(&mut random, SIGN),
            Ending::Killed | Ending::Hangs => GONE + HINT_SILENCE.value - random.f64() * SIGN_INTERVAL,
        };
        (gone, BACK + uniform(&mut random, SIGN))
    });
    let notices = notices.collect();
    let mut agenda = Agenda::default();
    agenda.add(0.0, Event::Arrive);
    let (rooms, writers, repeating, result) = Default::default();
    let kept = kept_for(KEY_GIB.value * 1024.0 * 1024.0 * 1024.0, window, 1.0);
    let mut run = Run { ending, window, kept, agenda, random, notices, rooms, writers, repeating, result };
    while let Some(event) = run.agenda.next_event() {
        run.handle(event);
    }
    let waiting: usize = run.writers.values().map(|writer| writer.jobs.len()).sum();
    run.result.waiting = (waiting + run.repeating) as u64;
    run.result
}

impl Run {
    fn is_there(&self) -> bool {
        self.ending == Ending::Stays || !(GONE..BACK).contains(&self.agenda.now())
    }

    fn handle(&mut self, event: Event) {
        let now = self.agenda.now();
        match event {
            Event::Arrive => {
                let next = exponential(&mut self.random, NODES.value / messages());
                if now < END {
                    self.agenda.add_in(next, Event::Arrive);
                }
                // The clients of the node that ends are on the others.
                let node = self.random.usize(1..self.notices.len());
                let room = self.choose_room();
                self.result.sent += 1;
                self.send(node, Send { room, first: now, until: now + CALL_TIMEOUT.value });
            }
            Event::Send(node, send) => {
                self.repeating -= 1;
                self.send(node, send);
            }
            Event::Expire(id) => self.expire(id),
            Event::Again(id) => {
                self.writers.entry(id).or_default().state = State::Idle;
                self.work(id);
            }
            Event::Reach(id) => self.reach(id),
            Event::Stored(id) => self.stored(id),
        }
    }

    /// Returns the room of a message, one of those of the node. The hot room is one of them.
    fn choose_room(&mut self) -> usize {
        let nodes = NODES.value;
        let mut at = self.random.f64() * (messages() - HOT_RATE.value + HOT_RATE.value * nodes) / nodes;
        let (mut room, mut rate, mut first) = (0, HOT_RATE.value, 1);
        for kind in KINDS {
            let rooms = (kind.rooms() / nodes) as usize;
            if at < kind.messages() / nodes {
                room = first + self.random.usize(..rooms);
                rate = kind.rate;
                break;
            }
            at -= kind.messages() / nodes;
            first += rooms;
        }
        if !self.rooms.contains_key(&room) {
            let other = self.random.usize(1..self.notices.len());
            self.rooms.insert(room, Room { rate, other, ..Room::default() });
            // The node has written to the room before, and may know its keys.
            let is_known = self.random.f64() < 1.0 - (-rate * self.kept).exp();
            if is_known && (self.ending == Ending::Stays || self.agenda.now() < GONE) {
                self.writers.entry((NODE, room)).or_default().used = Some(self.agenda.now());
            }
        }
        room
    }

    fn send(&mut self, node: usize, send: Send) {
        let now = self.agenda.now();
        let (gone, back) = self.notices[node];
        let asks_it = now < gone || now >= back;
        if asks_it && !self.is_there() {
            self.result.in_vain += 1;
            if self.ending == Ending::Hangs {
                self.result.unavailable += 1;
                self.repeating += 1;
                let wait = CALL_TIMEOUT.value + self.random.f64() * FIRST_WAIT;
                let until = now + wait + CALL_TIMEOUT.value;
                return self.agenda.add_in(wait, Event::Send(node, Send { until, ..send }));
            }
            // Nobody listens there, so the node appends itself, and does not ask again.
            self.notices[node].0 = now;
            return self.append((node, send.room), send);
        }
        let to = if asks_it { NODE } else { self.rooms[&send.room].other };
        self.append((to, send.room), send);
    }

    fn append(&mut self, id: WriterId, send: Send) {
        self.writers.entry(id).or_default().jobs.push(send);
        self.agenda.add(send.until, Event::Expire(id));
        self.work(id);
    }

    /// Answers the messages whose time is over, except for those that are being published. Their clients repeat them.
    fn expire(&mut self, id: WriterId) {
        let now = self.agenda.now();
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let kept = if writer.state == State::Publishing { writer.in_record } else { 0 };
        let rest = writer.jobs.split_off(kept);
        let (late, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|job| job.until <= now);
        writer.jobs.extend(rest);
        for job in late {
            self.result.unavailable += 1;
            self.repeating += 1;
            let wait = self.random.f64() * FIRST_WAIT;
            let until = now + wait + CALL_TIMEOUT.value;
            let node = self.random.usize(1..self.notices.len());
            self.agenda.add_in(wait, Event::Send(node, Send { until, ..job }));
        }
    }

    fn work(&mut self, id: WriterId) {
        let now = self.agenda.now();
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let room = &self.rooms[&id.1];
        if writer.state != State::Idle || writer.jobs.is_empty() {
            return;
        }
        // A node that has started again knows nothing.
        let is_new = id.0 == NODE && self.ending != Ending::Stays && now >= BACK;
        let since = if is_new { BACK } else { 0.0 };
        if writer.used.is_none_or(|used| used < since || now - used > self.kept) {
            let read = REQUEST.value + room.rate * self.window / READS.value;
            writer.used = Some(now + read);
            writer.state = State::Loading;
            return self.agenda.add_in(read, Event::Again(id));
        }
        // A record of another node is heard of a little later.
        let is_unheard = room.last.is_some_and(|(node, at)| node != id.0 && now - at < REQUEST.value);
        writer.expected = room.records - u64::from(is_unheard);
        writer.in_record = writer.jobs.len();
        writer.state = State::Publishing;
        self.agenda.add_in(COMMIT.value / 2.0, Event::Reach(id));
    }

    /// Lets a record reach the leader of the stream, which takes it if it is the next one of its room.
    fn reach(&mut self, id: WriterId) {
        let now = self.agenda.now();
        let (Some(writer), Some(room)) = (self.writers.get_mut(&id), self.rooms.get_mut(&id.1)) else {
            return;
        };
        if writer.expected == room.records {
            room.records += 1;
            room.last = Some((id.0, now));
            writer.refusals = 0;
            return self.agenda.add_in(COMMIT.value / 2.0, Event::Stored(id));
        }
        self.result.refused += 1;
        let (first, longest) = PAUSES;
        let pause = (first * 2_f64.powi(writer.refusals.min(8))).min(longest);
        writer.refusals += 1;
        let pause = pause * (0.5 + self.random.f64() / 2.0);
        self.agenda.add_in(COMMIT.value / 2.0 + REQUEST.value + pause, Event::Again(id));
    }

    fn stored(&mut self, id: WriterId) {
        let now = self.agenda.now();
        let Some(writer) = self.writers.get_mut(&id) else { return };
        for send in writer.jobs.drain(..writer.in_record) {
            self.result.stored += 1;
            self.result.waits.add(now - send.first);
        }
        writer.used = Some(now);
        writer.state = State::Idle;
        self.work(id);
    }
}
