//! The storm of joins after the death of a node: its clients come back to the other nodes, and join their rooms.

mod run;

use crate::figures::{
    COUNTS, GRACE, HEADS, KINDS, MAX_COUNTS_WAITING, MAX_OPENINGS_WAITING, NODES, OPENING_RATE, OPENING_WAIT,
    OPENINGS, QUEUE, READ_WAIT, SILENCE, USERS,
};
use crate::sample::Sample;
use crate::table::{Table, count, number, percent, time};

pub use run::simulate_storm;

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
    /// Requests that a leader answers per second.
    pub rate: f64,
    /// Requests that may wait at a leader.
    pub queue: usize,
    /// The limits of all nodes for rooms that are opened, and the rate of it. A join beyond them is `unavailable`.
    pub openings: Option<(Turns, f64)>,
    /// The limits of all nodes for the markers of users, which another leader has. A join beyond them has no number of
    /// unread messages. `None`: nobody asks for markers.
    pub markers: Option<Turns>,
}

/// The limits of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// Those who have a turn at once.
    pub at_once: usize,
    /// Those who wait.
    pub waiting: usize,
    /// The time for which they wait.
    pub time: f64,
}

impl Turns {
    /// No limits.
    pub const NONE: Self = Self { at_once: usize::MAX, waiting: usize::MAX, time: f64::INFINITY };
}

/// The result of a storm.
#[derive(Clone, Debug, Default)]
pub struct StormResult {
    /// The times at which clients were back in all rooms.
    pub back: Sample,
    /// Clients that were not back in the end.
    pub missing: usize,
    /// Requests to the leaders.
    pub requests: u64,
    /// Joins that were answered with `unavailable`.
    pub unavailable: u64,
    /// Joins without the number of unread messages.
    pub uncounted: u64,
}

/// Returns the storm after the death of one node, as the product is.
pub fn as_it_is() -> Storm {
    let left = NODES.value - 1.0;
    let open = KINDS.iter().flat_map(|kind| vec![kind.is_open(left); kind.per_user as usize]);
    let of_all = |value: f64| (value * left / PART) as usize;
    let turns = |at_once: f64, waiting: f64, time: f64| Turns {
        at_once: of_all(at_once),
        waiting: of_all(waiting),
        time,
    };
    let openings = turns(OPENINGS.value, MAX_OPENINGS_WAITING.value, OPENING_WAIT.value);
    Storm {
        clients: (USERS.value / NODES.value / PART) as usize,
        back: (0.0, 2.0),
        open: open.collect(),
        requests: (0, 1),
        rate: HEADS.value / PART,
        queue: (QUEUE.value / PART) as usize,
        openings: Some((openings, OPENING_RATE.value * left / PART)),
        markers: Some(turns(COUNTS.value, MAX_COUNTS_WAITING.value, READ_WAIT.value)),
    }
}

/// Returns the length of a storm, and what it does to the leaders, as the product is, without its limits, and with
/// further remedies.
pub fn tables(seed: u64) -> Vec<Table> {
    let product = as_it_is();
    let unlimited = Storm { openings: None, markers: Some(Turns::NONE), ..product.clone() };
    let asking = Storm { requests: (1, 2), ..unlimited.clone() };
    let warm = product.open.iter().map(|open| open.max(0.95)).collect();
    let variants = [
        ("1. each join asks the leader for the end of the log, without limits", asking.clone()),
        ("2. = 1, and no request is discarded", Storm { queue: usize::MAX, ..asking }),
        ("3. open rooms know their end", unlimited),
        ("4. = 3, and openings and markers have limits: the product", product.clone()),
        ("5. = 4, and clients return within 30 s", Storm { back: (0.0, 30.0), ..product.clone() }),
        ("6. = 4, and clients return within 120 s", Storm { back: (0.0, 120.0), ..product.clone() }),
        ("7. = 4, without markers", Storm { markers: None, ..product.clone() }),
        (
            "8. = 4, with ten leaders of the rooms, and of the markers",
            Storm { rate: product.rate * 10.0, queue: product.queue * 10, ..product.clone() },
        ),
        ("9. = 4, and 95 % of the rooms are open everywhere", Storm { open: warm, ..product }),
    ];
    let header = [
        "storm",
        "requests",
        "half back",
        "99 % back",
        "all back",
        "`unavailable`",
        "without a number",
        "seen to leave",
    ];
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
        let joins = (all * storm.open.len()) as f64;
        table.row([
            name.to_owned(),
            number(result.requests as f64 * PART),
            reached(0.5, half),
            reached(0.99, most),
            reached(1.0, last),
            count(result.unavailable * PART as u64),
            percent(result.uncounted as f64 / joins),
            percent((late + result.missing as f64) / all as f64),
        ]);
    }
    vec![table]
}
