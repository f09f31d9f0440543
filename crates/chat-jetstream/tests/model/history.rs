//! The history of a run: what the nodes have answered and reported, and the guarantees that it must have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Commit, StoredMessage};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use super::purges::Purges;
use super::{trace, unix_millis};

/// A log: the room and the epoch.
pub(super) type Log = (usize, String);

/// The knowledge about a run. A violation of a guarantee is kept, so that the run can end.
#[derive(Default)]
pub(crate) struct History {
    /// The entry at each position, as each node has it. Only a stream that has lost its end lets nodes differ.
    entries: BTreeMap<(usize, Log, u64), String>,
    /// True if the stream may lose its end in this run.
    pub(crate) may_lose: bool,
    /// The age at which messages are removed in this run.
    pub(crate) retain_age: Option<Duration>,
    /// The time for which keys are remembered.
    pub(crate) key_window: Duration,
    /// The times of the acknowledged messages.
    times: BTreeMap<(Log, u64), u64>,
    /// The acknowledged messages: their logs, positions and texts.
    acknowledged: BTreeSet<(Log, u64, String)>,
    pub(super) purges: Purges,
    /// The acknowledged changes.
    changed: BTreeSet<(Log, u64, Changed)>,
    /// The epochs of the rooms.
    epochs: BTreeSet<Log>,
    pub(crate) violation: Option<String>,
    pub(crate) counts: Counts,
    digest: DefaultHasher,
}

/// The numbers of things that happened, which show that a run tests something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    pub(crate) reports: u64,
    pub(crate) reads: u64,
    pub(crate) purges: u64,
    pub(crate) renewals: u64,
    pub(crate) removed: u64,
    pub(crate) faults: u64,
    pub(crate) runs: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            acknowledged,
            duplicates,
            refused,
            reports,
            reads,
            purges,
            renewals,
            removed,
            faults,
            runs,
        } = self;
        *acknowledged += other.acknowledged;
        *duplicates += other.duplicates;
        *refused += other.refused;
        *reports += other.reports;
        *reads += other.reads;
        *purges += other.purges;
        *renewals += other.renewals;
        *removed += other.removed;
        *faults += other.faults;
        *runs += other.runs;
    }
}

/// A change that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Changed {
    Edited(u64),
    Reacted(String),
    Deleted,
}

pub(crate) type SharedHistory = Arc<Mutex<History>>;

impl History {
    pub(crate) fn violate(&mut self, what: impl Into<String>) {
        let what = what.into();
        trace(|| format!("violation: {what}"));
        self.violation.get_or_insert(what);
    }

    /// Adds a step to the digest, by which two runs are compared.
    pub(crate) fn note(&mut self, step: impl Hash + Debug) {
        trace(|| format!("{step:?}"));
        step.hash(&mut self.digest);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Takes an acknowledgement of a message by a node.
    pub(crate) fn acknowledge(
        &mut self,
        node: usize,
        log: Log,
        (seq, at): (u64, u64),
        text: &str,
        is_duplicate: bool,
    ) {
        self.times.insert((log.clone(), seq), at);
        self.note((node, &log, seq, text, is_duplicate));
        self.counts.acknowledged += 1;
        self.counts.duplicates += u64::from(is_duplicate);
        self.see_epoch(&log);
        if !self.may_lose {
            // The node that was asked may not know yet that the stream has lost its end.
            self.see(node, &log, seq, text);
        }
        self.acknowledged.insert((log, seq, text.to_owned()));
    }

    /// Takes the beginning of a purge of these messages, some of which are acknowledged. Returns its number.
    pub(crate) fn begin_purge(&mut self, room: usize, by: &str, sent: &[String]) -> usize {
        self.note(("purge", room, by));
        let is_purged = |(log, _, text): &&(Log, u64, String)| log.0 == room && sent.contains(text);
        let before = self.acknowledged.iter().filter(is_purged).cloned().collect();
        self.purges.begin((room, by), sent, before)
    }

    /// Takes the acknowledgement of a purge.
    pub(crate) fn end_purge(&mut self, number: usize, epoch: String) {
        self.note(("purged", number, &epoch));
        self.counts.purges += 1;
        self.purges.end(number, epoch);
    }

    pub(crate) fn change(&mut self, log: Log, target: u64, changed: Changed) {
        self.note((&log, target, &changed));
        self.changed.insert((log, target, changed));
    }

    fn see_epoch(&mut self, log: &Log) {
        self.epochs.insert(log.clone());
        let epochs = self.epochs.iter().filter(|(room, _)| *room == log.0).count();
        if epochs > 1 && !self.may_lose {
            self.violate(format!("room {} has a new epoch, and nothing was lost", log.0));
        }
    }

    /// Takes an entry of a log that a node has reported, returned or acknowledged.
    pub(crate) fn see(&mut self, node: usize, log: &Log, seq: u64, entry: &str) {
        let node = if self.may_lose { node } else { 0 };
        let known = self.entries.entry((node, log.clone(), seq)).or_insert_with(|| entry.to_owned());
        if known != entry && known != GONE && entry != GONE {
            let what = format!("room {} of {} has two entries {seq}: {known} and {entry}", log.0, log.1);
            self.violate(what);
        } else if known == GONE {
            entry.clone_into(known);
        }
    }

    /// Checks a log that a node has returned when nothing is broken any more.
    pub(crate) fn check_log(&mut self, node: usize, room: usize, log: &Read) {
        let key = (room, log.epoch.clone());
        self.see_epoch(&key);
        let mut texts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (index, stored) in (log.first..).zip(&log.entries) {
            if stored.seq != index {
                return self.violate(format!("node {node} has a hole in room {room} at {index}"));
            }
            let entry = identity(stored);
            self.see(node, &key, stored.seq, &entry);
            let is_keyed = entry.starts_with('k') || (entry.starts_with('u') && !self.may_lose);
            let at = time_of(stored);
            if is_keyed
                && let Some((first, before)) = texts.insert(entry.clone(), (stored.seq, at))
                && Duration::from_millis(at - before) < self.key_window
            {
                self.violate(format!("room {room} has {entry} twice: {first} and {}", stored.seq));
            }
        }
        let (first, head) = (log.first, log.head);
        if log.entries.last().map_or(first - 1, |stored| stored.seq) != head {
            return self.violate(format!("node {node} has a hole at the end of room {room}"));
        }
        self.check_age(&key, first);
        self.counts.removed += first - 1;
        let acknowledged: Vec<_> =
            self.acknowledged.iter().filter(|(log, ..)| *log == key).cloned().collect();
        for (_, seq, text) in acknowledged {
            if seq < first {
                continue;
            }
            let stored = usize::try_from(seq - first).ok().and_then(|index| log.entries.get(index));
            let stored = stored.map(identity);
            let is_gone = stored.as_deref() == Some(GONE);
            if stored.as_deref() != Some(&text) && !is_gone {
                self.violate(format!(
                    "room {room}: {text} was acknowledged at {seq}, and there is {stored:?} of {head}"
                ));
            }
            if is_gone && !self.purges.is_deletable(&text) {
                self.violate(format!("room {room}: {text} is deleted at {seq}, and nobody has asked for it"));
            }
        }
        let removed = (1..first).map(|_| GONE.to_owned());
        let entries: Vec<_> = removed.chain(log.entries.iter().map(identity)).collect();
        let left = self.purges.left(&key, &entries);
        left.into_iter().for_each(|left| self.violate(left));
        let changed: Vec<_> = self.changed.iter().filter(|(log, ..)| *log == key).cloned().collect();
        for (_, target, changed) in changed {
            let Some(event) = log.messages.get(&target) else { continue };
            let is_deleted = event["body"].is_null();
            let is_there = match &changed {
                Changed::Deleted => is_deleted,
                Changed::Edited(number) => is_deleted || edit_of(event) >= Some(*number),
                Changed::Reacted(user) => is_deleted || has_reaction(event, user),
            };
            if !is_there {
                self.violate(format!("room {room}: {changed:?} of {target} is lost: {event}"));
            }
        }
    }
}

impl History {
    /// Checks that the acknowledged messages before a position are as old as those that are removed.
    pub(crate) fn check_age(&mut self, log: &Log, first: u64) {
        let now = unix_millis().unwrap_or_default();
        let removed = self.times.range((log.clone(), 0)..(log.clone(), first));
        let is_young = |at: u64| self.retain_age.is_none_or(|age| Duration::from_millis(now - at) < age);
        let young = removed.filter(|(_, at)| is_young(**at)).map(|((_, seq), _)| *seq).next();
        if let Some(seq) = young {
            self.violate(format!("room {} begins at {first}, and {seq} is not old", log.0));
        }
    }
}

/// Returns the time of an entry.
fn time_of(stored: &StoredMessage) -> u64 {
    let event: Value = serde_json::from_slice(&stored.frame).expect("an event");
    event["at"].as_u64().expect("a time")
}

/// The identity of a message that was deleted.
pub(super) const GONE: &str = "gone";

/// Returns what an entry is, whatever was changed later: the text of a message as it was sent, or the change.
pub(crate) fn identity(stored: &StoredMessage) -> String {
    let event: Value = serde_json::from_slice(&stored.frame).expect("an event");
    match event["type"].as_str() {
        Some("message") => event["body"]["text"]
            .as_str()
            .map_or_else(|| GONE.to_owned(), |text| text.split('+').next().unwrap_or(text).to_owned()),
        Some("purged") => {
            format!(
                "purged-{}-{}-{}",
                event["by"]["id"].as_str().unwrap_or_default(),
                event["from"],
                event["to"]
            )
        }
        kind => format!("{}-{}", kind.unwrap_or_default(), event["target"]),
    }
}

/// Returns the number of the edit that a message shows.
fn edit_of(event: &Value) -> Option<u64> {
    Some(event["body"]["text"].as_str()?.split_once('+').map_or(0, |(_, edit)| edit.parse().unwrap_or(0)))
}

fn has_reaction(event: &Value, user: &str) -> bool {
    event["reactions"].to_string().contains(user) || event["reactions"][0]["count"].as_u64() > Some(0)
}

/// A log as a node returns it.
pub(crate) struct Read {
    pub(crate) epoch: String,
    pub(crate) first: u64,
    pub(crate) head: u64,
    pub(crate) entries: Vec<StoredMessage>,
    /// The messages in their present form.
    pub(crate) messages: BTreeMap<u64, Value>,
}

/// The place of a reader of one room on one node: it takes each entry once and in order, as a chat does.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) epoch: String,
    /// The position up to which it has all entries.
    pub(crate) read: u64,
    /// The highest position of which it was told.
    pub(crate) told: u64,
}

/// A reader, and the signal that there is more to read.
#[derive(Default)]
pub(crate) struct SharedReader {
    pub(crate) reader: Mutex<Reader>,
    pub(crate) more: Notify,
}

impl SharedReader {
    /// Takes a report of a node.
    pub(crate) fn take(&self, history: &SharedHistory, (node, room): (usize, usize), commit: Commit<'_>) {
        let (mut history, mut reader) = (history.lock(), self.reader.lock());
        history.counts.reports += 1;
        match commit {
            Commit::Entry { epoch, stored } => {
                let log = (room, epoch.to_owned());
                history.note((node, &log, stored.seq));
                history.see(node, &log, stored.seq, &identity(stored));
                reader.begin(epoch);
                if stored.seq == reader.read + 1 {
                    reader.read += 1;
                }
                reader.told = reader.told.max(stored.seq);
            }
            Commit::Head { epoch, head } => {
                history.note((node, room, epoch, head));
                reader.begin(epoch);
                reader.told = reader.told.max(head);
            }
            Commit::Renewed(bounds) => {
                history.counts.renewals += 1;
                history.note(("renewed", node, room, &bounds.epoch, bounds.head));
                if !history.may_lose {
                    history.violate(format!("node {node} has renewed room {room}, and nothing was lost"));
                }
                *reader = Reader { epoch: bounds.epoch.clone(), read: 0, told: bounds.head };
            }
            _ => {}
        }
        if reader.read < reader.told {
            self.more.notify_one();
        }
    }
}

impl Reader {
    /// Begins with the first report of a room.
    fn begin(&mut self, epoch: &str) {
        if self.epoch.is_empty() {
            epoch.clone_into(&mut self.epoch);
        }
    }
}
