//! Nodes that move users, are slow to answer, come back, or have a bus that panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    Bus, BusSink, Chat, Limits, NodeId, NodePresence, Notice, Role, RoomName, RosterEntry, Text, User,
    UserKey,
};
use chat_testkit::{Cluster, Peer, connect, guest, lobby, member, pass, seconds_until, settle};
use parking_lot::Mutex;
use serde_json::{Value, json};

const NOTHING: [Value; 0] = [];

fn presence(name: &str, state: &str) -> Value {
    json!({"type": "presence", "room": "lobby", "user": guest(name), "state": state})
}

/// Returns nodes that never ping, so that time can pass.
fn two_nodes(cluster: &Cluster) -> (Chat, Chat) {
    let node = |name| cluster.builder(name).limits(patient()).build();
    (node("a"), node("b"))
}

fn patient() -> Limits {
    Limits::default().with(|limits| limits.connection.ping_interval = Duration::from_secs(9_999))
}

async fn watcher(chat: &Chat) -> Peer {
    let mut peer = member(chat, "watcher").await;
    peer.events().await;
    peer
}

#[tokio::test(start_paused = true)]
async fn a_user_who_moves_to_another_node_neither_leaves_nor_joins() {
    let cluster = Cluster::new();
    let (a, b) = two_nodes(&cluster);
    let mut watcher = watcher(&b).await;
    let ann = member(&a, "ann").await;
    assert_eq!(watcher.events().await, [presence("ann", "joined")]);
    ann.kill();
    pass(9.0).await;
    let moved = member(&b, "ann").await;
    pass(20.0).await;
    assert_eq!(watcher.events().await, NOTHING);
    moved.kill();
    pass(9.9).await;
    assert_eq!(watcher.events().await, NOTHING);
    pass(0.2).await;
    assert_eq!(watcher.events().await, [presence("ann", "left")]);
}

#[tokio::test(start_paused = true)]
async fn the_users_of_a_node_that_drains_move_without_an_event() {
    let cluster = Cluster::new();
    let (a, b) = two_nodes(&cluster);
    let mut watcher = watcher(&b).await;
    let _peers = (member(&a, "ann").await, member(&a, "bob").await);
    watcher.events().await;
    a.drain(Duration::from_secs(1)).await;
    pass(4.0).await;
    let _ann = member(&b, "ann").await;
    pass(20.0).await;
    assert_eq!(watcher.events().await, [presence("bob", "left")]);
}

#[tokio::test(start_paused = true)]
async fn a_chat_without_a_bus_reports_a_lost_connection_at_once() {
    let chat = Chat::default();
    let mut watcher = watcher(&chat).await;
    member(&chat, "ann").await.kill();
    assert_eq!(watcher.events().await, [presence("ann", "joined"), presence("ann", "left")]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_exchanges_its_users() {
    let cluster = Cluster::new();
    let (a, b) = two_nodes(&cluster);
    let (mut on_a, mut on_b) = (watcher(&a).await, watcher(&b).await);
    let (stays, goes) = (member(&a, "ann").await, member(&a, "bob").await);
    on_a.events().await;
    on_b.events().await;
    cluster.lose("a");
    goes.kill();
    let _new = (member(&a, "cid").await, member(&b, "dan").await);
    pass(30.0).await;
    assert_eq!(
        on_b.events().await,
        [presence("dan", "joined"), presence("ann", "left"), presence("bob", "left")]
    );
    cluster.restore("a");
    assert_eq!(on_b.events().await, [presence("ann", "joined"), presence("cid", "joined")]);
    assert_eq!(
        on_a.events().await,
        [presence("cid", "joined"), presence("bob", "left"), presence("dan", "joined")]
    );
    assert_eq!(a.members(&lobby()), b.members(&lobby()));
    cluster.restore("a");
    assert_eq!(
        (on_a.events().await, on_b.events().await),
        (vec![], vec![]),
        "a second exchange changes nothing"
    );
    stays.kill();
}

/// A bus that records the presence of the node's users, and its end, which never ends if it hangs.
#[derive(Clone, Default)]
struct Ending {
    calls: Arc<Mutex<Vec<Option<NodePresence>>>>,
    hangs: bool,
}

#[async_trait]
impl Bus for Ending {
    fn connect(&self, _node: &NodeId, _sink: BusSink) {}

    fn publish(&self, _node: &NodeId, notice: &Notice) {
        if let Notice::Presence { state, .. } = notice {
            self.calls.lock().push(Some(*state));
        }
    }

    async fn disconnect(&self, _node: &NodeId) {
        self.calls.lock().push(None);
        if self.hangs {
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_leaves_after_its_last_session() {
    let bus = Ending::default();
    let chat = Chat::builder().bus(bus.clone()).build();
    let _ann = member(&chat, "ann").await;
    let drained = chat.drain(Duration::from_secs(10)).await;
    assert_eq!((drained.connections, drained.abandoned), (1, 0));
    let states = [Some(NodePresence::Connected), Some(NodePresence::Disconnected), None];
    assert_eq!(*bus.calls.lock(), states);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_briefly_for_a_bus_that_does_not_answer() {
    let bus = Ending { hangs: true, ..Ending::default() };
    let chat = Chat::builder().bus(bus).build();
    for (limit, least) in [(20_000, 1_000), (500, 500)] {
        let begun = tokio::time::Instant::now();
        let drained = chat.drain(Duration::from_millis(limit)).await;
        let waited = begun.elapsed().as_millis();
        assert!((least..least + 10).contains(&waited), "{waited}");
        assert_eq!(drained.store, Ok(()));
    }
}

/// A bus with one other node, which never answers. The notices are recorded.
#[derive(Clone, Default)]
struct Silent {
    sink: Arc<Mutex<Option<BusSink>>>,
    notices: Arc<Mutex<Vec<Notice>>>,
}

fn other() -> NodeId {
    "other".parse().expect("a name")
}

#[async_trait]
impl Bus for Silent {
    fn connect(&self, _node: &NodeId, sink: BusSink) {
        sink.node_joined(&other());
        *self.sink.lock() = Some(sink);
    }

    fn publish(&self, _node: &NodeId, notice: &Notice) {
        self.notices.lock().push(notice.clone());
    }

    async fn disconnect(&self, _: &NodeId) {}
}

impl Silent {
    fn chat(&self) -> Chat {
        Chat::builder().limits(patient()).node("a".parse().expect("a name")).bus(self.clone()).build()
    }

    fn sink(&self) -> BusSink {
        self.sink.lock().clone().expect("connected")
    }

    /// Reports a presence in the lobby on the other node.
    fn state(&self, name: &str, state: NodePresence, version: u64) {
        let (room, user, role) = (lobby(), User::guest(name).expect("a name"), Role::None);
        self.sink().receive(&other(), &Notice::Presence { room, user, state, role, version });
    }

    /// Reports so many users who have left that the versions of some are forgotten.
    fn leave_many(&self) {
        (11..=80).for_each(|version| self.state(&format!("u{version}"), NodePresence::Left, version));
    }

    /// Reports that this user alone is in the lobby on the other node.
    fn roster(&self, name: &str, version: u64) {
        let users = vec![RosterEntry::new(User::guest(name).expect("a name"), Role::None)];
        let to = "a".parse().expect("a name");
        self.sink().receive(&other(), &Notice::Roster { to, room: lobby(), users, version });
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_waits_only_briefly_for_a_node_that_does_not_answer() {
    let bus = Silent::default();
    let chat = bus.chat();
    let mut ann = connect(&chat, "ann").await;
    let seconds = seconds_until(ann.join("lobby")).await;
    assert!((0.25..0.3).contains(&seconds), "{seconds}");
    let mut bob = connect(&chat, "bob").await;
    assert!(seconds_until(bob.join("lobby")).await < 0.01, "the room is open");
    assert_eq!(
        ann.ask(json!({"type": "members", "room": "lobby"})).await["members"],
        json!([guest("ann"), guest("bob")])
    );
    pass(60.0).await;
    let asked = |notice: &&Notice| matches!(notice, Notice::RosterRequest { .. });
    assert_eq!(bus.notices.lock().iter().filter(asked).count(), 5, "the node is not asked forever");
    bus.sink().node_left(&other());
    let seconds = seconds_until(connect(&chat, "cid").await.join("hall")).await;
    assert!(seconds < 0.01, "no node is left to wait for");
}

/// Returns the rooms of each request since the last call.
fn requests(bus: &Silent) -> Vec<Vec<RoomName>> {
    let rooms = |notice| match notice {
        Notice::RosterRequest { rooms, .. } => Some(rooms),
        _ => None,
    };
    std::mem::take(&mut *bus.notices.lock()).into_iter().filter_map(rooms).collect()
}

fn answer(bus: &Silent, room: RoomName) {
    let to = "a".parse().expect("a name");
    bus.sink().receive(&other(), &Notice::Roster { to, room, users: Vec::new(), version: 1 });
}

/// Answers all requests, and returns the rooms.
fn answer_all(bus: &Silent) -> Vec<RoomName> {
    let mut answered = Vec::new();
    loop {
        let rooms = requests(bus).concat();
        if rooms.is_empty() {
            return answered;
        }
        assert!(rooms.len() <= 100, "{} answers at the same time", rooms.len());
        rooms.iter().for_each(|room| answer(bus, room.clone()));
        answered.extend(rooms);
    }
}

/// Opens 250 rooms while the other node is not there.
async fn open_many(bus: &Silent, chat: &Chat) -> Vec<RoomName> {
    bus.sink().node_left(&other());
    let mut rooms = Vec::new();
    for number in 0..250 {
        let room: RoomName = format!("room-{number:03}").parse().expect("a name");
        let clock = User::guest("clock").expect("a name");
        chat.post(&room, &clock, &Text::new("It is noon.")).await.expect("a message that is stored");
        rooms.push(room);
    }
    bus.notices.lock().clear();
    rooms
}

#[tokio::test(start_paused = true)]
async fn a_node_is_asked_for_some_rooms_at_a_time() {
    let bus = Silent::default();
    let chat = bus.chat();
    let rooms = open_many(&bus, &chat).await;
    bus.sink().node_joined(&other());
    let mut asked = requests(&bus).concat();
    assert_eq!(asked.len(), 100);
    let (last, others) = asked.split_last().expect("rooms");
    others.iter().for_each(|room| answer(&bus, room.clone()));
    assert!(requests(&bus).is_empty(), "an answer is missing");
    pass(1.1).await;
    assert_eq!(requests(&bus), [[last.clone()]], "it is asked for again");
    answer(&bus, last.clone());
    asked.extend(answer_all(&bus));
    asked.sort();
    assert_eq!(asked, rooms);
    pass(10.0).await;
    assert!(requests(&bus).is_empty(), "all answers have come");
}

#[tokio::test(start_paused = true)]
async fn losses_during_an_exchange_cause_one_more() {
    let bus = Silent::default();
    let chat = bus.chat();
    let rooms = open_many(&bus, &chat).await;
    for _ in 0..20 {
        bus.sink().node_joined(&other());
    }
    let mut asked = answer_all(&bus);
    asked.sort();
    assert_eq!(asked, rooms, "each room once");
    bus.sink().node_joined(&other());
    assert!(requests(&bus).is_empty(), "the next exchange begins after a pause");
    pass(1.1).await;
    let mut asked = answer_all(&bus);
    asked.sort();
    assert_eq!(asked, rooms, "each room once more");
    pass(10.0).await;
    assert!(requests(&bus).is_empty(), "nothing was lost since");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_answers_is_asked_for_all_rooms() {
    let bus = Silent::default();
    let chat = bus.chat();
    let rooms = open_many(&bus, &chat).await;
    bus.sink().node_joined(&other());
    pass(30.0).await;
    let mut asked = requests(&bus).concat();
    assert_eq!(asked.len(), 5 * rooms.len());
    asked.sort();
    asked.dedup();
    assert_eq!(asked, rooms);
}

#[tokio::test(start_paused = true)]
async fn all_joins_of_a_room_that_opens_wait_for_the_users_of_other_nodes() {
    let bus = Silent::default();
    let chat = bus.chat();
    let (ann, mut bob) = (connect(&chat, "ann").await, connect(&chat, "bob").await);
    ann.send(json!({"type": "join", "room": "lobby"}));
    settle().await;
    bob.send(json!({"type": "join", "room": "lobby"}));
    assert_eq!(bob.events().await, NOTHING, "the users of the other node are not known");
    bus.roster("eve", 1);
    assert_eq!(bob.event().await["type"], "joined");
    let members = bob.ask(json!({"type": "members", "room": "lobby"})).await;
    assert_eq!(members["members"], json!([guest("ann"), guest("bob"), guest("eve")]));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_comes_after_many_removals_is_asked_for() {
    let bus = Silent::default();
    let chat = bus.chat();
    let mut watcher = watcher(&chat).await;
    pass(10.0).await;
    bus.leave_many();
    bus.notices.lock().clear();
    bus.state("ann", NodePresence::Connected, 5);
    bus.state("bob", NodePresence::Connected, 6);
    let request = Notice::RosterRequest { to: Some(other()), rooms: vec![lobby()] };
    assert_eq!(*bus.notices.lock(), [request], "one request is on its way");
    bus.roster("ann", 81);
    assert_eq!(watcher.events().await, [presence("ann", "joined")]);
    pass(60.0).await;
    assert_eq!(bus.notices.lock().len(), 1, "the node has answered");
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_answers_are_too_old_is_asked_once_per_second() {
    let bus = Silent::default();
    let chat = bus.chat();
    let mut watcher = watcher(&chat).await;
    pass(10.0).await;
    bus.leave_many();
    bus.notices.lock().clear();
    bus.state("ann", NodePresence::Connected, 5);
    for requests in 1..=9 {
        // Each of them is an answer to a request.
        (0..10).for_each(|_| bus.roster("ann", 1));
        assert_eq!(bus.notices.lock().len(), requests);
        pass(1.1).await;
    }
    bus.roster("ann", 81);
    assert_eq!(watcher.events().await, [presence("ann", "joined")]);
    pass(60.0).await;
    assert_eq!(bus.notices.lock().len(), 10, "the node has answered");
}

#[tokio::test(start_paused = true)]
async fn notices_of_a_node_that_has_not_joined_are_ignored_except_kicks() {
    let bus = Silent::default();
    let chat = bus.chat();
    let mut watcher = watcher(&chat).await;
    let ghost = User::guest("ghost").expect("a name");
    let stranger: NodeId = "stranger".parse().expect("a name");
    let (room, user, state, role) = (lobby(), ghost.clone(), NodePresence::Connected, Role::None);
    let joined = Notice::Presence { room, user, state, role, version: u64::MAX };
    bus.sink().receive(&stranger, &joined);
    assert_eq!(watcher.events().await, NOTHING);
    bus.sink().receive(&other(), &joined);
    assert_eq!(watcher.events().await, [presence("ghost", "joined")]);
    bus.sink().node_left(&other());
    bus.sink().receive(&other(), &joined);
    pass(11.0).await;
    assert_eq!(watcher.events().await, [presence("ghost", "left")]);
    bus.sink().receive(
        &"a".parse().expect("a name"),
        &Notice::Kick { user: UserKey::guest("watcher").expect("a name"), version: 1 },
    );
    settle().await;
    assert_eq!(watcher.closed_with(), None, "an own notice is ignored");
    bus.sink()
        .receive(&stranger, &Notice::Kick { user: UserKey::guest("watcher").expect("a name"), version: 1 });
    watcher.until_gone().await;
    assert_eq!(watcher.closed_with(), Some(Some(4503)));
}

#[derive(Clone, Default)]
struct Panicking(Arc<AtomicUsize>);

#[async_trait]
impl Bus for Panicking {
    fn connect(&self, _node: &NodeId, sink: BusSink) {
        sink.node_joined(&other());
    }

    fn publish(&self, _node: &NodeId, notice: &Notice) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("no way for {notice:?}");
    }

    async fn disconnect(&self, node: &NodeId) {
        panic!("no way for {node}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_panics_harms_no_member() {
    let bus = Panicking::default();
    let limits = Limits::default().with(|limits| limits.nodes.leave_grace = Duration::ZERO);
    let chat = Chat::builder().limits(limits).bus(bus.clone()).build();
    let mut watcher = watcher(&chat).await;
    let (ann, bob) = (member(&chat, "ann").await, member(&chat, "bob").await);
    bob.kill();
    settle().await;
    ann.say("hi");
    let events = watcher.events().await;
    let states: Vec<_> = events.iter().map(|event| event["state"].as_str().unwrap_or("message")).collect();
    assert_eq!(states, ["joined", "joined", "left", "message"]);
    let before = bus.0.load(Ordering::SeqCst);
    ann.kill();
    assert_eq!(chat.kick(UserKey::guest("watcher").expect("a name")), 1);
    watcher.until_gone().await;
    settle().await;
    assert!(bus.0.load(Ordering::SeqCst) > before);
    assert_eq!(chat.members(&lobby()), []);
    let drained = chat.drain(Duration::from_secs(1)).await;
    assert_eq!((drained.abandoned, drained.store), (0, Ok(())));
}
