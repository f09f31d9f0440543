//! The traffic of 10 million users, and the limits of a node and of the stream.

use crate::figures::{
    ANNOUNCED, ARRIVAL, CONNECTION_KIB, CORES, DELIVERY, FRAME, HEADS, HEARD, HOT_MEMBERS, HOT_RATE,
    KERNEL_KIB, KEY_GIB, KEY_MEMORY, KEY_WINDOW, KINDS, Kind, NODE_GBIT, NODE_GIB, NODES, NOTICE, RECORDS,
    ROOM_KIB, SERVED, SESSION, USERS, messages,
};
use crate::keys;
use crate::table::{Table, number, percent};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Copies of the stream, each of which answers reads.
const COPIES: f64 = 3.0;

/// The load of one node, and of the cluster, per second.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Deliveries to members on all nodes.
    pub deliveries: f64,
    /// Connections that begin on all nodes.
    pub arrivals: f64,
    /// Rooms that are opened on all nodes.
    pub opens: f64,
    /// Rooms that are open on one node.
    pub open_rooms: f64,
    /// Notices that one node takes: changes of presence, and requests and answers about users.
    pub notices: f64,
}

/// Returns the load of the assumed users.
pub fn load() -> Load {
    let nodes = NODES.value;
    let arrivals = USERS.value / SESSION.value;
    let sum = |of: &dyn Fn(&Kind) -> f64| KINDS.iter().map(of).sum::<f64>();
    let hot = HOT_MEMBERS.value / USERS.value;
    let rooms_of_user = sum(&|kind| kind.per_user) + hot;
    let opens = arrivals * sum(&|kind| kind.per_user * (1.0 - kind.is_open(nodes)));
    // A change of presence goes to all nodes. A room that opens asks all nodes, and each answers.
    let presence = arrivals * rooms_of_user * 2.0 * (nodes - 1.0) / nodes;
    let rosters = opens * (nodes - 1.0) / nodes * 2.0;
    Load {
        deliveries: sum(&|kind| kind.messages() * kind.members) + HOT_RATE.value * HOT_MEMBERS.value,
        arrivals,
        opens,
        open_rooms: sum(&|kind| kind.rooms() * kind.nodes(nodes) / nodes),
        notices: presence + rosters,
    }
}

/// Returns the traffic, the CPU time and the memory of a node, and the users at which each limit is reached.
pub fn tables(_seed: u64) -> Vec<Table> {
    let (nodes, load) = (NODES.value, load());
    let per_node = |all: f64| number(all / nodes);
    let mut traffic = Table::new("traffic", ["per second", "all", "a node"]);
    let messages = messages();
    for (name, all) in [
        ("messages that are sent", messages),
        ("deliveries", load.deliveries),
        ("connections that begin and end", load.arrivals),
        ("rooms that are opened", load.opens),
    ] {
        traffic.row([name.to_owned(), number(all), per_node(all)]);
    }
    let gbit = load.deliveries * FRAME.value * 8.0 / 1e9;
    traffic.row(["Gbit to clients".to_owned(), number(gbit), per_node(gbit)]);
    let everywhere = |node: f64| [number(node * nodes), number(node)];
    for (name, node) in [("records that nodes hear of", messages), ("notices of other nodes", load.notices)] {
        let [all, node] = everywhere(node);
        traffic.row([name.to_owned(), all, node]);
    }

    let mut node = Table::new("traffic-node", ["of a node", "use", "share of the node"]);
    let cores = [
        ("CPU: deliveries, each a write", load.deliveries / nodes * DELIVERY.value),
        ("CPU: records of all rooms", messages * HEARD.value),
        ("CPU: notices of other nodes", load.notices * NOTICE.value),
        ("CPU: handshakes and joins", load.arrivals / nodes * ARRIVAL.value),
    ];
    for (name, micros) in cores {
        let used = micros / 1e6;
        node.row([name.to_owned(), format!("{} cores", number(used)), percent(used / CORES.value)]);
    }
    let kib = 1024.0;
    let connections = USERS.value / nodes * (CONNECTION_KIB.value + KERNEL_KIB.value) * kib / GIB;
    let rooms = load.open_rooms * ROOM_KIB.value * kib / GIB;
    let keys = keys::memory(KEY_WINDOW.value, KEY_WINDOW.value, 1.0).min(KEY_GIB.value * GIB) / GIB;
    let used = [("memory: connections", connections), ("memory: open rooms", rooms), ("memory: keys", keys)];
    for (name, gib) in used {
        node.row([name.to_owned(), format!("{} GiB", number(gib)), percent(gib / NODE_GIB.value)]);
    }
    let used = gbit / nodes;
    node.row(["network".to_owned(), format!("{} Gbit/s", number(used)), percent(used / NODE_GBIT.value)]);
    vec![traffic, node, limits(&load), presence()]
}

/// Returns the users at which each limit of the cluster is reached, the first one first.
fn limits(load: &Load) -> Table {
    let nodes = NODES.value;
    let users = USERS.value;
    let share = |used: f64, limit: f64| users * limit / used;
    // The CPU time of a node has a part that grows with its own users, and one that grows with all users.
    let own = (load.deliveries * DELIVERY.value + load.arrivals * ARRIVAL.value) / nodes / 1e6;
    let all = (messages() * HEARD.value + load.notices * NOTICE.value) / 1e6;
    let joins = load.arrivals * (KINDS.iter().map(|kind| kind.per_user).sum::<f64>() + 0.1);
    // The users up to which the copies of the stream serve the messages that are read for keys.
    let keyed = |gib: f64| users * keys::share_with(gib * GIB, SERVED.value * COPIES);
    let mut limits = vec![
        (
            "copies of the stream: keys for which 0.25 GiB on each node is too little",
            keyed(KEY_MEMORY.value),
            "`--cluster-key-memory`",
        ),
        (
            "copies of the stream: keys for which 8 GiB on each node is too little",
            keyed(KEY_GIB.value),
            "more nodes",
        ),
        (
            "leader of the markers: each join asks it once",
            share(joins, HEADS.value),
            "markers that nodes remember",
        ),
        ("leader of the stream: each room that is opened", share(load.opens, HEADS.value), "several streams"),
        ("one stream of NATS: records in many rooms", share(messages(), RECORDS.value), "several streams"),
        ("CPU of 40 nodes, 70 % of it", share(own + all, CORES.value * 0.7), "more nodes; batches"),
        (
            "CPU of a node for records and notices of all nodes, 70 % of it",
            share(all, CORES.value * 0.7),
            "interest by room",
        ),
        (
            "memory of 40 nodes, 70 % of it",
            share(
                users / nodes * (CONNECTION_KIB.value + KERNEL_KIB.value) * 1024.0
                    + load.open_rooms * ROOM_KIB.value * 1024.0
                    + keys::memory(KEY_WINDOW.value, KEY_WINDOW.value, 1.0),
                NODE_GIB.value * 0.7 * GIB,
            ),
            "more nodes; smaller open rooms",
        ),
        (
            "network of 40 nodes, 70 % of it",
            share(load.deliveries * FRAME.value * 8.0 / nodes, NODE_GBIT.value * 0.7 * 1e9),
            "more nodes; compression",
        ),
        ("`--max-connections` of 40 nodes", nodes * 100_000.0, "the option"),
    ];
    limits.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut table = Table::new("traffic-limits", ["limit", "users", "remedy"]);
    for (name, users, remedy) in limits {
        table.row([name.to_owned(), number(users), remedy.to_owned()]);
    }
    table
}

/// Returns the deliveries that presence costs.
fn presence() -> Table {
    let arrivals = USERS.value / SESSION.value;
    let deliveries = load().deliveries;
    let mut table =
        Table::new("traffic-presence", ["presence events", "deliveries per second", "share of the messages"]);
    let announced = |limit: f64| {
        let small = KINDS.iter().filter(|kind| kind.members <= limit);
        small.map(|kind| arrivals * kind.per_user * 2.0 * kind.members).sum::<f64>()
    };
    let hot = arrivals * HOT_MEMBERS.value / USERS.value * 2.0 * HOT_MEMBERS.value;
    // A larger room has one event per interval for each member, if users come and go that often.
    let counted = |interval: f64| {
        let large = KINDS.iter().filter(|kind| kind.members > ANNOUNCED.value);
        let changes = |members: f64| (members / SESSION.value * 2.0).min(1.0 / interval);
        large.map(|kind| kind.rooms() * kind.members * changes(kind.members)).sum::<f64>()
            + HOT_MEMBERS.value * changes(HOT_MEMBERS.value)
    };
    for (name, rate) in [
        ("each user to all members of all rooms".to_owned(), announced(f64::INFINITY) + hot),
        ("the same without the hot room".to_owned(), announced(f64::INFINITY)),
        ("rooms up to 200".to_owned(), announced(200.0)),
        (format!("rooms up to {} (default)", number(ANNOUNCED.value)), announced(ANNOUNCED.value)),
        ("rooms up to 20".to_owned(), announced(20.0)),
        ("numbers in larger rooms, each second (default)".to_owned(), counted(1.0)),
        ("numbers in larger rooms, each 10 s".to_owned(), counted(10.0)),
    ] {
        table.row([name, number(rate), percent(rate / deliveries)]);
    }
    table
}
