use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chat_core::{Governance, Page, Role, RoomRules, Standing, Unavailable, UserKey};
use tokio::time::Instant;

use crate::life::Life;
use crate::record::{RulesPart, Unreadable};

use super::read::{MAX_LAG, MAX_PAGE, Wanted, wait_for_replica};
use super::{SharedRoom, Tail, View};

/// The standings above whose number they are in parts of their own, so that an act does not store all of them again.
const MAX_INLINE: usize = 64;

/// The parts that have the standings of a room with more. The first part has the number 0.
const PARTS: u8 = 64;

/// The bytes of a standing beside its id, at most.
const STANDING_BYTES: usize = 128;

/// The positions in which acts are looked for at a time.
const CHUNK: u64 = 512;

/// The rules of a room and the standings of its users, as the stream has them.
#[derive(Clone, Debug)]
pub(super) struct StoredRules {
    pub(super) governance: Governance,
    /// The position of the newest act in it.
    pub(super) seq: u64,
    /// The newest act in each part. Empty while the first part has all standings.
    parts: BTreeMap<u8, u64>,
}

/// The reason why what an entry is decided by is not loaded.
#[derive(Debug)]
pub(super) enum NotLoaded {
    /// It cannot be read now.
    Unavailable(Unavailable),
    /// The leader lacks a part, or has it damaged. Another try does not help.
    Damaged(Unavailable),
}

impl From<Unavailable> for NotLoaded {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

impl From<NotLoaded> for Unavailable {
    fn from(error: NotLoaded) -> Self {
        let (NotLoaded::Unavailable(unavailable) | NotLoaded::Damaged(unavailable)) = error;
        unavailable
    }
}

impl StoredRules {
    /// Returns the rules after the act at the position `seq`, and the parts that are stored together with it.
    pub(super) fn after(before: Option<&Self>, governance: Governance, seq: u64) -> (Self, Vec<(u8, Bytes)>) {
        let mut parts = before.map(|before| before.parts.clone()).unwrap_or_default();
        let was_split = !parts.is_empty();
        let mut first = RulesPart { seq, rules: governance.stored_rules().cloned(), ..RulesPart::default() };
        let mut stored = Vec::new();
        if was_split || is_split(&governance) {
            let old = before.filter(|_| was_split).map(|before| by_part(&before.governance));
            let (old, mut new) = (old.unwrap_or_default(), by_part(&governance));
            for part in 1..=PARTS {
                if old.get(&part) == new.get(&part) {
                    continue;
                }
                parts.insert(part, seq);
                let standings = new.remove(&part).unwrap_or_default();
                stored.push((part, RulesPart { seq, standings, ..RulesPart::default() }.encode()));
            }
            first.parts.clone_from(&parts);
        } else {
            first.standings = governance.standings().map(|(id, held)| (id.to_owned(), held)).collect();
        }
        stored.push((0, first.encode()));
        (Self { governance, seq, parts }, stored)
    }

    /// Returns the rules that these parts have. The parts that are not there are those of the rules `before`.
    fn merge(
        before: Option<&Self>,
        room: &SharedRoom,
        first: RulesPart,
        changed: Vec<(u8, RulesPart)>,
    ) -> Self {
        let RulesPart { seq, rules, mut standings, mut parts } = first;
        let is_replaced = |id: &str| changed.iter().any(|(number, _)| *number == part(id));
        if !parts.is_empty()
            && let Some(before) = before.filter(|before| !before.parts.is_empty())
        {
            let kept = before.governance.standings().filter(|(id, _)| !is_replaced(id));
            standings.extend(kept.map(|(id, held)| (id.to_owned(), held)));
        }
        for (number, part) in changed {
            standings.extend(part.standings);
            // A copy may have a later one than the first part says.
            parts.insert(number, part.seq);
        }
        Self { governance: Governance::restore(room.name.clone(), rules, standings), seq, parts }
    }
}

/// Returns true if there is space in the stream for a standing of the user with this id, too.
pub(super) fn has_space(governance: &Governance, id: &str, max_bytes: usize) -> bool {
    let is_split = is_split(governance);
    let together = governance.standings().filter(|(other, _)| !is_split || part(other) == part(id));
    let bytes: usize = together.map(|(other, _)| bytes_of(other)).sum();
    bytes + bytes_of(id) <= max_bytes
}

/// Returns the bytes that a standing has in a part at most.
fn bytes_of(id: &str) -> usize {
    // Each byte of an id may be escaped.
    2 * id.len() + STANDING_BYTES
}

fn is_split(governance: &Governance) -> bool {
    governance.standings().len() > MAX_INLINE
}

/// Returns the part with the standing of a user, in a room with many.
fn part(id: &str) -> u8 {
    let part = crc32fast::hash(id.as_bytes()) % u32::from(PARTS) + 1;
    u8::try_from(part).unwrap_or(PARTS)
}

fn by_part(governance: &Governance) -> BTreeMap<u8, BTreeMap<String, Standing>> {
    let mut parts: BTreeMap<u8, BTreeMap<String, Standing>> = BTreeMap::new();
    for (id, standing) in governance.standings() {
        parts.entry(part(id)).or_default().insert(id.to_owned(), standing);
    }
    parts
}

impl SharedRoom {
    /// Returns the rules of the room, and the standing that holds for a user.
    pub(crate) async fn standing(&self, user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        // An act on another node holds here at once.
        let View { life, tail } = self.look().await?;
        Ok(match self.rules(&life, &tail).await? {
            Some(stored) => {
                let governance = &stored.governance;
                (governance.rules().into_owned(), governance.standing(user, Role::None))
            }
            None => (RoomRules::unset(&self.name), Standing::default()),
        })
    }

    /// Returns the rules of the room at the end of the log, or later. `None` if the log has no act.
    pub(super) async fn rules(
        &self,
        life: &Arc<Life>,
        tail: &Tail,
    ) -> Result<Option<Arc<StoredRules>>, NotLoaded> {
        if tail.ruled == 0 {
            return Ok(None);
        }
        let known = || self.state.lock().rules(life);
        let is_present = |known: &Arc<StoredRules>| known.seq >= tail.ruled;
        if let Some(known) = known().filter(is_present) {
            return Ok(Some(known));
        }
        // Of many callers, one reads them.
        let _turn = self.loading_rules.lock().await;
        let known = known();
        if known.as_ref().is_some_and(is_present) {
            return Ok(known);
        }
        let first = BTreeMap::from([(0, tail.ruled)]);
        let Some((_, first)) = self.rules_parts(life, &first, tail.place).await?.pop() else {
            return Err(self.damaged(tail.place));
        };
        let mut wanted = first.parts.clone();
        if let Some(known) = &known {
            wanted.retain(|part, seq| known.parts.get(part).is_none_or(|known| *known < *seq));
        }
        let changed = self.rules_parts(life, &wanted, tail.place).await?;
        let loaded = Arc::new(StoredRules::merge(known.as_deref(), self, first, changed));
        self.state.lock().note_rules(life, &loaded);
        Ok(Some(loaded))
    }

    /// Reads parts of the rules, each with this act or a later one.
    async fn rules_parts(
        &self,
        life: &Arc<Life>,
        wanted: &BTreeMap<u8, u64>,
        least: u64,
    ) -> Result<Vec<(u8, RulesPart)>, NotLoaded> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let subject = |part: &u8| life.rules_subject(&self.token, part);
        let (known, until) = (life.subject(&self.token), Instant::now() + MAX_LAG);
        let messages = loop {
            match self
                .node
                .link
                .last_of(wanted.keys().map(subject).collect(), &known, least)
                .await
                .map_err(Unavailable::from)?
            {
                Some(messages) => break messages,
                None => wait_for_replica(until).await?,
            }
        };
        let mut found: BTreeMap<_, _> =
            messages.into_iter().map(|message| (message.subject, message.payload)).collect();
        let mut parts = Vec::with_capacity(wanted.len());
        for (number, seq) in wanted {
            let subject = subject(number);
            let is_wanted = |part: &RulesPart| part.seq >= *seq;
            let mut part = found.remove(&subject).and_then(RulesPart::decode).filter(is_wanted);
            if part.is_none() {
                // The copy lacks it, or has it damaged.
                let last = self.node.link.last(&subject).await.map_err(Unavailable::from)?;
                let place = last.as_ref().map_or(least, |(place, _)| *place);
                part = last.and_then(|(_, bytes)| RulesPart::decode(bytes)).filter(is_wanted);
                if part.is_none() {
                    return Err(self.damaged(place));
                }
            }
            parts.extend(part.map(|part| (*number, part)));
        }
        Ok(parts)
    }

    /// Counts a part of the rules that the leader lacks or has damaged. Nobody gets a right from it.
    fn damaged(&self, place: u64) -> NotLoaded {
        // The stream may have lost its end.
        self.node.nudge();
        NotLoaded::Damaged(self.node.unreadable(Unreadable { place }))
    }

    /// Reads acts, oldest first. It reads all entries between them.
    pub(super) async fn page_acts(&self, after: u64, limit: usize) -> Result<Page, Unavailable> {
        let View { life, tail } = self.look().await?;
        let (limit, max_bytes) = (limit.clamp(1, MAX_PAGE), self.limits.wire.max_batch_bytes);
        let (mut acts, mut bytes, mut more) = (Vec::new(), 0, false);
        let mut from = after.saturating_add(1).max(tail.first());
        while from <= tail.acted && !more {
            let to = from.saturating_add(CHUNK).min(tail.acted + 1);
            let entries = self.collect(&life, &Wanted::all(from, to)).await?.entries;
            for act in entries.iter().filter(|entry| entry.is_act()) {
                let stored = act.without_state(&self.name);
                bytes += stored.frame.len();
                if acts.len() >= limit || (bytes > max_bytes && !acts.is_empty()) {
                    more = true;
                    break;
                }
                acts.push(stored);
            }
            from = to;
        }
        Ok(Page::new(life.epoch(&self.name), acts).with_more(more))
    }
}
