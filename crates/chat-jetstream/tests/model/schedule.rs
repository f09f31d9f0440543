//! A run: nodes, writers and faults, all from one seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chat_core::{
    Act, AppendError, Change, ChangeError, Limits, NewAct, NewChange, NewMessage, RawValue, Role, User,
};
use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::broken::Mutant;
use super::history::{Changed, Counts, Read, SharedHistory};
use super::nodes::{Node, Nodes, ROOMS};
use super::world::{Model, World};
use super::{Rng, begin, end};

/// The time for the writers to finish when all is repaired.
const FINISH: Duration = Duration::from_secs(120);

/// The time for the readers to have all when all is repaired, and for another node to continue a purge.
const SETTLE: Duration = Duration::from_secs(40);

/// The time for the answer to a purge that another node carries out.
const PURGE_TIMEOUT: Duration = Duration::from_secs(20);

/// The variable with which the stream loses its end in a fifth of the runs. They find a defect that is not repaired: see
/// the known defects of the crate.
const LOSS: &str = "CHAT_LOSS";

/// The faults of a run, at most.
const MAX_FAULTS: u64 = 25;

/// The result of a run.
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) digest: u64,
    /// The first guarantee that was violated.
    pub(crate) violation: Option<String>,
}

/// The state that the parts of a run share.
#[derive(Clone)]
struct Run {
    model: Model,
    history: SharedHistory,
    limits: Arc<Limits>,
    nodes: Nodes,
    mutant: Option<Mutant>,
    /// The writers that have not finished.
    writing: Arc<AtomicUsize>,
}

/// The times after which messages and keys of a run are too old.
struct Ages {
    retain: Option<Duration>,
    keys: Duration,
}

impl Ages {
    /// Lets messages be hidden in some runs, and removed later together with their keys, or both at once.
    fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xa6e5);
        if !rng.percent(30) {
            return Self { retain: None, keys: Limits::default().rooms.key_window };
        }
        let keys = Duration::from_secs(15);
        let retain = Duration::from_secs([4, 12, 31][rng.index(3)]);
        Self { retain: Some(retain), keys }
    }
}

/// Runs the schedule of a seed.
pub(crate) fn run(seed: u64, mutant: Option<Mutant>) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let outcome = runtime.block_on(async {
        begin(seed);
        let mut rng = Rng::new(seed ^ 0xc0ff_ee00);
        let servers = if rng.percent(20) { 1 } else { 3 };
        let history = SharedHistory::default();
        // A run whose stream may lose its end has weaker guarantees, so that most have none.
        history.lock().may_lose = rng.percent(20) && mutant.is_none() && std::env::var_os(LOSS).is_some();
        let ages = Ages::of(seed);
        (history.lock().retain_age, history.lock().key_window) = (ages.retain, ages.keys);
        let run = Run {
            model: Model::start(rng.next(), servers),
            history: Arc::clone(&history),
            limits: Arc::new(Limits::default().with(|limits| {
                (limits.rooms.tail_events, limits.rooms.purge_timeout) = (8, PURGE_TIMEOUT);
                limits.rooms.key_window = ages.keys;
            })),
            nodes: Arc::new(Mutex::new((0..rng.between(2, 3)).map(|_| None).collect())),
            mutant,
            writing: Arc::default(),
        };
        run.play(&mut rng).await;
        let mut history = run.history.lock();
        history.counts.runs = 1;
        Outcome { counts: history.counts, digest: history.digest(), violation: history.violation.take() }
    });
    end();
    outcome
}

impl Run {
    async fn play(&self, rng: &mut Rng) {
        let count = self.nodes.lock().len();
        let mut starting = JoinSet::new();
        for number in 0..count {
            let run = self.clone();
            starting.spawn(async move { run.start_node(number).await });
        }
        while starting.join_next().await.is_some() {}
        let mut writers = JoinSet::new();
        for writer in 0..2 * count {
            let (run, rng) = (self.clone(), Rng::new(rng.next()));
            self.writing.fetch_add(1, Ordering::SeqCst);
            writers.spawn(async move {
                run.write(writer, rng).await;
                run.writing.fetch_sub(1, Ordering::SeqCst);
            });
        }
        self.break_things(rng).await;
        self.model.act(World::heal);
        let finished = timeout(FINISH, async { while writers.join_next().await.is_some() {} });
        if finished.await.is_err() {
            return self.violate("the writers do not finish although all is repaired");
        }
        sleep(SETTLE).await;
        self.check().await;
    }

    fn violate(&self, what: impl Into<String>) {
        self.history.lock().violate(what);
    }

    async fn start_node(&self, number: usize) {
        let mut tries = 0;
        loop {
            let node = Node::start(&self.model, &self.history, &self.limits, self.mutant).await;
            if let Some(node) = node {
                self.nodes.lock()[number] = Some(Arc::new(node));
                return;
            }
            tries += 1;
            if tries > 20 {
                return self.violate("a node does not start");
            }
        }
    }

    fn node(&self, rng: &mut Rng) -> Option<(usize, Arc<Node>)> {
        let nodes = self.nodes.lock();
        let number = rng.index(nodes.len());
        nodes[number].clone().map(|node| (number, node))
    }

    /// Sends messages, changes and purges, and repeats each until it is answered, as clients do.
    async fn write(&self, writer: usize, mut rng: Rng) {
        let pause = if rng.percent(50) { 1_500 } else { 150 };
        let mut sent_texts = vec![Vec::new(); ROOMS.len()];
        for number in 0..rng.between(4, 14) {
            sleep(Duration::from_millis(rng.between(0, pause))).await;
            let room = rng.index(ROOMS.len());
            let is_keyed = rng.percent(80);
            let text = format!("{}-{writer}-{number}", if is_keyed { "k" } else { "u" });
            sent_texts[room].push(text.clone());
            let sent = if is_keyed && rng.percent(15) {
                // A client that has lost its connection sends again on another node, while the first one tries.
                let (mut one, mut other) = (Rng::new(rng.next()), Rng::new(rng.next()));
                tokio::join!(
                    self.send(writer, room, &text, is_keyed, &mut one),
                    self.send(writer, room, &text, is_keyed, &mut other)
                )
                .0
            } else {
                self.send(writer, room, &text, is_keyed, &mut rng).await
            };
            if let Some((log, seq)) = sent
                && is_keyed
                && rng.percent(40)
            {
                self.change(writer, &log, seq, &text, &mut rng).await;
            }
            if rng.percent(12) {
                self.purge(writer, number, (room, &sent_texts[room]), &mut rng).await;
            }
        }
    }

    /// Deletes all messages of a writer in a room. It is mostly repeated until it is answered.
    async fn purge(&self, writer: usize, number: u64, (room, sent): (usize, &[String]), rng: &mut Rng) {
        let (by, is_patient) = (format!("p{writer}-{number}"), rng.percent(70));
        let begun = self.history.lock().begin_purge(room, &by, sent);
        loop {
            if let Some((_, node)) = self.node(rng) {
                let by = User::new(&by, &by).expect("a user");
                let act = NewAct::new(by, Act::Purge { user: user(writer) }).by_host();
                match node.rooms[room].purge(act).await {
                    Ok(receipt) => return self.history.lock().end_purge(begun, receipt.epoch),
                    Err(ChangeError::Unavailable(_)) => self.history.lock().counts.refused += 1,
                    Err(error) => return self.violate(format!("a purge of {writer}: {error}")),
                }
                if !is_patient {
                    return;
                }
            }
            sleep(Duration::from_millis(rng.between(20, 300))).await;
        }
    }

    /// Sends a message. Returns its log and position.
    async fn send(
        &self,
        writer: usize,
        room: usize,
        text: &str,
        is_keyed: bool,
        rng: &mut Rng,
    ) -> Option<((usize, String), u64)> {
        loop {
            if let Some((number, node)) = self.node(rng) {
                let key = (is_keyed && self.mutant != Some(Mutant::NoKeys)).then(|| text.to_owned());
                let message = NewMessage::new(user(writer), body(text)).with_key(key);
                match node.rooms[room].append(message).await {
                    Ok(receipt) => {
                        let log = (room, receipt.epoch);
                        let mut history = self.history.lock();
                        let place = (receipt.seq, receipt.at);
                        history.acknowledge(number, log.clone(), place, text, receipt.duplicate);
                        return Some((log, receipt.seq));
                    }
                    Err(AppendError::Unavailable(_)) => {
                        self.history.lock().counts.refused += 1;
                        if !is_keyed {
                            return None;
                        }
                    }
                    Err(error) => {
                        self.violate(format!("{text}: {error}"));
                        return None;
                    }
                }
            }
            sleep(Duration::from_millis(rng.between(20, 300))).await;
        }
    }

    /// Changes a message in all ways.
    async fn change(&self, writer: usize, log: &(usize, String), target: u64, text: &str, rng: &mut Rng) {
        let reaction = |on| Change::React { reaction: "+1".to_owned(), on };
        for number in 1..=rng.between(1, 3) {
            let (by, change, changed) = match rng.between(0, 9) {
                0..5 => {
                    let edit = Change::Edit { body: body(&format!("{text}+{number}")) };
                    (user(writer), edit, Changed::Edited(number))
                }
                5..8 => (user(writer), reaction(true), Changed::Reacted(format!("w{writer}"))),
                8 => (user(writer), Change::Pin { on: true }, Changed::Edited(0)),
                _ => (user(writer), Change::Delete { reason: None }, Changed::Deleted),
            };
            let is_deletion = changed == Changed::Deleted;
            if is_deletion {
                self.history.lock().purges.begin_deletion(text);
            }
            loop {
                if let Some((_, node)) = self.node(rng) {
                    let change =
                        NewChange::new(by.clone(), target, change.clone()).with_role(Role::Moderator);
                    // A first try may be stored late. Without its key, an edit would be made twice then.
                    let change = match changed {
                        Changed::Edited(1..) => change.with_key(format!("{text}+{number}")),
                        _ => change,
                    };
                    match node.rooms[log.0].change(change).await {
                        Ok(receipt) => {
                            if receipt.epoch == log.1 {
                                self.history.lock().change(log.clone(), target, changed);
                            }
                            break;
                        }
                        Err(ChangeError::Unavailable(_)) => self.history.lock().counts.refused += 1,
                        // The message is lost with the end of the stream, or another one is in its place.
                        Err(_) if self.history.lock().may_lose => return,
                        // It is too old.
                        Err(ChangeError::NoMessage) if self.history.lock().retain_age.is_some() => return,
                        // A server that is not the leader any more has answered.
                        Err(ChangeError::NoMessage) if self.model.act(|world| world.had_false_leader()) => {}
                        Err(error) => return self.violate(format!("a change of {text}: {error}")),
                    }
                }
                sleep(Duration::from_millis(rng.between(20, 300))).await;
            }
            if is_deletion {
                return;
            }
        }
    }

    /// Lets faults happen for a while.
    async fn break_things(&self, rng: &mut Rng) {
        // The last faults come when nobody writes any more, or long before: then all else repairs what they have left.
        let (least, most) = (rng.between(2, 9), if rng.percent(50) { MAX_FAULTS } else { 0 });
        let mut count = 0;
        while count < least || (count < most && self.writing.load(Ordering::SeqCst) > 0) {
            count += 1;
            sleep(Duration::from_millis(rng.between(50, 3_000))).await;
            self.history.lock().counts.faults += 1;
            let time = if rng.percent(50) { rng.between(50, 2_000) } else { rng.between(2_000, 16_000) };
            let (servers, clients): (_, Vec<_>) = (
                self.model.act(|world| world.servers.len()),
                self.nodes.lock().iter().flatten().map(|node| node.client).collect(),
            );
            let leader = self.model.act(|world| world.group.leader).unwrap_or_default();
            let server = if rng.percent(60) { leader } else { rng.index(servers) };
            let client = if clients.is_empty() { None } else { Some(clients[rng.index(clients.len())]) };
            let may_lose = self.history.lock().may_lose;
            let kind = rng.between(0, 13);
            self.history.lock().note((kind, server, client, time));
            match (kind, client) {
                (0, _) => self.for_a_time(time, move |w| w.kill(server), move |w| w.revive(server)),
                (1, _) => self.for_a_time(time, move |w| w.isolate(server), World::join),
                (2, _) => self.for_a_time(time, move |w| w.pause(server), move |w| w.resume(server)),
                (3, _) => self.model.act(World::move_leader),
                (4 | 5, Some(client)) => self.model.act(|world| world.reset(client)),
                (6, Some(client)) => {
                    self.for_a_time(time, move |w| w.cut(client, true), move |w| w.cut(client, false));
                }
                (7, _) => {
                    let lag = rng.between(200, 5_000);
                    let all = move |w: &mut World, lag| {
                        w.servers.iter_mut().for_each(|server| server.lag = lag);
                    };
                    self.for_a_time(time, move |w| all(w, lag), move |w| all(w, 0));
                }
                (8, _) => {
                    let lossy = rng.between(5, 60);
                    self.for_a_time(time, move |w| w.lossy = lossy, |w| w.lossy = 0);
                }
                (9 | 10, Some(client)) => {
                    let percent = rng.between(5, 100);
                    self.for_a_time(
                        time,
                        move |w| w.clients[client].losing = percent,
                        move |w| w.clients[client].losing = 0,
                    );
                }
                (11, Some(client)) => {
                    let (slow, percent) = (rng.between(20, 1_500), rng.between(0, 50));
                    let set = move |w: &mut World, (slow, doubling)| {
                        (w.clients[client].slow, w.clients[client].doubling) = (slow, doubling);
                    };
                    self.for_a_time(time, move |w| set(w, (slow, percent)), move |w| set(w, (0, 0)));
                }
                (12, _) if may_lose => {
                    let steps = usize::try_from(rng.between(1, 12)).expect("a small number");
                    self.model.act(|world| world.roll_back(steps));
                    sleep(Duration::from_millis(rng.between(50, 3_000))).await;
                    self.model.act(|world| (0..world.servers.len()).for_each(|server| world.revive(server)));
                }
                (12, _) => self.for_a_time(time, |w| w.refuses = true, |w| w.refuses = false),
                // If no node that knows the end is left, nobody notices that it is lost.
                (13, _) if !may_lose => self.replace_node(rng),
                _ => {}
            }
        }
        sleep(Duration::from_millis(rng.between(0, 8_000))).await;
    }

    fn for_a_time(
        &self,
        time: u64,
        begin: impl FnOnce(&mut World),
        end: impl FnOnce(&mut World) + Send + 'static,
    ) {
        self.model.act(|world| {
            begin(world);
            world.after(time, end);
        });
    }

    /// Ends the process of a node, and starts another one in its place.
    fn replace_node(&self, rng: &mut Rng) {
        let number = rng.index(self.nodes.lock().len());
        let Some(node) = self.nodes.lock()[number].take() else { return };
        self.model.act(|world| world.end_client(node.client));
        drop(node);
        let run = self.clone();
        tokio::spawn(async move { run.start_node(number).await });
    }

    /// Checks the guarantees. Nothing is broken any more.
    async fn check(&self) {
        let nodes: Vec<_> = self.nodes.lock().clone();
        let mut before = Vec::new();
        for node in &nodes {
            let readers = node.iter().flat_map(|node| &node.readers);
            before.push(
                readers
                    .map(|shared| {
                        let reader = shared.reader.lock();
                        (reader.epoch.clone(), reader.read)
                    })
                    .collect::<Vec<_>>(),
            );
        }
        let fresh = Node::start(&self.model, &self.history, &self.limits, self.mutant).await;
        let Some(fresh) = fresh else { return self.violate("a node does not start") };
        for (room, _) in ROOMS.iter().enumerate() {
            let Ok(log) = fresh.read(room).await else { return self.violate("a log cannot be read") };
            self.history.lock().check_log(fresh.client, room, &log);
            let head = log.head;
            for (number, node) in nodes.iter().enumerate() {
                let Some(node) = node else { continue };
                let (epoch, read) = &before[number][room];
                if head > 0 && (*read != head || *epoch != log.epoch) {
                    self.violate(format!(
                        "node {number} has reported {read} of {head} entries of room {room}, in {epoch} of {}",
                        log.epoch
                    ));
                }
                let Ok(other) = node.read(room).await else { return self.violate("a log cannot be read") };
                self.history.lock().check_log(node.client, room, &other);
                let first = log.first.max(other.first);
                let kept = |read: &Read| -> Vec<_> {
                    read.entries.iter().filter(|stored| stored.seq >= first).cloned().collect()
                };
                if other.epoch != log.epoch || kept(&other) != kept(&log) {
                    self.violate(format!("node {number} has another log of room {room} than a new node"));
                }
            }
        }
    }
}

pub(crate) fn user(writer: usize) -> User {
    let name = format!("w{writer}");
    User::new(&name, &name).expect("a user")
}

pub(crate) fn body(text: &str) -> Box<RawValue> {
    RawValue::from_string(format!(r#"{{"text":"{text}"}}"#)).expect("JSON")
}
