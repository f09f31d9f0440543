//! The keys of the rooms that a node appends to: their memory, and the messages that are read to know them.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::figures::{KEY_BYTES, KEY_WINDOW, KINDS, NODES, READS, WRITER_IDLE};
use crate::sample::exponential;
use crate::table::{Table, number, time};

/// A room, and the rules for its keys.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRoom {
    /// Messages per second.
    pub rate: f64,
    /// The time for which a key counts.
    pub window: f64,
    /// The time without a message after which the writer forgets the keys.
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
            // The writer has the keys until it ends.
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

/// Returns the memory and the reads for some windows and times.
pub fn tables(seed: u64) -> Vec<Table> {
    let header = [
        "key window",
        "writer ends after",
        "keys on a node",
        "memory of a node",
        "read per second",
        "readers that are busy",
    ];
    let mut table = Table::new("keys", header);
    let hour = 3_600.0;
    for (window, idle) in [
        (KEY_WINDOW.value, WRITER_IDLE.value),
        (KEY_WINDOW.value, 600.0),
        (KEY_WINDOW.value, hour),
        (KEY_WINDOW.value, KEY_WINDOW.value),
        (hour, WRITER_IDLE.value),
        (hour, 600.0),
        (hour, hour),
        (600.0, WRITER_IDLE.value),
        (600.0, 600.0),
    ] {
        let (mut kept, mut read) = (0.0, 0.0);
        for kind in KINDS {
            let of = cost(&KeyedRoom { rate: kind.rate, window, idle }, 20_000, seed);
            kept += of.kept * kind.rooms();
            read += of.read * kind.messages();
        }
        let keys = kept / NODES.value;
        let gib = keys * KEY_BYTES.value / 1024.0 / 1024.0 / 1024.0;
        table.row([
            time(window),
            time(idle),
            number(keys),
            format!("{} GiB", number(gib)),
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
