//! The constants of all scenarios, in one place, each with its source.

use crate::table::{Table, number};

/// A constant, and its source.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The meaning.
    pub name: &'static str,
    /// The value, in this unit.
    pub value: f64,
    /// The unit. Empty for a number of things.
    pub unit: &'static str,
    /// The source.
    pub source: Source,
}

/// The source of a constant.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A measurement, with the command or the page that has it.
    Measured(&'static str),
    /// A constant of the product, with the file that has it.
    Product(&'static str),
    /// A measurement with a prototype of the store, which is not in this repository.
    Prototype,
    /// A limit that the documentation of NATS names.
    Nats,
    /// An assumption.
    Assumed,
}

use Source::{Assumed, Measured, Nats, Product, Prototype};

const fn figure(name: &'static str, value: f64, unit: &'static str, source: Source) -> Figure {
    Figure { name, value, unit, source }
}

/// Users who are connected.
pub const USERS: Figure = figure("users who are connected", 10e6, "", Assumed);
/// Nodes of the cluster.
pub const NODES: Figure = figure("nodes", 40.0, "", Assumed);
/// Cores of a node.
pub const CORES: Figure = figure("cores of a node", 8.0, "", Assumed);
/// Memory of a node.
pub const NODE_GIB: Figure = figure("memory of a node", 32.0, "GiB", Assumed);
/// Network of a node.
pub const NODE_GBIT: Figure = figure("network of a node", 10.0, "Gbit/s", Assumed);
/// Duration of a connection.
pub const SESSION: Figure = figure("duration of a connection", 1_800.0, "s", Assumed);
/// Size of a delivered message on the wire.
pub const FRAME: Figure = figure("bytes of a delivered message", 320.0, "B", Assumed);
/// Members of the hot room.
pub const HOT_MEMBERS: Figure = figure("members of the hot room", 1e6, "", Assumed);
/// Messages per second in the hot room.
pub const HOT_RATE: Figure = figure("messages in the hot room", 10.0, "/s", Assumed);

/// CPU time of a delivery that is a write of its own.
pub const DELIVERY: Figure =
    figure("CPU time of a delivery, one message in a write", 9.1, "us", Measured("docs/performance.md"));
/// CPU time of a delivery in a write of many messages.
pub const BATCHED: Figure =
    figure("CPU time of a delivery, many messages in a write", 0.47, "us", Measured("docs/performance.md"));
/// CPU time of a handshake and the joins of a connection.
pub const ARRIVAL: Figure = figure("CPU time of a TLS handshake and ten joins", 1_500.0, "us", Assumed);
/// CPU time to take a notice of another node.
pub const NOTICE: Figure = figure("CPU time to take a notice of another node", 5.0, "us", Assumed);
/// CPU time to hear of a record.
pub const HEARD: Figure = figure("CPU time to hear of a record", 8.0, "us", Assumed);
/// Memory of an idle connection.
pub const CONNECTION_KIB: Figure =
    figure("memory of a connection", 5.0, "KiB", Measured("docs/operations.md"));
/// Memory of a connection in the kernel.
pub const KERNEL_KIB: Figure = figure("memory of a connection in the kernel", 8.0, "KiB", Assumed);
/// Memory of an open room.
pub const ROOM_KIB: Figure = figure("memory of an open room; 1 KiB of it in the store", 2.5, "KiB", Assumed);
/// Memory of a key.
pub const KEY_BYTES: Figure =
    figure("memory of a key", 50.0, "B", Measured("crates/chat-jetstream/src/record/window.rs"));
/// Memory of a room whose keys a node keeps, without the keys.
pub const LOG_BYTES: Figure = figure(
    "memory of a room whose keys are kept",
    512.0,
    "B",
    Product("crates/chat-jetstream/src/room/quiet.rs"),
);
/// Memory for keys without the option.
pub const KEY_MEMORY: Figure = figure(
    "memory for the keys of a node, by default",
    0.25,
    "GiB",
    Product("crates/chat-jetstream/src/options.rs"),
);
/// Memory for keys.
pub const KEY_GIB: Figure = figure("`--cluster-key-memory` of a node", 8.0, "GiB", Assumed);

/// Records that one stream stores per second, in many rooms.
pub const RECORDS: Figure =
    figure("records that a stream stores, 64 rooms", 6_000.0, "/s", Measured("docs/cluster.md"));
/// Time to refuse a record.
pub const REFUSAL: Figure = figure("time to refuse a record that is stored", 10e-6, "s", Assumed);
/// Time of a commit.
pub const COMMIT: Figure = figure("time to store a record; 0.8 ms on loopback", 0.002, "s", Assumed);
/// Requests for the end of a room that the leader answers per second.
pub const HEADS: Figure = figure("requests that a leader answers", 29_000.0, "/s", Prototype);
/// Messages of the stream that one reader gets per second, in batches of 256.
pub const READS: Figure = figure("messages that a node reads in batches", 38_800.0, "/s", Prototype);
/// Messages of the stream that one server serves per second, in batches.
pub const SERVED: Figure = figure("messages that a server serves in batches", 86_900.0, "/s", Prototype);
/// Time of a request.
pub const REQUEST: Figure = figure("time of a request; 0.1 to 0.4 ms on loopback", 0.001, "s", Assumed);
/// Requests to the leader that may wait.
pub const QUEUE: Figure =
    figure("requests that may wait at a server; at one more, all are discarded", 10_000.0, "", Nats);

/// Time for one call of a store.
pub const CALL_TIMEOUT: Figure =
    figure("time for a call of the store", 5.0, "s", Product("crates/chat-proto/src/limits/rooms.rs"));
/// Time for a request of the store.
pub const REQUEST_TIMEOUT: Figure =
    figure("time for a request", 2.0, "s", Product("crates/chat-jetstream/src/link/mod.rs"));
/// Time for the acknowledgement of a record.
pub const APPEND_TIMEOUT: Figure =
    figure("time for an acknowledgement", 1.0, "s", Product("crates/chat-jetstream/src/link/mod.rs"));
/// Wait of a client before it joins a room again.
pub const REJOIN: Figure =
    figure("wait before a join is repeated", 1.0, "s", Product("crates/chat-client/src/state/inbound.rs"));
/// Longest time after which a client without a turn joins a room again.
pub const RETURN: Figure = figure(
    "longest time until a client without a turn returns",
    30.0,
    "s",
    Product("crates/chat-proto/src/limits/http.rs"),
);
/// Rooms that a node opens per second.
pub const OPENING_RATE: Figure = figure(
    "rooms that a node opens per second",
    2_000.0,
    "/s",
    Product("crates/chat-proto/src/limits/rooms.rs"),
);
/// Rooms that a node opens at once.
pub const OPENINGS: Figure =
    figure("rooms that a node opens at once", 128.0, "", Product("crates/chat-proto/src/limits/rooms.rs"));
/// Rooms of a node that wait to be opened.
pub const MAX_OPENINGS_WAITING: Figure = figure(
    "rooms of a node that wait to be opened",
    8_000.0,
    "",
    Product("crates/chat-proto/src/limits/rooms.rs"),
);
/// Time for which a room waits to be opened.
pub const OPENING_WAIT: Figure = figure(
    "time for which a room waits to be opened",
    8.0,
    "s",
    Product("crates/chat-proto/src/limits/rooms.rs"),
);
/// Counts of unread messages of a node at once.
pub const COUNTS: Figure = figure(
    "counts of unread messages of a node at once",
    4.0,
    "",
    Product("crates/chat-proto/src/limits/reads.rs"),
);
/// Counts of a node that wait.
pub const MAX_COUNTS_WAITING: Figure =
    figure("counts of a node that wait", 1_000.0, "", Product("crates/chat-proto/src/limits/reads.rs"));
/// Time for which a count waits.
pub const READ_WAIT: Figure =
    figure("time for which a count waits", 5.0, "s", Product("crates/chat-proto/src/limits/reads.rs"));
/// Time without an append after which a writer ends. Until then, its keys are in memory.
pub const WRITER_IDLE: Figure = figure(
    "time without a message after which a writer ends",
    60.0,
    "s",
    Product("crates/chat-jetstream/src/room/writer.rs"),
);
/// Time for which a key counts.
pub const KEY_WINDOW: Figure =
    figure("time for which a key counts", 86_400.0, "s", Product("crates/chat-proto/src/limits/rooms.rs"));
/// Interval of the signs of life on the bus.
pub const BEAT: Figure =
    figure("interval of signs of life", 1.0, "s", Product("crates/chat-jetstream/src/bus/task.rs"));
/// Silence after which a node has left.
pub const SILENCE: Figure =
    figure("silence after which a node has left", 4.0, "s", Product("crates/chat-jetstream/src/bus/peer.rs"));
/// Silence after which a node is not asked to append.
pub const HINT_SILENCE: Figure = figure(
    "silence after which a node is not asked",
    7.0,
    "s",
    Product("crates/chat-jetstream/src/node/peers.rs"),
);
/// Time from the loss of a user to `left`.
pub const GRACE: Figure =
    figure("time from a loss to `left`", 10.0, "s", Product("crates/chat-proto/src/limits/nodes.rs"));
/// Users of a room up to which each is announced.
pub const ANNOUNCED: Figure = figure(
    "users up to which each is announced",
    100.0,
    "",
    Product("crates/chat-proto/src/limits/rooms.rs"),
);
/// Messages that a node reads after a loss.
pub const MAX_REPAIR: Figure = figure(
    "messages that a node reads after a loss",
    4_096.0,
    "",
    Product("crates/chat-jetstream/src/node/tend.rs"),
);

/// All constants.
pub const ALL: &[Figure] = &[
    USERS,
    NODES,
    CORES,
    NODE_GIB,
    NODE_GBIT,
    SESSION,
    FRAME,
    HOT_MEMBERS,
    HOT_RATE,
    DELIVERY,
    BATCHED,
    ARRIVAL,
    NOTICE,
    HEARD,
    CONNECTION_KIB,
    KERNEL_KIB,
    ROOM_KIB,
    KEY_BYTES,
    LOG_BYTES,
    KEY_MEMORY,
    KEY_GIB,
    RECORDS,
    COMMIT,
    REFUSAL,
    HEADS,
    READS,
    SERVED,
    REQUEST,
    QUEUE,
    CALL_TIMEOUT,
    REQUEST_TIMEOUT,
    APPEND_TIMEOUT,
    REJOIN,
    RETURN,
    OPENING_RATE,
    OPENINGS,
    MAX_OPENINGS_WAITING,
    OPENING_WAIT,
    COUNTS,
    MAX_COUNTS_WAITING,
    READ_WAIT,
    WRITER_IDLE,
    KEY_WINDOW,
    BEAT,
    SILENCE,
    HINT_SILENCE,
    GRACE,
    ANNOUNCED,
    MAX_REPAIR,
];

/// A kind of room that each user has.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The name.
    pub name: &'static str,
    /// Members of a room.
    pub members: f64,
    /// Rooms of a user.
    pub per_user: f64,
    /// Messages per second of a room.
    pub rate: f64,
}

/// The rooms of a user, besides the hot room. They are assumptions.
pub const KINDS: [Kind; 3] = [
    Kind { name: "direct", members: 2.0, per_user: 6.0, rate: 1.0 / 600.0 },
    Kind { name: "team", members: 40.0, per_user: 3.0, rate: 1.0 / 60.0 },
    Kind { name: "community", members: 5_000.0, per_user: 1.0, rate: 1.0 / 5.0 },
];

impl Kind {
    /// Returns the number of rooms.
    pub fn rooms(&self) -> f64 {
        USERS.value * self.per_user / self.members
    }

    /// Returns the messages per second of all rooms.
    pub fn messages(&self) -> f64 {
        self.rooms() * self.rate
    }

    /// Returns the number of nodes on which a room has members, if they are on random nodes.
    pub fn nodes(&self, nodes: f64) -> f64 {
        nodes * (1.0 - (1.0 - 1.0 / nodes).powf(self.members))
    }

    /// Returns the probability that another member of the room is on a node.
    pub fn is_open(&self, nodes: f64) -> f64 {
        1.0 - (1.0 - 1.0 / nodes).powf(self.members - 1.0)
    }
}

/// Returns the messages per second of all rooms.
pub fn messages() -> f64 {
    KINDS.iter().map(Kind::messages).sum::<f64>() + HOT_RATE.value
}

/// Returns the tables of the constants.
pub fn tables(_seed: u64) -> Vec<Table> {
    let mut rooms =
        Table::new("figures-rooms", ["room", "members", "rooms of a user", "a message each", "rooms"]);
    for kind in KINDS {
        let name = kind.name.to_owned();
        let interval = format!("{} s", number(1.0 / kind.rate));
        rooms.row([name, number(kind.members), number(kind.per_user), interval, number(kind.rooms())]);
    }
    let mut all = Table::new("figures", ["constant", "value", "source"]);
    for Figure { name, value, unit, source } in ALL {
        let source = match source {
            Measured(command) => format!("measured: {command}"),
            Product(file) => format!("`{file}`"),
            Prototype => "measured with a prototype".to_owned(),
            Nats => "NATS".to_owned(),
            Assumed => "assumed".to_owned(),
        };
        let value = if unit.is_empty() { number(*value) } else { format!("{} {unit}", number(*value)) };
        all.row([(*name).to_owned(), value, source]);
    }
    vec![rooms, all]
}
