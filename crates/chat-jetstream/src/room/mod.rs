//! A room as one node has it, however often it is open there.

mod erase;
mod erased;
mod expire;
mod export;
mod find;
mod fold;
mod import;
mod job;
mod keys;
mod load;
mod places;
mod purge;
mod purges;
mod quiet;
mod read;
mod records;
mod replace;
mod rules;
mod sinks;
mod stage;
mod state;
mod threads;
mod trim;
mod unread;
mod work;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chat_core::{ChangeError, Commit, CommitSink, Limits, LogBounds, RoomName, Unavailable};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::life::{Life, token};
use crate::node::Node;
use crate::record::Record;

use self::job::Job;
use self::sinks::Sinks;
use self::state::{Noted, RoomState, Tail};
use self::writer::Writer;

pub(crate) use self::expire::Due;
pub(crate) use self::fold::States;
pub(crate) use self::import::{CompleteRoom, ImportedRoom};
pub(crate) use self::quiet::QuietLogs;
pub(crate) use self::stage::unix_millis;
#[cfg(test)]
pub(crate) use self::work::PurgeOrder;
pub(crate) use self::work::{Receipt, Work, as_append};

/// The appends that wait for the writer of a room. Further ones wait for a place.
const MAX_WAITING: usize = 1_024;

/// The reactions to one message, at most: each change of a message stores all of them again.
const MAX_REACTIONS: usize = 500;

/// The pinned messages, at most: each record has their positions.
const MAX_PINS: usize = 200;

/// The users of a room with a role or a restriction, at most: each node has those of its open rooms in memory.
const MAX_STANDINGS: usize = 10_000;

/// A room, shared by its openings on this node.
pub(crate) struct SharedRoom {
    pub(crate) node: Arc<Node>,
    pub(crate) name: RoomName,
    pub(crate) token: String,
    limits: Arc<Limits>,
    state: Mutex<RoomState>,
    sinks: Sinks,
    /// Held while the text of deleted messages is erased.
    erasing: tokio::sync::Mutex<()>,
    /// Held while old records are removed.
    trimming: Arc<tokio::sync::Mutex<()>>,
    /// Held while the rules of the room are read.
    loading_rules: tokio::sync::Mutex<()>,
    /// True while a task continues the erasures that are not complete.
    is_resuming: AtomicBool,
    /// Held while a new epoch begins.
    renewing: tokio::sync::Mutex<()>,
    /// True if the node may not have heard of a record or of a deletion.
    has_missed: AtomicBool,
    /// The queue of the writer, which runs only while there is something to write.
    writer: Mutex<Option<mpsc::Sender<Job>>>,
}

/// The state of a room at one time.
#[derive(Clone, Debug)]
pub(crate) struct View {
    life: Arc<Life>,
    tail: Tail,
}

impl SharedRoom {
    /// Returns the room, as no record is known yet.
    pub(crate) fn new(node: &Arc<Node>, name: RoomName, limits: Arc<Limits>, life: Arc<Life>) -> Arc<Self> {
        Arc::new(Self {
            node: Arc::clone(node),
            token: token(&name),
            name,
            limits: limited(limits),
            state: Mutex::new(RoomState::new(life)),
            sinks: Sinks::default(),
            erasing: tokio::sync::Mutex::default(),
            trimming: Arc::default(),
            loading_rules: tokio::sync::Mutex::default(),
            is_resuming: AtomicBool::new(false),
            renewing: tokio::sync::Mutex::default(),
            has_missed: AtomicBool::new(false),
            writer: Mutex::default(),
        })
    }

    /// Adds a sink, which gets reports while the returned value is held.
    pub(crate) fn add_sink(&self, sink: CommitSink) -> Arc<CommitSink> {
        self.sinks.add(sink)
    }

    /// Takes a record that this node or another one has stored, with the states of the messages that it changes, and
    /// reports its entries.
    pub(crate) fn hear(self: &Arc<Self>, life: &Arc<Life>, record: &Record, states: &States) {
        if record.trim.is_some() {
            self.learn(life, record);
            return;
        }
        let is_known = matches!(self.note(life, record), Noted::Known { .. });
        if !is_known || !self.state.lock().report(life, record) {
            return;
        }
        if record.targets().all(|seq| states.contains_key(&seq)) {
            self.report_entries(life, record, states);
        } else {
            self.sinks.report(Commit::Head { epoch: &life.epoch(&self.name), head: record.last() });
            tokio::spawn(Arc::clone(self).report_later(Arc::clone(life), record.clone()));
        }
    }

    /// Records that the log has this record.
    fn note(&self, life: &Arc<Life>, record: &Record) -> Noted {
        let noted = self.state.lock().note(life, record);
        if noted == Noted::Contradicts {
            self.contradict(life);
        }
        noted
    }

    /// Records that the log is not the one that this node knows: the stream has lost its end.
    fn contradict(&self, life: &Life) {
        life.lose();
        self.node.nudge();
    }

    /// Records that the log has this record, and reports it if it is the new end.
    fn learn(&self, life: &Arc<Life>, record: &Record) -> Noted {
        let noted = self.note(life, record);
        if noted == (Noted::Known { is_new: true }) {
            self.sinks.report(Commit::Head { epoch: &life.epoch(&self.name), head: record.last() });
        }
        noted
    }

    /// Returns what this node knows of the room.
    fn known(&self) -> View {
        let state = self.state.lock();
        View { life: Arc::clone(&state.life), tail: state.tail.clone() }
    }

    /// Asks the leader of the stream for the end of the log. Reports a new head.
    pub(crate) async fn look(&self) -> Result<View, Unavailable> {
        // A renewal that is just ending is waited for.
        if let Ok(true) = self.ask_leader().await
            && let Ok(view) = self.view()
        {
            return Ok(view);
        }
        // The stream has lost its end or does not exist, or a server that is not the leader any more has answered.
        self.node.check().await;
        self.finish_renewal().await?;
        self.ask_leader().await?;
        self.view()
    }

    /// Returns what this node knows of the room, unless it is starting a new epoch.
    fn view(&self) -> Result<View, Unavailable> {
        let state = self.state.lock();
        if state.is_renewing {
            return Err(Unavailable::new("the log is starting a new epoch"));
        }
        Ok(View { life: Arc::clone(&state.life), tail: state.tail.clone() })
    }

    /// Asks the leader of the stream for the end of the log. Returns false if this node knows of a later end, or of
    /// another life.
    async fn ask_leader(&self) -> Result<bool, Unavailable> {
        let View { life, tail } = self.known();
        let Some((place, bytes)) = self.node.link.last(&life.subject(&self.token)).await? else {
            // A stream that was made again has no record of an earlier life either.
            return Ok(tail.place == 0 && self.node.is_current(&life).await?);
        };
        let record = Record::decode(place, bytes).map_err(|unreadable| self.node.unreadable(unreadable))?;
        match self.learn(&life, &record) {
            Noted::Known { .. } => Ok(place >= tail.place),
            Noted::Ignored | Noted::Contradicts => Ok(false),
        }
    }

    /// Returns the extent of the log.
    pub(crate) async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        Ok(self.bounds_of(&self.look().await?))
    }

    /// Returns the extent of the log as this node has heard of it, unless it is starting a new epoch.
    pub(crate) fn known_bounds(&self) -> Option<LogBounds> {
        self.view().ok().map(|view| self.bounds_of(&view))
    }

    fn bounds_of(&self, view: &View) -> LogBounds {
        let View { life, tail } = view;
        LogBounds::new(life.epoch(&self.name), tail.head)
            .with_first(tail.first())
            .with_changes(tail.has_changes())
            .with_rules(tail.ruled > 0)
            .with_pins(tail.pins.to_vec())
    }

    /// Stores a message, a change or an act on this node, or carries out a purge, and waits for the answer.
    pub(crate) async fn carry_out(self: &Arc<Self>, work: Work) -> Result<Receipt, ChangeError> {
        self.carry_out_within(work, self.limits.rooms.call_timeout).await
    }

    /// Does the same, but begins to store nothing after this time. A purge has no such limit.
    pub(crate) async fn carry_out_within(
        self: &Arc<Self>,
        work: Work,
        time: Duration,
    ) -> Result<Receipt, ChangeError> {
        match work {
            Work::Purge(order) => self.purge(*order).await,
            work => self.queue_up(work, time).await,
        }
    }

    /// Hands a work to the writer, and waits for the answer.
    async fn queue_up(self: &Arc<Self>, work: Work, time: Duration) -> Result<Receipt, ChangeError> {
        let (answer, answered) = oneshot::channel();
        let until = Instant::now() + time;
        let mut job = Job { work, until, answer };
        loop {
            let queue = self.queue();
            // A writer that has just ended returns the job.
            match queue.send(job).await {
                Ok(()) => break,
                Err(returned) => job = returned.0,
            }
            self.writer.lock().take_if(|writer| writer.same_channel(&queue));
        }
        answered.await.unwrap_or_else(|_| Err(Unavailable::new("the writer of the room has ended").into()))
    }

    /// Returns the queue of the writer, and starts it if it does not run.
    fn queue(self: &Arc<Self>) -> mpsc::Sender<Job> {
        let mut writer = self.writer.lock();
        let queue = writer.get_or_insert_with(|| {
            let (queue, jobs) = mpsc::channel(MAX_WAITING);
            tokio::spawn(Writer::new(Arc::clone(self), jobs).run());
            queue
        });
        queue.clone()
    }

    /// Begins another life of the log. Until [`finish_renewal`](Self::finish_renewal) the room takes no call.
    pub(crate) fn begin_renewal(&self, life: &Arc<Life>) {
        let mut state = self.state.lock();
        *state = RoomState::new(Arc::clone(life));
        state.is_renewing = true;
    }

    /// Reports another life of the log, if one has begun.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the extent of the log is not known yet.
    pub(crate) async fn finish_renewal(&self) -> Result<(), Unavailable> {
        let _turn = self.renewing.lock().await;
        let life = {
            let state = self.state.lock();
            if !state.is_renewing {
                return Ok(());
            }
            Arc::clone(&state.life)
        };
        if let Some((place, bytes)) = self.node.link.last(&life.subject(&self.token)).await? {
            let record =
                Record::decode(place, bytes).map_err(|unreadable| self.node.unreadable(unreadable))?;
            self.note(&life, &record);
        }
        let known = self.known();
        // A further life may have begun meanwhile. It is reported next.
        if !Arc::ptr_eq(&known.life, &life) {
            return Ok(());
        }
        let bounds = self.bounds_of(&known);
        self.sinks.report(Commit::Renewed(&bounds));
        let head = {
            let mut state = self.state.lock();
            if !Arc::ptr_eq(&state.life, &life) {
                return Ok(());
            }
            state.is_renewing = false;
            state.tail.head
        };
        // Records that came meanwhile were not reported.
        self.sinks.report(Commit::Head { epoch: &bounds.epoch, head });
        Ok(())
    }
}

/// Returns the limits of a room, which are not higher than those of the store.
fn limited(limits: Arc<Limits>) -> Arc<Limits> {
    let rooms = &limits.rooms;
    if rooms.max_reactions <= MAX_REACTIONS
        && rooms.max_pins <= MAX_PINS
        && rooms.max_standings <= MAX_STANDINGS
    {
        return limits;
    }
    Arc::new(Limits::clone(&limits).with(|limits| {
        limits.rooms.max_reactions = limits.rooms.max_reactions.min(MAX_REACTIONS);
        limits.rooms.max_pins = limits.rooms.max_pins.min(MAX_PINS);
        limits.rooms.max_standings = limits.rooms.max_standings.min(MAX_STANDINGS);
    }))
}

impl fmt::Debug for SharedRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRoom").field("token", &self.token).finish_non_exhaustive()
    }
}
