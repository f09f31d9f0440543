//! The storm of joins after the death of a node: its clients come back to the other nodes, and join their rooms.

use fastrand::Rng;

use crate::agenda::Agenda;
use crate::figures::{
    CALL_TIMEOUT, GRACE, HEADS, KINDS, NODES, QUEUE, REJOIN, REQUEST, REQUEST_TIMEOUT, SILENCE, USERS,
};
use crate::queue::{Bucket, Queue};
use crate::sample::{Sample, uniform};
use crate::table::{Table, count, number, percent, time};

/// The divisor of the clients and of each rate in the simulation. The times do not depend on it.
const PART: f64 = 20.0;

/// Seconds after which the clients that are not back are counted.
const END: f64 = 600.0;

/// A storm.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Clients that come back.
    pub clients: usize,
    /// The time in which they connect again.
    pub back: (f64, f64),
    /// Probability that a room is open on the node to which a client returns, for each of its rooms.
    pub open: Vec<f64>,
    /// Requests to the leader of the stream for a join of an open room, and of another room.
    pub requests: (u32, u32),
    /// Requests that the leader answers per second.
    pub rate: f64,
    /// Requests that may wait at the leader.
    pub queue: usize,
    /// Rooms that all nodes together open per second, if there is such a limit. Others wait, without a time limit.
    pub admitted: Option<f64>,
}

/// The result of a storm.
#[derive(Clone, Debug, Default)]
pub struct StormResult {
    /// The times at which clients were back in all rooms.
    pub back: Sample,
    /// Clients that were not back in the end.
    pub missing: usize,
    /// Requests to the leader.
    pub requests: u64,
    /// Joins that were answered with `unavailable`.
    pub unavailable: u64,
    /// The longest wait for the limit of openings.
    pub longest_wait: f64,
}

struct Client {
    random: Rng,
    /// The room that is joined.
    room: usize,
    /// Requests that the join still needs.
    left: u32,
    /// The request for which the client waits.
    ticket: u32,
    /// The time at which the join of the room has begun.
    begun: f64,
}

#[derive(Clone, Copy)]
enum Event {
    Join(usize),
    Ask(usize),
    Served,
    Answered(usize, u32),
    TimedOut(usize, u32),
}

/// A storm in progress.
struct Run<'a> {
    storm: &'a Storm,
    agenda: Agenda<Event>,
    clients: Vec<Client>,
    leader: Queue<(usize, u32)>,
    bucket: Option<Bucket>,
    result: StormResult,
}

/// Simulates a storm. The same seed gives the same result.
pub fn simulate_storm(storm: &Storm, seed: u64) -> StormResult {
    let mut agenda = Agenda::default();
    let clients = (0..storm.clients).map(|client| {
        // Each client has random numbers of its own, so that a change of the leader changes none of them.
        let mut random = Rng::with_seed(seed ^ (client as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        agenda.add(uniform(&mut random, storm.back), Event::Join(client));
        Client { random, room: 0, left: 0, ticket: 0, begun: 0.0 }
    });
    let clients = clients.collect();
    let leader = Queue::new(storm.queue);
    let bucket = storm.admitted.map(Bucket::new);
    let mut run = Run { storm, agenda, clients, leader, bucket, result: StormResult::default() };
    while let Some(event) = run.agenda.next_event() {
        if run.agenda.now() > END {
            break;
        }
        run.handle(event);
    }
    run.result.missing = run.clients.iter().filter(|client| client.room < storm.open.len()).count();
    run.result
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
            Event::Served => {
                let (request, goes_on) = self.leader.finish();
                if let Some((client, ticket)) = request {
                    self.agenda.add_in(REQUEST.value, Event::Answered(client, ticket));
                }
                if goes_on {
                    self.agenda.add_in(1.0 / self.storm.rate, Event::Served);
                }
            }
            Event::Answered(client, ticket) if self.clients[client].ticket == ticket => {
                self.clients[client].left -= 1;
                if self.clients[client].left > 0 {
                    self.clients[client].begun = now;
                    return self.ask(client);
                }
                self.clients[client].ticket += 1;
                self.clients[client].room += 1;
                self.join(client);
            }
            Event::TimedOut(client, ticket) if self.clients[client].ticket == ticket => {
                if now + REQUEST_TIMEOUT.value < self.clients[client].begun + CALL_TIMEOUT.value {
                    return self.ask(client);
                }
                // The room stays as it is, and the client joins it again.
                self.clients[client].ticket += 1;
                self.result.unavailable += 1;
                let rest = self.clients[client].begun + CALL_TIMEOUT.value - now;
                self.agenda.add_in(rest + REJOIN.value, Event::Join(client));
            }
            Event::Answered(..) | Event::TimedOut(..) => {}
        }
    }

    /// Joins rooms until one needs the leader.
    fn join(&mut self, client: usize) {
        let now = self.agenda.now();
        let of = &mut self.clients[client];
        while let Some(open) = self.storm.open.get(of.room) {
            let is_open = of.random.f64() < *open;
            of.left = if is_open { self.storm.requests.0 } else { self.storm.requests.1 };
            if of.left > 0 {
                let at = match &mut self.bucket {
                    Some(bucket) if !is_open => bucket.admit(now),
                    _ => now,
                };
                self.result.longest_wait = self.result.longest_wait.max(at - now);
                return self.agenda.add(at, Event::Ask(client));
            }
            of.room += 1;
        }
        self.result.back.add(now);
    }

    fn ask(&mut self, client: usize) {
        self.result.requests += 1;
        let of = &mut self.clients[client];
        of.ticket += 1;
        if self.leader.add((client, of.ticket)) {
            self.agenda.add_in(1.0 / self.storm.rate, Event::Served);
        }
        self.agenda.add_in(REQUEST_TIMEOUT.value, Event::TimedOut(client, of.ticket));
    }
}

/// Returns the storm after the death of one node, as the product is: the leader is asked for each join.
pub fn as_it_is() -> Storm {
    let left = NODES.value - 1.0;
    let open = KINDS.iter().flat_map(|kind| vec![kind.is_open(left); kind.per_user as usize]);
    Storm {
        clients: (USERS.value / NODES.value / PART) as usize,
        back: (0.0, 2.0),
        open: open.collect(),
        requests: (1, 2),
        rate: HEADS.value / PART,
        queue: (QUEUE.value / PART) as usize,
        admitted: None,
    }
}

/// Returns the length of a storm, and what it does to the leader, with and without the remedies.
pub fn tables(seed: u64) -> Vec<Table> {
    let base = as_it_is();
    let local = Storm { requests: (0, 1), ..base.clone() };
    // Nine tenths of what the leader answers, so that its queue stays short.
    let admitted = Storm { admitted: Some(base.rate * 0.9), ..local.clone() };
    let warm = |storm: &Storm, share: f64| {
        let open = storm.open.iter().map(|open| open.max(share)).collect();
        Storm { open, ..storm.clone() }
    };
    let variants = [
        ("1. the leader is asked for each join", base.clone()),
        ("2. = 1, and no request is discarded", Storm { queue: usize::MAX, ..base.clone() }),
        ("3. open rooms answer themselves", local.clone()),
        ("4. = 3, and openings are admitted at 90 % of the leader's rate", admitted.clone()),
        ("5. = 3, and clients return within 30 s", Storm { back: (0.0, 30.0), ..local.clone() }),
        ("6. = 3, and clients return within 120 s", Storm { back: (0.0, 120.0), ..local.clone() }),
        ("7. = 4, and clients return within 30 s", Storm { back: (0.0, 30.0), ..admitted.clone() }),
        (
            "8. = 4, with ten streams, which is not built",
            Storm {
                rate: base.rate * 10.0,
                admitted: Some(base.rate * 9.0),
                queue: base.queue * 10,
                ..local.clone()
            },
        ),
        ("9. = 4, and 95 % of the rooms are open everywhere", warm(&admitted, 0.95)),
    ];
    let header =
        ["storm", "requests", "half back", "99 % back", "all back", "`unavailable`", "seen to leave"];
    let mut table = Table::new("storm", header);
    for (name, storm) in variants {
        let result = simulate_storm(&storm, seed);
        let [half, most, last] = result.back.shares([0.5, 0.99, 1.0]);
        let all = result.back.count() + result.missing;
        let reached = |share: f64, at: f64| {
            if result.back.count() as f64 >= share * all as f64 {
                time(at)
            } else {
                format!("> {}", time(END))
            }
        };
        // The other nodes notice the death after a silence, and wait.
        let late = result.back.above(SILENCE.value + GRACE.value) * result.back.count() as f64;
        table.row([
            name.to_owned(),
            number(result.requests as f64 * PART),
            reached(0.5, half),
            reached(0.99, most),
            reached(1.0, last),
            count(result.unavailable * PART as u64),
            percent((late + result.missing as f64) / all as f64),
        ]);
    }
    vec![table]
}
