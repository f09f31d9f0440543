use std::collections::VecDeque;

use fastrand::Rng;

use super::{END, Storm, StormResult, Turns};
use crate::agenda::Agenda;
use crate::figures::{CALL_TIMEOUT, REJOIN, REQUEST, REQUEST_TIMEOUT, RETURN};
use crate::queue::{Bucket, Queue};
use crate::sample::uniform;

struct Client {
    random: Rng,
    /// The room that is joined.
    room: usize,
    step: Step,
    /// Requests that the step still needs.
    left: u32,
    /// The request or the turn for which the client waits.
    ticket: u32,
    /// The time at which the step has begun.
    begun: f64,
}

/// A step of a join.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// The room is open, and its log is asked for its end.
    Look,
    /// The room is opened.
    Open,
    /// The marker of the user is read.
    Count,
}

#[derive(Clone, Copy)]
enum Event {
    Join(usize),
    Ask(usize),
    Served(Leader),
    Answered(usize, u32),
    TimedOut(usize, u32),
    NoTurn(usize, u32),
}

/// The leader of one stream.
#[derive(Clone, Copy)]
enum Leader {
    OfLog,
    OfMarkers,
}

/// Those who have a turn, and those who wait for one.
struct Line {
    limits: Turns,
    running: usize,
    waiting: VecDeque<(usize, u32)>,
}

/// A storm in progress.
struct Run<'a> {
    storm: &'a Storm,
    agenda: Agenda<Event>,
    clients: Vec<Client>,
    leaders: [Queue<(usize, u32)>; 2],
    openings: Line,
    counts: Line,
    bucket: Option<Bucket>,
    /// The time at which the next client without a turn returns.
    next_return: f64,
    result: StormResult,
}

/// Simulates a storm. The same seed gives the same result.
pub fn simulate_storm(storm: &Storm, seed: u64) -> StormResult {
    let mut agenda = Agenda::default();
    let clients = (0..storm.clients).map(|client| {
        // Each client has random numbers of its own, so that a change of the leader changes none of them.
        let mut random = Rng::with_seed(seed ^ (client as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        agenda.add(uniform(&mut random, storm.back), Event::Join(client));
        Client { random, room: 0, step: Step::Look, left: 0, ticket: 0, begun: 0.0 }
    });
    let mut run = Run {
        storm,
        clients: clients.collect(),
        agenda,
        leaders: [Queue::new(storm.queue), Queue::new(storm.queue)],
        openings: Line::new(storm.openings.map_or(Turns::NONE, |(turns, _)| turns)),
        counts: Line::new(storm.markers.unwrap_or(Turns::NONE)),
        bucket: storm.openings.map(|(_, rate)| Bucket::new(rate)),
        next_return: 0.0,
        result: StormResult::default(),
    };
    while let Some(event) = run.agenda.next_event() {
        if run.agenda.now() > END {
            break;
        }
        run.handle(event);
    }
    run.result.missing = run.clients.iter().filter(|client| client.room < storm.open.len()).count();
    run.result
}

impl Line {
    fn new(limits: Turns) -> Self {
        Self { limits, running: 0, waiting: VecDeque::new() }
    }
}

impl Run<'_> {
    fn handle(&mut self, event: Event) {
        let now = self.agenda.now();
        match event {
            Event::Join(client) => self.join(client),
            Event::Ask(client) => {
                self.clients[client].begun = now;
                self.ask(client);
            }
            Event::Served(leader) => {
                let (request, goes_on) = self.leaders[leader as usize].finish();
                if let Some((client, ticket)) = request {
                    self.agenda.add_in(REQUEST.value, Event::Answered(client, ticket));
                }
                if goes_on {
                    self.agenda.add_in(1.0 / self.storm.rate, Event::Served(leader));
                }
            }
            Event::Answered(client, ticket) if self.clients[client].ticket == ticket => {
                self.clients[client].left -= 1;
                if self.clients[client].left > 0 {
                    self.clients[client].begun = now;
                    return self.ask(client);
                }
                self.end_turn(client);
                self.go_on(client);
            }
            Event::TimedOut(client, ticket) if self.clients[client].ticket == ticket => {
                if self.clients[client].step == Step::Count {
                    // The join goes on without the number.
                    self.result.uncounted += 1;
                    self.end_turn(client);
                    return self.go_on(client);
                }
                if now + REQUEST_TIMEOUT.value < self.clients[client].begun + CALL_TIMEOUT.value {
                    return self.ask(client);
                }
                // The room stays as it is, and the client joins it again.
                self.end_turn(client);
                self.result.unavailable += 1;
                let rest = self.clients[client].begun + CALL_TIMEOUT.value - now;
                self.agenda.add_in(rest + REJOIN.value, Event::Join(client));
            }
            Event::NoTurn(client, ticket) if self.clients[client].ticket == ticket => self.refuse(client),
            Event::Answered(..) | Event::TimedOut(..) | Event::NoTurn(..) => {}
        }
    }

    /// Begins to join the room of a client.
    fn join(&mut self, client: usize) {
        let of = &mut self.clients[client];
        let Some(open) = self.storm.open.get(of.room) else {
            return self.result.back.add(self.agenda.now());
        };
        let is_open = of.random.f64() < *open;
        of.step = if is_open { Step::Look } else { Step::Open };
        of.left = if is_open { self.storm.requests.0 } else { self.storm.requests.1 };
        match (is_open, of.left) {
            (_, 0) => self.go_on(client),
            (true, _) => self.agenda.add_in(0.0, Event::Ask(client)),
            (false, _) => self.wait(client),
        }
    }

    /// Begins the step after the one that is done.
    fn go_on(&mut self, client: usize) {
        let of = &mut self.clients[client];
        of.ticket += 1;
        if of.step != Step::Count && self.storm.markers.is_some() {
            (of.step, of.left) = (Step::Count, 1);
            return self.wait(client);
        }
        of.room += 1;
        self.join(client);
    }

    fn line(&mut self, step: Step) -> &mut Line {
        if step == Step::Count { &mut self.counts } else { &mut self.openings }
    }

    /// Waits for a turn.
    fn wait(&mut self, client: usize) {
        let of = &mut self.clients[client];
        of.ticket += 1;
        let (step, ticket) = (of.step, of.ticket);
        let line = self.line(step);
        let limits = line.limits;
        if line.running < limits.at_once {
            line.running += 1;
            return self.begin(client);
        }
        if line.waiting.len() >= limits.waiting {
            return self.refuse(client);
        }
        line.waiting.push_back((client, ticket));
        self.agenda.add_in(limits.time, Event::NoTurn(client, ticket));
    }

    /// Begins the turn of a client.
    fn begin(&mut self, client: usize) {
        let of = &mut self.clients[client];
        of.ticket += 1;
        let now = self.agenda.now();
        let at = match &mut self.bucket {
            Some(bucket) if of.step == Step::Open => bucket.admit(now),
            _ => now,
        };
        self.agenda.add(at, Event::Ask(client));
    }

    /// Ends the turn of a client, if it has one. The next one that still waits has it then.
    fn end_turn(&mut self, client: usize) {
        let step = self.clients[client].step;
        self.clients[client].ticket += 1;
        if step == Step::Look {
            return;
        }
        self.line(step).running -= 1;
        while let Some((next, ticket)) = self.line(step).waiting.pop_front() {
            if self.clients[next].ticket == ticket {
                self.line(step).running += 1;
                return self.begin(next);
            }
        }
    }

    /// Ends a step for which there is no turn.
    fn refuse(&mut self, client: usize) {
        if self.clients[client].step == Step::Count {
            self.result.uncounted += 1;
            return self.go_on(client);
        }
        self.clients[client].ticket += 1;
        self.result.unavailable += 1;
        // Each client has a time of its own to return.
        let (now, rate) = (self.agenda.now(), self.storm.openings.map_or(f64::INFINITY, |(_, rate)| rate));
        let first = now + REJOIN.value;
        let at = if self.next_return > now + RETURN.value { first } else { self.next_return.max(first) };
        self.next_return = at + 1.0 / rate;
        self.agenda.add(at, Event::Join(client));
    }

    fn ask(&mut self, client: usize) {
        self.result.requests += 1;
        let of = &mut self.clients[client];
        of.ticket += 1;
        let leader = if of.step == Step::Count { Leader::OfMarkers } else { Leader::OfLog };
        if self.leaders[leader as usize].add((client, of.ticket)) {
            self.agenda.add_in(1.0 / self.storm.rate, Event::Served(leader));
        }
        self.agenda.add_in(REQUEST_TIMEOUT.value, Event::TimedOut(client, of.ticket));
    }
}
