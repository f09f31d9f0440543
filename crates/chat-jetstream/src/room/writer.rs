use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{ChangeError, Unavailable};
use metrics::histogram;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::life::{Life, random_number};
use crate::link::{AppendRefused, From};
use crate::node::{MAX_AHEAD, ValidPlaces};
use crate::record::{MAX_BYTES, MAX_ENTRIES, Record};
use crate::stats::{COMMIT_SECONDS, count};

use super::erase::RETRY;
use super::job::{Job, expire, refuse};
use super::keys::KeyRecords;
use super::load::{Loaded, Loading};
use super::rules::NotLoaded;
use super::stage::{Answer, Applied, LogLimits, MAX_TARGETS, NewRules, Staged};
use super::{SharedRoom, States, Tail, View};

/// The time after which a writer without an append ends. The node keeps its log, as far as there is memory for it.
/// In the schedules of the tests, writers end often.
const IDLE: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(60) };

/// The pause after a try that failed. Each further one is longer, up to the second value.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The positions by which the oldest one moves before the records below it are removed from the stream.
const TRIM_STEP: u64 = 256;

/// The task that appends to one room on this node. Writers of other nodes may append to it too: of two records for one
/// place, the stream takes one.
pub(super) struct Writer {
    pub(super) room: Arc<SharedRoom>,
    jobs: mpsc::Receiver<Job>,
    /// `None` while the end of the log and its keys are not known.
    pub(super) log: Option<Applied>,
    /// The bytes of the log that the node counts.
    pub(super) counted: usize,
}

/// The result of a try to store a record.
enum Tried {
    Stored(u64),
    /// Not stored, or nobody waits for it any more. If it is stored later, the next record is not.
    Again,
    Rejected(Unavailable),
}

impl Writer {
    pub(super) fn new(room: Arc<SharedRoom>, jobs: mpsc::Receiver<Job>) -> Self {
        Self { room, jobs, log: None, counted: 0 }
    }

    pub(super) async fn run(mut self) {
        loop {
            let Ok(job) = timeout(IDLE, self.jobs.recv()).await else {
                // Further messages start another writer. Those that wait are stored before this one ends.
                self.jobs.close();
                continue;
            };
            let Some(job) = job else { break };
            let mut bytes = job.work.bytes();
            let mut batch = vec![job];
            while batch.len() < MAX_ENTRIES
                && bytes < MAX_BYTES
                && let Ok(job) = self.jobs.try_recv()
            {
                bytes += job.work.bytes();
                batch.push(job);
            }
            self.store(batch).await;
            self.trim();
            self.count();
        }
        self.leave();
    }

    /// Stores messages, changes and acts, in one record unless they are too large, and answers each.
    async fn store(&mut self, mut batch: Vec<Job>) {
        let mut failures = 0;
        loop {
            batch = expire(batch);
            if batch.is_empty() {
                return;
            }
            if let Err(unavailable) = self.room.node.connection.wait().await {
                return refuse(batch, &unavailable);
            }
            if self.catch_up(None).await.is_err() || self.look_for_targets(&batch).await.is_err() {
                pause(&mut failures).await;
                continue;
            }
            let places = self.log.as_ref().map(|log| self.room.node.places(&log.life));
            let loaded = match self.load_targets(&batch).await {
                Ok(loaded) => loaded,
                Err(NotLoaded::Damaged(unavailable)) => return refuse(batch, &unavailable),
                Err(NotLoaded::Unavailable(_)) => {
                    pause(&mut failures).await;
                    continue;
                }
            };
            let Some(mut staged) = self.stage(&batch, &loaded) else { continue };
            if staged.record.entries.is_empty() {
                if staged.answers.is_empty() {
                    // The log has changed since.
                    pause(&mut failures).await;
                } else if staged.answers.iter().any(Answer::is_refusal) && !self.is_at_end().await {
                    // Another node may have stored what allows it.
                    pause(&mut failures).await;
                    continue;
                }
                self.answer(&mut batch, staged.answers);
                continue;
            }
            let count = staged.answers.len();
            match self.publish(&mut staged, &batch[..count], &mut failures).await {
                Tried::Stored(place) => {
                    self.room.node.counters.stored(staged.record.entries.len());
                    staged.record.place = place;
                    let rules = staged.rules.take();
                    if let Some(log) = &mut self.log {
                        if let Some(rules) = &rules {
                            self.room.state.lock().note_rules(&log.life, &rules.stored);
                        }
                        if log.tail.place < place {
                            log.apply(Some(&staged.record));
                        }
                        self.room.hear(&log.life, &staged.record, &staged.states);
                        if log.life.is_lost() {
                            self.log = None;
                            refuse(batch.drain(..count), &lost());
                            continue;
                        }
                    }
                    self.answer(&mut batch, staged.answers);
                    if let Some(places) = &places {
                        self.remove_states(places, loaded, &staged.states).await;
                    }
                    if let Some(rules) = rules {
                        self.remove_rules(rules).await;
                    }
                    // Another node may have ended before it has completed a deletion.
                    self.room.resume_erasure(RETRY.0);
                    failures = 0;
                }
                Tried::Rejected(unavailable) => refuse(batch.drain(..count), &unavailable),
                Tried::Again => pause(&mut failures).await,
            }
        }
    }

    /// Asks for the end of the log, if a message is named that this node has not heard of.
    async fn look_for_targets(&mut self, batch: &[Job]) -> Result<(), Unavailable> {
        let head = self.log.as_ref().map_or(0, |log| log.tail.head);
        if batch.iter().flat_map(|job| job.work.targets()).all(|target| target <= head) {
            return Ok(());
        }
        self.room.look().await?;
        self.catch_up(None).await
    }

    /// Reads the messages that the first works name, as many as one record may change.
    async fn load_targets(&self, batch: &[Job]) -> Result<Loaded, NotLoaded> {
        let Some(log) = &self.log else { return Err(lost().into()) };
        let (mut targets, mut messages) = (BTreeSet::new(), Vec::new());
        for job in batch {
            let new = job.work.targets().filter(|target| !targets.contains(target)).count();
            if targets.len() + new > MAX_TARGETS {
                break;
            }
            targets.extend(job.work.targets());
            messages.extend(job.work.messages());
        }
        let has_deletion = batch.iter().any(|job| job.work.is_deletion());
        self.room.load(&log.life, &log.tail, (targets, messages), has_deletion).await
    }

    /// Removes the states that were replaced.
    async fn remove_states(&self, places: &ValidPlaces, loaded: Loaded, stored: &States) {
        for (seq, place) in loaded.places {
            let was_deleted =
                matches!(loaded.targets.get(&seq), Some(Loading::Known(state)) if state.is_deleted());
            // A deletion removes the states before it itself.
            if stored.get(&seq).is_some_and(|state| was_deleted || !state.is_deleted()) {
                // If it fails, a deletion removes it.
                self.room.node.remove_later(places, place).await;
            }
        }
    }

    /// Removes the parts of the rules that were replaced.
    async fn remove_rules(&self, rules: NewRules) {
        let Some(log) = &self.log else { return };
        for (part, _) in rules.parts {
            // If it fails, the next act removes them too.
            self.room.node.link.keep_last(&log.life.rules_subject(&self.room.token, part)).await;
        }
    }

    /// Returns true if the leader has no record that this writer does not know.
    async fn is_at_end(&self) -> bool {
        let (Some(log), Ok(view)) = (&self.log, self.room.look().await) else { return false };
        Arc::ptr_eq(&view.life, &log.life) && view.tail.place == log.tail.place
    }

    fn stage(&mut self, batch: &[Job], loaded: &Loaded) -> Option<Staged> {
        let SharedRoom { name, limits, node, .. } = &*self.room;
        let log = LogLimits {
            max_keys: node.max_keys_per_user,
            retain_messages: node.retain_messages,
            max_bytes: MAX_BYTES.min(node.link.max_payload()),
            max_state: node.link.max_payload(),
            latest: node.latest(),
        };
        let unfinished = self.room.state.lock().unfinished();
        let works = batch.iter().map(|job| &job.work);
        Some(self.log.as_mut()?.stage(name, works, (loaded, unfinished), limits, log))
    }

    /// Answers the first jobs, and removes them. The answer to a deletion comes when the text is erased.
    fn answer(&self, batch: &mut Vec<Job>, answers: Vec<Answer>) {
        let (mut erasures, mut waiting) = (Vec::new(), Vec::new());
        for (job, Answer { result, erasing }) in batch.drain(..answers.len()).zip(answers) {
            if let Some(erasure) = erasing {
                erasures.push(erasure);
                waiting.push((job, result));
            } else {
                let _gone = job.answer.send(result);
            }
        }
        let Some(log) = self.log.as_ref().filter(|_| !erasures.is_empty()) else { return };
        let (room, life) = (Arc::clone(&self.room), Arc::clone(&log.life));
        tokio::spawn(async move {
            let erased = room.erase(&life, &erasures).await;
            for ((job, result), erased) in waiting.into_iter().zip(erased) {
                let _gone = job.answer.send(erased.map_err(ChangeError::from).and(result));
            }
            // Those that have failed are tried again.
            room.resume_erasure(RETRY.0);
        });
    }

    /// Stores a record. A record without an acknowledgement is sent again as it is: the stream takes it once at most,
    /// because it is stored only after the record that is the last one now.
    async fn publish(&mut self, staged: &mut Staged, batch: &[Job], failures: &mut u32) -> Tried {
        // An older copy of the stream may have another record at the place of the last one.
        if !self.room.node.compare().await {
            return Tried::Rejected(Unavailable::new(
                "the stream was not compared since the connection was lost",
            ));
        }
        // The comparison may have taken long.
        if !has_time(batch) {
            return Tried::Again;
        }
        let Some(log) = &self.log else { return Tried::Again };
        if log.life.is_lost() || !Arc::ptr_eq(&log.life, &self.room.node.life()) {
            self.log = None;
            return Tried::Rejected(lost());
        }
        // The record has been made for this end of the log, and must not be stored after another one.
        let (life, last) = (Arc::clone(&log.life), log.tail.place);
        loop {
            let highest = life.highest();
            let subject = life.subject(&self.room.token);
            let token = &self.room.token;
            // The nodes expect the states right before the record.
            let rules = staged.rules.iter().flat_map(|rules| &rules.parts);
            let rules = rules.map(|(part, bytes)| (life.rules_subject(token, part), bytes.clone()));
            let blocks = staged.blocks.iter();
            let blocks =
                blocks.map(|(root, block)| (life.block_subject(token, root, block.number), block.encode()));
            let states =
                staged.states.iter().map(|(seq, state)| (life.state_subject(token, seq), state.encode()));
            let parts: Vec<_> = rules.chain(blocks).chain(states).collect();
            let start = Instant::now();
            match self.room.node.link.append(&subject, last, staged.bytes.clone(), &parts).await {
                Ok(_) if life.is_lost() => {
                    self.log = None;
                    return Tried::Rejected(lost());
                }
                Ok(place) if place > highest => {
                    histogram!(COMMIT_SECONDS).record(start.elapsed().as_secs_f64());
                    return Tried::Stored(place);
                }
                Ok(_) => {
                    // A place that was given out before: the stream has lost its end.
                    life.lose();
                    self.room.node.nudge();
                    self.log = None;
                    return Tried::Again;
                }
                Err(AppendRefused::Rejected(error)) => return Tried::Rejected(error.into()),
                Err(AppendRefused::NoLeader) => self.room.node.nudge(),
                Err(AppendRefused::WrongSequence) => count(&self.room.node.counters.conflicts, 1),
                Err(AppendRefused::Unknown) => {}
            }
            let mut place = None;
            // If it fails, it may have met the record before.
            let _caught_up = self.catch_up(Some((staged.record.id, &mut place))).await;
            if let Some(place) = place {
                return Tried::Stored(place);
            }
            if self.log.as_ref().is_none_or(|log| log.tail.place != last) {
                return Tried::Again;
            }
            pause(failures).await;
            if !has_time(batch) || self.room.node.connection.wait().await.is_err() {
                return Tried::Again;
            }
            if !Arc::ptr_eq(&life, &self.room.known().life) {
                self.log = None;
                return Tried::Again;
            }
        }
    }

    /// Applies the records that other nodes have stored. With the id of an own record, asks for the end of the log
    /// before, unless a later record is known, and sets the place of that record when it meets it.
    async fn catch_up(&mut self, mut own: Option<(u64, &mut Option<u64>)>) -> Result<(), Unavailable> {
        if self.log.is_none() {
            self.resume();
        }
        let known = self.room.known();
        if known.life.is_lost() {
            self.log = None;
            return Err(lost());
        }
        let losses = self.room.node.connection.losses();
        // If there is a later record, it is the own one, or that can be stored no more. Then the leader, who may not
        // answer now, need not be asked.
        let is_current = |log: &Applied| {
            Arc::ptr_eq(&log.life, &known.life)
                && log.losses == losses
                && (own.is_none() || known.tail.place > log.tail.place)
        };
        let View { life, tail } =
            if self.log.as_ref().is_some_and(is_current) { known } else { self.room.look().await? };
        let Some(log) = self.log.as_mut().filter(|log| Arc::ptr_eq(&log.life, &life)) else {
            let log = self.load_keys(life, tail).await?;
            self.log = Some(Applied { losses, ..log });
            self.room.resume_erasure(Duration::ZERO);
            return Ok(());
        };
        log.losses = losses;
        let (from, next) = (From::Place(log.tail.place + 1), log.tail.head + 1);
        let mut is_continued = true;
        let records = |record: Option<&Record>| {
            is_continued &= record.is_none_or(|record| !log.tail.excludes(record));
            if let (Some((id, place)), Some(record)) = (&mut own, record)
                && record.id == *id
                && record.trim.is_none()
            {
                **place = Some(record.place);
            }
            log.apply(record);
        };
        let read = self.room.each_record(&life, from, Some(next), tail.place, records).await;
        if is_continued {
            return read;
        }
        // The stream has lost its end while nobody wrote to the room here.
        self.room.contradict(&life);
        self.log = None;
        if let Some((_, place)) = own {
            *place = None;
        }
        Err(lost())
    }

    /// Reads the keys of a room that are within the key window.
    async fn load_keys(&self, life: Arc<Life>, tail: Tail) -> Result<Applied, Unavailable> {
        let (place, at) = (tail.place, tail.at);
        let mut log = Applied::new(Arc::clone(&life), tail);
        let start = self.window_start();
        if place > 0 && at >= start {
            count(&self.room.node.counters.key_loads, 1);
            let KeyRecords { copies, from, next } = self.room.key_records(&life, start, place).await?;
            copies.into_iter().rev().for_each(|copy| log.learn(copy));
            self.room.each_record(&life, from, next, place, |record| log.learn_keys(record)).await?;
        }
        Ok(log)
    }

    /// Returns the time before which no record with a key that is remembered was stored. An entry has the time of its
    /// node, which may be ahead of that at which the stream has stored it.
    fn window_start(&self) -> u64 {
        let window = self.room.limits.rooms.key_window;
        self.before_now(window.saturating_add(window.min(MAX_AHEAD)))
    }

    /// Returns the time before which no key counts any more.
    pub(super) fn oldest_key(&self) -> u64 {
        self.before_now(self.room.limits.rooms.key_window)
    }

    /// Returns the time that was this long ago, in milliseconds since the Unix epoch.
    fn before_now(&self, time: Duration) -> u64 {
        self.room.node.now().saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// Starts to remove records from the stream that cannot be read any more and have no keys that are remembered,
    /// unless that goes on.
    fn trim(&mut self) {
        let Some(log) = &mut self.log else { return };
        let (life, oldest) = (Arc::clone(&log.life), log.tail.oldest);
        if oldest < log.trimmed.max(1) + TRIM_STEP {
            return;
        }
        let Ok(turn) = Arc::clone(&self.room.trimming).try_lock_owned() else { return };
        log.trimmed = oldest;
        let (room, time) = (Arc::clone(&self.room), self.window_start());
        tokio::spawn(async move {
            // If it fails, the next step removes them too.
            let _removed_later = room.remove_before(&life, oldest, time).await;
            drop(turn);
        });
    }
}

/// Returns the answer of a log that has lost its end. A new epoch starts soon.
fn lost() -> Unavailable {
    Unavailable::new("the log has lost its end")
}

/// Returns true if somebody still waits for one of these.
fn has_time(batch: &[Job]) -> bool {
    batch.iter().any(|job| job.until > Instant::now() && !job.answer.is_closed())
}

/// Waits before the next try, with a random part, so that writers of several nodes do not meet again.
async fn pause(failures: &mut u32) {
    let (first, longest) = PAUSES;
    let longest = first.saturating_mul(1 << (*failures).min(8)).min(longest);
    *failures += 1;
    let part = u32::try_from(random_number() % 1_000).unwrap_or_default();
    sleep(longest / 2 + longest * part / 2_000).await;
}
