//! The replication of the stream: one leader, proposals, elections.
//!
//! The steps that a majority has stored stay. One that only the leader has, or that is not confirmed yet, stays
//! or is lost at the next election. A leader that is cut off believes for up to 10 s that it still leads: it answers
//! reads with what it has, and its proposals are never stored.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::json;

use super::copy::{Copy, Done, Op, Stored};
use super::network::message;
use super::requests::in_use;
use super::trace;
use super::world::World;

/// The time until the others elect a leader, and that in which the former one does not notice it.
const ELECTION: (u64, u64) = (4_000, 9_000);
const BELIEF: u64 = 10_000;

/// The longest time of a call of a room.
const CALL: u64 = 10_000;

/// A server.
#[derive(Default)]
pub(super) struct Server {
    pub(super) is_up: bool,
    /// True while its process is stopped. It knows nothing of it later.
    pub(super) is_paused: bool,
    /// Servers with another side are not reached.
    pub(super) side: u64,
    pub(super) copy: Copy,
    /// The number of steps that the copy has.
    pub(super) applied: usize,
    /// The term in which it believes to be the leader.
    pub(super) believes: Option<u64>,
    /// The parts of batches that are not complete. Only the leader has them.
    pub(super) staged: BTreeMap<String, Vec<Stored>>,
    /// The longest time by which its copy is behind.
    pub(super) lag: u64,
    /// The proposals of a leader that is none any more.
    vain: Vec<Op>,
    /// The time at which its last proposal reaches the others.
    due: u64,
}

/// The servers as a group, as nobody in it knows it.
#[derive(Default)]
pub(super) struct Group {
    pub(super) leader: Option<usize>,
    pub(super) term: u64,
    pub(super) is_electing: bool,
    /// The time until which an answer may be one of a leader that was none any more.
    doubtful: u64,
    /// The steps that are stored by a majority.
    pub(super) log: Vec<Op>,
    /// The steps that the leader has proposed, and that are not stored yet.
    pub(super) tail: Vec<Proposal>,
}

pub(super) struct Proposal {
    id: u64,
    op: Op,
    reply: Option<Reply>,
    /// The other servers that have it.
    reached: BTreeSet<usize>,
}

/// The address and the form of an answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) subject: String,
    pub(super) batch: Option<String>,
}

impl World {
    pub(super) fn is_running(&self, server: usize) -> bool {
        self.servers[server].is_up && !self.servers[server].is_paused
    }

    /// Returns true if a message from one server reaches another one.
    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        let (one, other) = (&self.servers[from], &self.servers[to]);
        from == to || (one.side == other.side && self.is_running(from) && self.is_running(to))
    }

    /// Returns true if a server believes to be the leader and is not, or did so a moment ago. Answers may be old then.
    pub(super) fn had_false_leader(&self) -> bool {
        let is_false = |(number, server): (usize, &Server)| {
            server.believes.is_some()
                && (Some(number), server.believes) != (self.group.leader, Some(self.group.term))
        };
        self.now() < self.group.doubtful || self.servers.iter().enumerate().any(is_false)
    }

    fn has_majority(&self, server: usize) -> bool {
        let reached = (0..self.servers.len()).filter(|other| self.reaches(server, *other)).count();
        self.is_running(server) && 2 * reached > self.servers.len()
    }

    /// Returns the servers that a server reaches and that believe to be the leader.
    pub(super) fn leaders(&self, from: usize) -> Vec<usize> {
        let believes = |server: &usize| self.servers[*server].believes.is_some();
        (0..self.servers.len()).filter(|server| self.reaches(from, *server)).filter(believes).collect()
    }

    /// Returns true if something is on its way to this subject, as far as a leader knows.
    pub(super) fn is_in_flight(&self, leader: usize, subject: &str) -> bool {
        let has =
            |op: &Op| matches!(op, Op::Store(parts) if parts.iter().any(|part| part.subject == subject));
        let is_true = self.servers[leader].believes == Some(self.group.term);
        if is_true {
            self.group.tail.iter().any(|proposal| has(&proposal.op))
        } else {
            self.servers[leader].vain.iter().any(has)
        }
    }

    /// Proposes a step as a leader.
    pub(super) fn propose(&mut self, leader: usize, op: Op, reply: Option<Reply>) {
        let Some(term) = self.servers[leader].believes else { return };
        if term != self.group.term {
            return self.servers[leader].vain.push(op);
        }
        let id = self.number();
        self.group.tail.push(Proposal { id, op, reply, reached: BTreeSet::new() });
        self.replicate_later(leader, term, id);
    }

    fn replicate_later(&mut self, leader: usize, term: u64, id: u64) {
        let due = self.now() + self.latency();
        let server = &mut self.servers[leader];
        server.due = server.due.max(due);
        let due = server.due;
        self.at(due, move |world| world.replicate(leader, term, id));
    }

    /// Lets the proposals up to this one reach the others.
    fn replicate(&mut self, leader: usize, term: u64, id: u64) {
        if (self.group.leader, self.group.term) != (Some(leader), term) || !self.is_running(leader) {
            return;
        }
        for other in (0..self.servers.len()).filter(|other| *other != leader) {
            if self.reaches(leader, other) && self.rng.percent(90) {
                let reached = self.group.tail.iter_mut().filter(|proposal| proposal.id <= id);
                reached.for_each(|proposal| proposal.reached.extend([other]));
            }
        }
        let due = self.now() + self.latency();
        self.at(due, move |world| world.confirm(leader, term, id));
    }

    /// Stores the proposals up to this one that a majority has.
    fn confirm(&mut self, leader: usize, term: u64, id: u64) {
        if (self.group.leader, self.group.term) != (Some(leader), term) || !self.has_majority(leader) {
            return;
        }
        while let Some(first) = self.group.tail.first().filter(|proposal| proposal.id <= id) {
            if 2 * (first.reached.len() + 1) <= self.servers.len() {
                // It is sent again.
                return self.after(5, move |world| world.replicate(leader, term, id));
            }
            let Proposal { op, reply, .. } = self.group.tail.remove(0);
            self.group.log.push(op.clone());
            let before = self.servers[leader].copy.clone_ends(&op);
            let done = self.servers[leader].copy.apply(&op);
            self.servers[leader].applied = self.group.log.len();
            self.republish(leader, &op, &before);
            if let Some(reply) = reply {
                self.answer_step(leader, &reply, &op, &done);
            }
            let place = self.servers[leader].copy.last;
            trace(|| format!("server {leader} stored {}, last {place}", op.describe()));
            self.follow();
        }
    }

    /// Lets the copies of the others follow.
    pub(super) fn follow(&mut self) {
        let length = self.group.log.len();
        for server in 0..self.servers.len() {
            if Some(server) != self.group.leader && self.servers[server].applied < length {
                let lag = self.servers[server].lag;
                let lag = match self.rng.between(0, 9) {
                    _ if lag > 0 => self.rng.between(0, lag),
                    0 => self.rng.between(0, 300),
                    _ => self.rng.between(0, 4),
                };
                self.after(lag, move |world| world.catch_up(server, length));
            }
        }
    }

    fn catch_up(&mut self, server: usize, length: usize) {
        let reaches = self.group.leader.is_some_and(|leader| self.reaches(leader, server));
        if reaches && self.servers[server].believes.is_none() {
            self.apply_up_to(server, length);
        }
    }

    fn apply_up_to(&mut self, server: usize, length: usize) {
        let Server { copy, applied, .. } = &mut self.servers[server];
        let length = length.min(self.group.log.len());
        if *applied < length {
            for op in &self.group.log[*applied..length] {
                copy.apply(op);
            }
            *applied = length;
        }
    }

    /// Lets the others elect a leader, if the present one does not lead any more.
    pub(super) fn watch(&mut self) {
        if self.leads() || self.group.is_electing {
            return;
        }
        let time = self.rng.between(ELECTION.0, ELECTION.1);
        self.elect_after(time);
    }

    fn leads(&self) -> bool {
        self.group.leader.is_some_and(|leader| {
            self.servers[leader].believes == Some(self.group.term) && self.has_majority(leader)
        })
    }

    pub(super) fn elect_after(&mut self, time: u64) {
        self.group.is_electing = true;
        self.after(time, |world| {
            world.group.is_electing = false;
            if !world.leads() {
                let able: Vec<_> =
                    (0..world.servers.len()).filter(|able| world.has_majority(*able)).collect();
                if able.is_empty() {
                    return world.elect_after(1_000);
                }
                let elected = able[world.rng.index(able.len())];
                world.elect(elected);
            }
        });
    }

    /// Makes a server the leader. It has all that is stored, and some of what the former one has proposed.
    pub(super) fn elect(&mut self, elected: usize) {
        let former = self.group.leader;
        let tail = std::mem::take(&mut self.group.tail);
        let is_kept = |kept: &Proposal| former == Some(elected) || kept.reached.contains(&elected);
        let (kept, lost): (Vec<_>, Vec<_>) = {
            let count = tail.iter().take_while(|proposal| is_kept(proposal)).count();
            let mut tail = tail.into_iter();
            (tail.by_ref().take(count).collect(), tail.collect())
        };
        trace(|| {
            format!("server {elected} elected after {former:?}, {} kept, {} lost", kept.len(), lost.len())
        });
        self.group.log.extend(kept.into_iter().map(|proposal| proposal.op));
        self.group.term += 1;
        self.group.leader = Some(elected);
        for server in &mut self.servers {
            if !server.is_up && self.group.term == 1 {
                server.is_up = true;
            }
        }
        if let Some(former) = former.filter(|former| *former != elected) {
            self.servers[former].vain.extend(lost.into_iter().map(|proposal| proposal.op));
            self.doubt(former);
        }
        self.apply_up_to(elected, usize::MAX);
        let server = &mut self.servers[elected];
        server.believes = Some(self.group.term);
        server.staged.clear();
        server.vain.clear();
        server.due = 0;
        self.follow();
    }

    /// Lets a former leader notice that it is none: soon, if the new one reaches it.
    pub(super) fn doubt(&mut self, former: usize) {
        let Some(term) = self.servers[former].believes else { return };
        let reaches = self.group.leader.is_some_and(|leader| self.reaches(leader, former));
        let rest = if reaches { self.rng.between(0, 200) } else { BELIEF };
        self.after(rest, move |world| {
            if world.servers[former].believes == Some(term)
                && !world.servers[former].is_paused
                && !world.leads_in(former, term)
            {
                world.step_down(former);
            }
        });
    }

    fn leads_in(&self, server: usize, term: u64) -> bool {
        (self.group.leader, self.group.term) == (Some(server), term) && self.has_majority(server)
    }

    pub(super) fn step_down(&mut self, server: usize) {
        self.group.doubtful = self.now() + CALL;
        let server = &mut self.servers[server];
        server.believes = None;
        server.staged.clear();
        server.vain.clear();
        self.watch();
        self.follow();
    }

    /// Lets a leader that reaches the others again go on.
    pub(super) fn resume_proposals(&mut self) {
        if let (true, Some(leader)) = (self.leads(), self.group.leader)
            && let Some(last) = self.group.tail.last().map(|proposal| proposal.id)
        {
            let term = self.group.term;
            self.replicate_later(leader, term, last);
        }
    }

    /// Publishes the messages of a step to those who want to hear of them. Only the leader does it.
    fn republish(&mut self, leader: usize, op: &Op, before: &[u64]) {
        let Op::Store(parts) = op else { return };
        let copy = &self.servers[leader].copy;
        let first = copy.last + 1 - parts.len() as u64;
        let mut notices = Vec::new();
        for ((place, part), last) in (first..).zip(parts).zip(before) {
            let Some(subject) = copy.republished(&part.subject) else { continue };
            let mut notice = message(&subject, part.payload.clone());
            let mut headers = part.headers.clone().unwrap_or_default();
            for (name, value) in
                [("Nats-Subject", part.subject.clone()), ("Nats-Sequence", place.to_string())]
            {
                headers.insert(name, value.as_str());
            }
            headers.insert("Nats-Last-Sequence", last.to_string().as_str());
            notice.headers = Some(headers);
            notices.push(notice);
        }
        for notice in notices {
            self.route(leader, &notice);
        }
    }

    /// Answers a step that is stored.
    fn answer_step(&mut self, leader: usize, reply: &Reply, op: &Op, done: &Done) {
        let answer = match (op, done) {
            (Op::Store(_), Done::Stored { last, count }) => match &reply.batch {
                Some(batch) => {
                    json!({ "stream": self.name(leader), "seq": last, "batch": batch, "count": count })
                }
                None => json!({ "stream": self.name(leader), "seq": last }),
            },
            (_, Done::Exists) => in_use(),
            (Op::Create(_) | Op::Update(_), _) => self.info(leader),
            (_, Done::Purged(count)) => json!({ "success": true, "purged": count }),
            (_, Done::NoMessage) => {
                json!({ "error": { "code": 400, "err_code": 10_057, "description": "no message found" } })
            }
            _ => json!({ "success": true }),
        };
        self.answer(leader, &reply.subject, answer.to_string());
    }

    /// Sends an answer from a server.
    pub(super) fn answer(&mut self, server: usize, subject: &str, payload: impl Into<Bytes>) {
        self.route(server, &message(subject, payload));
    }
}

impl Copy {
    /// Returns the last places of the subjects of a step, before it.
    fn clone_ends(&self, op: &Op) -> Vec<u64> {
        let Op::Store(parts) = op else { return Vec::new() };
        parts.iter().map(|part| self.last_of(&part.subject).map_or(0, |(place, _)| place)).collect()
    }
}
