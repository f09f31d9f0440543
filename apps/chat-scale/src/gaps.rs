//! A node that misses events of the stream, and reads them.

use fastrand::Rng;

use crate::agenda::Agenda;
use crate::figures::{MAX_REPAIR, READS, REQUEST};
use crate::sample::{Sample, exponential};
use crate::table::{Table, count, number, percent, time};
use crate::traffic;

/// The times of `node/tend.rs` and `node/tasks.rs` of chat-jetstream: the wait for events that are on their way, the
/// pause between two repairs, and the interval of the questions without a loss.
const ON_THE_WAY: f64 = 0.05;
const PAUSE: f64 = 0.02;
const TICK: f64 = 2.0;

/// The rooms that ask the leader at the same time, if too many events are missed.
const ASKING: f64 = 32.0;

/// The messages of one batch.
const BATCH: f64 = 256.0;

/// Events of the stream, as one node hears of them.
#[derive(Clone, Copy, Debug)]
pub struct Gaps {
    /// Records per second.
    pub rate: f64,
    /// The probability that an event is lost.
    pub loss: f64,
    /// Rooms that are open on the node.
    pub rooms: f64,
    /// True if the node remembers of which later events it has heard, and reads only the others. The product does not.
    pub remembers: bool,
}

/// The result of some seconds.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// Events of the stream.
    pub events: u64,
    /// Events that were lost.
    pub lost: u64,
    /// The times until lost events were read.
    pub delays: Sample,
    /// Lost events that were not read in the end.
    pub waiting: usize,
    /// Repairs.
    pub rounds: u64,
    /// Messages that were read from the stream.
    pub read: u64,
    /// Repairs in which each open room asked the leader.
    pub floods: u64,
}

#[derive(Clone, Copy)]
enum Event {
    Record,
    /// The node asks for the end of the stream.
    Ask(u32),
    /// It begins to read the events up to this number.
    Begin(u64),
    /// It has read the events up to the first number, and reads up to the second one.
    Read(u64, u64),
    /// A pause has ended.
    Next,
}

struct Run<'a> {
    gaps: &'a Gaps,
    agenda: Agenda<Event>,
    random: Rng,
    end: f64,
    last: u64,
    /// The number up to which the node has heard of all events.
    heard: u64,
    /// The events that were lost, and are not read yet, with their times.
    missed: Vec<(u64, f64)>,
    /// The number of the next question, which comes after a while or early. `None` during a repair.
    question: Option<u32>,
    questions: u32,
    is_nudged: bool,
    result: Repaired,
}

/// Simulates the events of some seconds. The same seed gives the same result.
pub fn repair(gaps: &Gaps, seconds: f64, seed: u64) -> Repaired {
    let mut agenda = Agenda::default();
    agenda.add(0.0, Event::Record);
    agenda.add(TICK, Event::Ask(0));
    let (last, heard, missed, questions, is_nudged, result) = Default::default();
    let (random, question) = (Rng::with_seed(seed), Some(0));
    let mut run = Run {
        gaps,
        agenda,
        random,
        end: seconds,
        last,
        heard,
        missed,
        question,
        questions,
        is_nudged,
        result,
    };
    while let Some(event) = run.agenda.next_event() {
        run.handle(event);
    }
    run.result.waiting = run.missed.len();
    run.result
}

impl Run<'_> {
    fn handle(&mut self, event: Event) {
        match event {
            Event::Record => self.record(),
            Event::Ask(question) if self.question == Some(question) => {
                self.question = None;
                if self.heard == self.last {
                    return self.agenda.add_in(REQUEST.value + PAUSE, Event::Next);
                }
                self.agenda.add_in(REQUEST.value + ON_THE_WAY, Event::Begin(self.last));
            }
            Event::Ask(_) => {}
            Event::Begin(target) => {
                self.result.rounds += 1;
                let missing = match self.gaps.remembers {
                    true => self.missed.len() as f64,
                    false => (target - self.heard) as f64,
                };
                if missing <= MAX_REPAIR.value {
                    return self.read(target);
                }
                // Each open room asks for its end.
                self.result.floods += 1;
                self.agenda.add_in(self.gaps.rooms / ASKING * REQUEST.value, Event::Read(target, target));
            }
            Event::Read(read, target) => {
                let now = self.agenda.now();
                self.heard = self.heard.max(read);
                let is_read = |number: u64| number <= self.heard;
                let found = self.missed.iter().filter(|(number, _)| is_read(*number));
                found.for_each(|(_, at)| self.result.delays.add(now - at));
                self.missed.retain(|(number, _)| *number > self.heard);
                if self.gaps.remembers && self.missed.is_empty() {
                    self.heard = self.last;
                }
                if self.heard < target {
                    return self.read(target);
                }
                self.agenda.add_in(PAUSE, Event::Next);
            }
            Event::Next => {
                let delay = if std::mem::take(&mut self.is_nudged) { 0.0 } else { TICK };
                if delay == 0.0 || self.agenda.now() < self.end + 2.0 * TICK {
                    self.ask_in(delay);
                }
            }
        }
    }

    fn record(&mut self) {
        let now = self.agenda.now();
        if now < self.end {
            let next = exponential(&mut self.random, 1.0 / self.gaps.rate);
            self.agenda.add_in(next, Event::Record);
        }
        self.last += 1;
        self.result.events += 1;
        if self.random.f64() < self.gaps.loss {
            self.result.lost += 1;
            self.missed.push((self.last, now));
        } else if self.heard + 1 == self.last {
            self.heard = self.last;
        } else if self.question.is_some() {
            // The next event shows that one is missing.
            self.ask_in(0.0);
        } else {
            self.is_nudged = true;
        }
    }

    fn ask_in(&mut self, delay: f64) {
        self.questions += 1;
        self.question = Some(self.questions);
        self.agenda.add_in(delay, Event::Ask(self.questions));
    }

    /// Reads a batch. Events that come before its answer are not in it.
    fn read(&mut self, target: u64) {
        let to = self.last.min(self.heard + BATCH as u64);
        let wanted = match self.gaps.remembers {
            true => self.missed.iter().filter(|(number, _)| *number <= to).count() as u64,
            false => to - self.heard,
        };
        self.result.read += wanted;
        self.agenda.add_in(REQUEST.value + wanted as f64 / READS.value, Event::Read(to, target));
    }
}

/// Returns the cost of repairs, and the delay of the events that were lost.
pub fn tables(seed: u64) -> Vec<Table> {
    let header = [
        "records per second",
        "lost",
        "the node reads",
        "repairs per second",
        "read, of all events",
        "median",
        "99 %",
        "every room asks",
    ];
    let mut table = Table::new("gaps", header);
    let rooms = traffic::load().open_rooms;
    let seconds = 60.0;
    for remembers in [false, true] {
        for (rate, loss) in [
            (10.0, 0.01),
            (100.0, 0.01),
            (1_000.0, 0.000_1),
            (1_000.0, 0.01),
            (6_000.0, 0.000_1),
            (6_000.0, 0.01),
            (63_000.0, 0.000_1),
        ] {
            let result = repair(&Gaps { rate, loss, rooms, remembers }, seconds, seed);
            let [median, most] = result.delays.shares([0.5, 0.99]);
            table.row([
                number(rate),
                percent(loss),
                (if remembers { "what it missed" } else { "all since the loss" }).to_owned(),
                number(result.rounds as f64 / seconds),
                percent(result.read as f64 / result.events as f64),
                time(median),
                time(most),
                count(result.floods),
            ]);
        }
    }
    vec![table]
}
