//! A room of a million members: each node writes each message to its part of them.

use fastrand::Rng;

use crate::figures::{BATCHED, CORES, DELIVERY, FRAME, HOT_MEMBERS, NODES};
use crate::sample::{Sample, exponential};
use crate::table::{Table, number, percent, time};

/// A delay from which on the members fall behind more and more.
const GROWING: f64 = 60.0;

/// The room on one node.
#[derive(Clone, Copy, Debug)]
pub struct HotRoom {
    /// Members on the node.
    pub members: f64,
    /// Messages per second.
    pub rate: f64,
    /// The least time between the beginnings of two flushes.
    pub pause: f64,
    /// Cores that write.
    pub cores: f64,
}

/// The result for the members on one node.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Messages that were written.
    pub messages: u64,
    /// Flushes in which they were written.
    pub flushes: u64,
    /// The time from a message to the end of its flush.
    pub delays: Sample,
    /// Cores that were busy, on average.
    pub cores: f64,
}

/// Writes the messages of some minutes. A flush takes all messages that wait when it begins.
pub fn write(room: &HotRoom, seconds: f64, seed: u64) -> Written {
    let mut random = Rng::with_seed(seed);
    let mut written = Written::default();
    let (mut next, mut free, mut busy) = (exponential(&mut random, 1.0 / room.rate), 0.0_f64, 0.0);
    while next < seconds {
        let begin = free.max(next);
        let mut batch = Vec::new();
        while next <= begin {
            batch.push(next);
            next += exponential(&mut random, 1.0 / room.rate);
        }
        // The first message of a write costs a system call for each member, a further one only its bytes.
        let member = DELIVERY.value + (batch.len() - 1) as f64 * BATCHED.value;
        let work = room.members * member / 1e6;
        let end = begin + work / room.cores;
        busy += work;
        batch.iter().for_each(|at| written.delays.add(end - at));
        written.messages += batch.len() as u64;
        written.flushes += 1;
        free = end.max(begin + room.pause);
    }
    written.cores = busy / seconds.max(free);
    written
}

/// Returns the delays and the CPU time for some rates and pauses.
pub fn tables(seed: u64) -> Vec<Table> {
    let members = HOT_MEMBERS.value / NODES.value;
    let header = [
        "messages per second",
        "pause",
        "in a flush",
        "cores",
        "share of a node",
        "median",
        "99 %",
        "Gbit/s",
    ];
    let mut table = Table::new("hot-room", header);
    for (rate, pause) in
        [(1.0, 0.0), (10.0, 0.0), (10.0, 0.1), (10.0, 1.0), (100.0, 0.0), (100.0, 1.0), (1_000.0, 0.0)]
    {
        let room = HotRoom { members, rate, pause, cores: CORES.value };
        let written = write(&room, 600.0, seed);
        let [median, most] = written.delays.shares([0.5, 0.99]);
        let delay = |seconds: f64| if most < GROWING { time(seconds) } else { "grows".to_owned() };
        table.row([
            number(rate),
            if pause > 0.0 { time(pause) } else { "none".to_owned() },
            number(written.messages as f64 / written.flushes as f64),
            number(written.cores),
            percent(written.cores / CORES.value),
            delay(median),
            delay(most),
            number(rate * members * FRAME.value * 8.0 / 1e9),
        ]);
    }
    vec![table]
}
