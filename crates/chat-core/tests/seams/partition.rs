//! Rosters over a bus that loses, repeats, delays and reorders notices, and over nodes that lose each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chat_core::{Bus, BusSink, Chat, Limits, NodeId, Notice, async_trait};
use chat_testkit::{Peer, SharedStore, connect, lobby, member, pass, settle};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::json;

const NODES: [&str; 3] = ["a", "b", "c"];
const USERS: [&str; 4] = ["ann", "bob", "cid", "dan"];

/// A bus whose notices wait until the test delivers them.
#[derive(Clone, Default)]
struct WildBus(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    sinks: BTreeMap<NodeId, BusSink>,
    /// The pairs of nodes that cannot reach each other, in both directions.
    parted: BTreeSet<(NodeId, NodeId)>,
    waiting: Vec<(NodeId, NodeId, Vec<u8>)>,
}

#[async_trait]
impl Bus for WildBus {
    fn connect(&self, node: &NodeId, sink: BusSink) {
        let others: Vec<_> = self.0.lock().sinks.clone().into_iter().collect();
        self.0.lock().sinks.insert(node.clone(), sink.clone());
        for (other, other_sink) in others {
            other_sink.node_joined(node);
            sink.node_joined(&other);
        }
    }

    fn publish(&self, node: &NodeId, notice: &Notice) {
        let mut state = self.0.lock();
        let reachable: Vec<_> = state
            .sinks
            .keys()
            .filter(|other| !state.parted.contains(&(node.clone(), (*other).clone())))
            .cloned()
            .collect();
        // A node also gets its own notices.
        for other in reachable {
            state.waiting.push((node.clone(), other, notice.encode()));
        }
    }

    async fn disconnect(&self, _: &NodeId) {}
}

impl WildBus {
    /// Delivers one of the waiting notices. If it is kept, it is delivered again later.
    fn deliver(&self, which: usize, is_kept: bool) -> bool {
        let mut state = self.0.lock();
        let Some(index) = which.checked_rem(state.waiting.len()) else { return false };
        let (from, to, bytes) =
            if is_kept { state.waiting[index].clone() } else { state.waiting.remove(index) };
        let sink = state.sinks[&to].clone();
        drop(state);
        sink.receive(&from, &Notice::decode(&bytes).expect("a notice"));
        true
    }

    fn lose_notice(&self, which: usize) {
        let mut state = self.0.lock();
        if let Some(index) = which.checked_rem(state.waiting.len()) {
            state.waiting.remove(index);
        }
    }

    /// Parts two nodes. Their notices on the way are lost.
    fn part(&self, pair: [&NodeId; 2]) {
        for (from, to) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let mut state = self.0.lock();
            state.parted.insert((from.clone(), to.clone()));
            state.waiting.retain(|(sender, receiver, _)| (sender, receiver) != (from, to));
            let sink = state.sinks[to].clone();
            drop(state);
            sink.node_left(from);
        }
    }

    /// Connects all nodes. What was lost between any of them is exchanged again.
    fn heal(&self) {
        self.0.lock().parted.clear();
        let sinks = self.0.lock().sinks.clone();
        for (node, sink) in &sinks {
            sinks.keys().filter(|other| *other != node).for_each(|other| sink.node_joined(other));
        }
    }

    fn deliver_all(&self) {
        while self.deliver(0, false) {}
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join(usize, usize),
    Leave(usize, bool),
    Deliver(usize, bool),
    LoseNotice(usize),
    Part(usize, usize),
    Heal,
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..1_000_usize;
    prop_oneof![
        4 => (0..NODES.len(), 0..USERS.len()).prop_map(|(node, user)| Step::Join(node, user)),
        3 => (which.clone(), any::<bool>()).prop_map(|(which, on_purpose)| Step::Leave(which, on_purpose)),
        9 => (which.clone(), any::<bool>()).prop_map(|(which, is_kept)| Step::Deliver(which, is_kept)),
        1 => which.prop_map(Step::LoseNotice),
        1 => (0..NODES.len(), 1..NODES.len()).prop_map(|(node, by)| Step::Part(node, by)),
        1 => Just(Step::Heal),
        1 => Just(Step::Wait),
    ]
}

/// The nodes of a chat, with a watcher on each, and the users that each watcher has seen.
struct Cluster {
    bus: WildBus,
    ids: Vec<NodeId>,
    chats: Vec<Chat>,
    watchers: Vec<Peer>,
    seen: Vec<BTreeSet<String>>,
    peers: Vec<(usize, Peer)>,
}

impl Cluster {
    async fn new(nodes: usize) -> Self {
        let (bus, store) = (WildBus::default(), SharedStore::default());
        let ids: Vec<NodeId> = NODES[..nodes].iter().map(|name| name.parse().expect("a name")).collect();
        let limits = Limits::default()
            .with(|limits| limits.connection.ping_interval = std::time::Duration::from_secs(9_999));
        let chat = |node: &NodeId| {
            Chat::builder()
                .limits(limits.clone())
                .node(node.clone())
                .store(store.clone())
                .bus(bus.clone())
                .build()
        };
        let chats: Vec<_> = ids.iter().map(chat).collect();
        let mut cluster = Self { bus, ids, chats, watchers: Vec::new(), seen: Vec::new(), peers: Vec::new() };
        for chat in &cluster.chats {
            let mut watcher = connect(chat, "watcher").await;
            watcher.join("lobby").await;
            let members = watcher.ask(json!({"type": "members", "room": "lobby"})).await;
            let names = members["members"].as_array().expect("a list").iter();
            cluster.seen.push(names.map(|user| user["name"].as_str().expect("a name").to_owned()).collect());
            cluster.watchers.push(watcher);
        }
        cluster
    }

    async fn perform(&mut self, step: Step) {
        match step {
            Step::Join(node, user) => {
                let node = node % self.chats.len();
                self.peers.push((user, member(&self.chats[node], USERS[user]).await));
            }
            Step::Leave(which, on_purpose) => {
                let Some(index) = which.checked_rem(self.peers.len()) else { return };
                let (_, mut peer) = self.peers.remove(index);
                if on_purpose {
                    peer.ask(json!({"type": "leave", "room": "lobby"})).await;
                }
                peer.kill();
                settle().await;
            }
            Step::Deliver(which, is_kept) => drop(self.bus.deliver(which, is_kept)),
            Step::LoseNotice(which) => self.bus.lose_notice(which),
            Step::Part(node, by) => {
                let (one, other) = (node % self.ids.len(), (node + by) % self.ids.len());
                if one != other {
                    self.bus.part([&self.ids[one], &self.ids[other]]);
                }
            }
            Step::Heal => self.bus.heal(),
            Step::Wait => pass(4.0).await,
        }
        self.watch().await;
    }

    /// Checks that each event of each watcher is a change of what it has seen.
    async fn watch(&mut self) {
        for (watcher, seen) in self.watchers.iter_mut().zip(&mut self.seen) {
            for event in watcher.events().await {
                let user = event["user"]["name"].as_str().expect("a presence event").to_owned();
                let is_change =
                    if event["state"] == "joined" { seen.insert(user) } else { seen.remove(&user) };
                assert!(is_change, "twice: {event}");
            }
        }
    }

    /// Heals the bus, and checks that all nodes see the users who are there.
    async fn finish(mut self) {
        self.bus.heal();
        self.bus.deliver_all();
        pass(30.0).await;
        self.bus.deliver_all();
        self.watch().await;
        let mut expected: BTreeSet<String> =
            self.peers.iter().map(|(user, _)| USERS[*user].to_owned()).collect();
        expected.insert("watcher".to_owned());
        for (chat, seen) in self.chats.iter().zip(&self.seen) {
            let members: BTreeSet<String> =
                chat.members(&lobby()).iter().map(|user| user.name().to_owned()).collect();
            assert_eq!((&members, seen), (&expected, &expected));
        }
    }
}

fn run(nodes: usize, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut cluster = Cluster::new(nodes).await;
        for step in steps {
            cluster.perform(step).await;
        }
        cluster.finish().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_nodes_agree_on_their_users_after_healing(steps in proptest::collection::vec(step(), 0..60)) {
        run(2, steps);
    }

    #[test]
    fn three_nodes_agree_on_their_users_after_healing(steps in proptest::collection::vec(step(), 0..60)) {
        run(3, steps);
    }
}
