//! The keys of the rooms that a node appends to: their memory, and the messages that are read to know them.
//!
//! A node drops the keys of the rooms that were quiet longest. So a room keeps them if the next message comes within a
//! time, which is the same for all rooms, and follows from the memory.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::figures::{
    KEY_BYTES, KEY_GIB, KEY_MEMORY, KEY_WINDOW, KINDS, Kind, LOG_BYTES, NODES, READS, WRITER_IDLE,
};
use crate::sample::exponential;
use crate::table::{Table, number, time};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// A room, and the rules for its keys.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRoom {
    /// Messages per second.
    pub rate: f64,
    /// The time for which a key counts.
    pub window: f64,
    /// The time without a message after which the node drops the keys.
    pub idle: f64,
}

/// The cost of the keys of a room.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyCost {
    /// Keys in memory, on average over time.
    pub kept: f64,
    /// Messages that are read for each message that is stored.
    pub read: f64,
    /// The share of the messages before which keys are read.
    pub loads: f64,
}

/// Simulates some messages of a room. The same seed gives the same result.
pub fn cost(room: &KeyedRoom, messages: usize, seed: u64) -> KeyCost {
    let mut random = Rng::with_seed(seed);
    let mut window = VecDeque::new();
    let (mut now, mut kept, mut read, mut loads) = (0.0, 0.0, 0, 0);
    let (mut begin, mut counted) = (0.0, 0);
    while counted < messages {
        let gap = exponential(&mut random, 1.0 / room.rate);
        // The first window is not counted: the room has no history yet.
        let is_counted = now > room.window;
        if is_counted {
            counted += 1;
            // The node has the keys until it drops them.
            kept += window.len() as f64 * gap.min(room.idle);
        } else {
            begin = now + gap;
        }
        now += gap;
        while window.front().is_some_and(|at| *at < now - room.window) {
            window.pop_front();
        }
        if is_counted && gap > room.idle {
            loads += 1;
            read += window.len();
        }
        window.push_back(now);
    }
    let count = counted.max(1) as f64;
    KeyCost { kept: kept / (now - begin), read: read as f64 / count, loads: f64::from(loads) / count }
}

/// Returns the bytes of the keys of a node that keeps those of quiet rooms for a time, with this share of the users.
pub fn memory(window: f64, idle: f64, share: f64) -> f64 {
    let of = |kind: &Kind| {
        let keys = kind.rate * window * KEY_BYTES.value + LOG_BYTES.value;
        kind.rooms() * (1.0 - (-kind.rate * idle).exp()) * keys
    };
    KINDS.iter().map(of).sum::<f64>() * share / NODES.value
}

/// Returns the time for which a node keeps the keys of quiet rooms in this many bytes, if there are `share` of the
/// users. Those of rooms with a writer are always in memory.
pub fn kept_for(bytes: f64, window: f64, share: f64) -> f64 {
    let (mut low, mut high) = (WRITER_IDLE.value, window);
    if memory(window, high, share) <= bytes {
        return high;
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if memory(window, middle, share) <= bytes { low = middle } else { high = middle }
    }
    low
}

/// Returns the messages that all nodes read per second, because they have dropped the keys of rooms, if there are
/// `share` of the users.
pub fn reads(bytes: f64, share: f64) -> f64 {
    let (window, idle) = (KEY_WINDOW.value, kept_for(bytes, KEY_WINDOW.value, share));
    if idle >= window {
        return 0.0;
    }
    let of = |kind: &Kind| kind.messages() * (-kind.rate * idle).exp() * kind.rate * window;
    KINDS.iter().map(of).sum::<f64>() * share
}

/// Returns the users up to which all nodes read at most this many messages per second, as a share of all users.
pub fn share_with(bytes: f64, most: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1_000.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if reads(bytes, middle) <= most { low = middle } else { high = middle }
    }
    low
}

/// Returns the reads for some windows and amounts of memory.
pub fn tables(seed: u64) -> Vec<Table> {
    let header = [
        "key window",
        "memory for keys",
        "keys on a node",
        "are kept for",
        "read per second",
        "readers that are busy",
    ];
    let mut table = Table::new("keys", header);
    let (day, hour) = (KEY_WINDOW.value, 3_600.0);
    for (window, gib) in [
        (day, KEY_MEMORY.value),
        (day, 1.0),
        (day, 2.0),
        (day, 4.0),
        (day, KEY_GIB.value),
        (hour, KEY_MEMORY.value),
        (hour, 1.0),
    ] {
        let idle = kept_for(gib * GIB, window, 1.0);
        let (mut kept, mut read) = (0.0, 0.0);
        for kind in KINDS {
            let of = cost(&KeyedRoom { rate: kind.rate, window, idle }, 20_000, seed);
            kept += of.kept * kind.rooms();
            read += of.read * kind.messages();
        }
        table.row([
            time(window),
            format!("{} GiB", number(gib)),
            number(kept / NODES.value),
            time(idle),
            number(read),
            number(read / READS.value),
        ]);
    }
    let mut takeover = Table::new("keys-takeover", ["room", "messages of 24 h", "time to read their keys"]);
    let hot = ("a room with 10 messages per second", 10.0);
    let rooms = KINDS.iter().map(|kind| (kind.name, kind.rate)).chain([hot]);
    for (name, rate) in rooms {
        let messages = rate * KEY_WINDOW.value;
        takeover.row([name.to_owned(), number(messages), time(messages / READS.value)]);
    }
    vec![table, takeover]
}
