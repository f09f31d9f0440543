//! The lines of a room in an export.

use std::sync::Arc;

use chat_core::{Event, StoredMessage, UserKey};
use chat_proto::ExportLine;

use crate::MoveError;
use crate::life::Life;
use crate::record::{Content, Entry, MessageState, Purge, user_key};
use crate::users::Users;

use super::fold::FoundStates;
use super::read::Wanted;
use super::rules::{NotLoaded, StoredRules};
use super::stage::unix_millis;
use super::{SharedRoom, Tail, View};

/// The tries to read a room that nobody writes to meanwhile.
const TRIES: u32 = 8;

/// The positions that are read at a time.
const CHUNK: u64 = 1_024;

/// The lines of a room that come after its entries.
#[derive(Default)]
struct Later {
    reactions: Vec<ExportLine>,
    keys: Vec<ExportLine>,
}

impl SharedRoom {
    /// Returns the lines of the room, as they were at one moment.
    pub(crate) async fn export(&self, users: &Users) -> Result<Vec<ExportLine>, MoveError> {
        Ok(self.at_one_moment(users).await?.1)
    }

    /// Returns the lines of the room for an import, which cannot continue a purge.
    pub(crate) async fn export_complete(&self, users: &Users) -> Result<Vec<ExportLine>, MoveError> {
        let (tail, lines) = self.at_one_moment(users).await?;
        if tail.purges.iter().any(|purge| has_messages(purge, &lines)) {
            return Err(MoveError::Purging(self.name.clone()));
        }
        Ok(lines)
    }

    async fn at_one_moment(&self, users: &Users) -> Result<(Tail, Vec<ExportLine>), MoveError> {
        let mut view = self.look().await?;
        for _ in 0..TRIES {
            let lines = self.lines(&view, users).await?;
            let next = self.look().await?;
            if next.tail.place == view.tail.place {
                return Ok((next.tail, lines));
            }
            view = next;
        }
        Err(MoveError::Busy(self.name.clone()))
    }

    /// Returns the lines of the room at this end of the log. The states of messages are the present ones.
    async fn lines(&self, View { life, tail }: &View, users: &Users) -> Result<Vec<ExportLine>, MoveError> {
        let (room, first, governed) = (&self.name, tail.first(), tail.ruled > 0);
        let mut lines = vec![ExportLine::Room { room: room.clone(), seq: tail.head, first, governed }];
        match self.rules(life, tail).await {
            Ok(rules) => rules.iter().for_each(|rules| self.add_rules(rules, &mut lines)),
            Err(NotLoaded::Unavailable(unavailable)) => return Err(unavailable.into()),
            Err(NotLoaded::Damaged(_)) => return Err(MoveError::Damaged(room.clone())),
        }
        let (mut later, mut next) = (Later::default(), first);
        while next <= tail.head {
            let to = next.saturating_add(CHUNK).min(tail.head + 1);
            next = self.add_entries((life, tail), (next, to), &mut lines, &mut later).await?;
        }
        lines.append(&mut later.reactions);
        lines.append(&mut later.keys);
        for ((guest, user), seq) in users.markers(&self.token, &life.epoch(room)).await? {
            let seq = seq.min(tail.head);
            if seq > 0 {
                lines.push(ExportLine::Marker { room: room.clone(), user, guest, seq });
            }
        }
        Ok(lines)
    }

    fn add_rules(&self, rules: &StoredRules, lines: &mut Vec<ExportLine>) {
        let room = || self.name.clone();
        let governance = &rules.governance;
        lines.extend(
            governance.stored_rules().map(|rules| ExportLine::Rules { room: room(), rules: rules.clone() }),
        );
        lines.extend(governance.standings().map(|(user, standing)| ExportLine::Standing {
            room: room(),
            user: user.to_owned(),
            role: standing.role,
            restricted: standing.restriction,
        }));
    }

    /// Adds the entries of some positions. Returns the position after them.
    async fn add_entries(
        &self,
        (life, tail): (&Arc<Life>, &Tail),
        (from, to): (u64, u64),
        lines: &mut Vec<ExportLine>,
        later: &mut Later,
    ) -> Result<u64, MoveError> {
        let entries = self.collect(life, &Wanted::all(from, to)).await?.entries;
        let messages = entries.iter().filter(|entry| entry.is_message()).map(|entry| entry.seq);
        let found = if tail.has_states() {
            self.states(life, messages, tail.place).await?
        } else {
            FoundStates::default()
        };
        let mut next = from;
        let lost = |seq: u64, end: u64| {
            (seq < end).then(|| ExportLine::Lost { room: self.name.clone(), seq, to: end - 1 })
        };
        for entry in &entries {
            let state = found.states.get(&entry.seq).map(|(_, state)| state.as_ref());
            let Some(line) = self.entry_line(entry, state) else { continue };
            lines.extend(lost(next, entry.seq));
            lines.push(line);
            next = entry.seq + 1;
            if let Some(state) = state.flatten() {
                later.reactions.extend(self.reaction_lines(entry.seq, state));
            }
            later.keys.extend(self.key_line(entry));
        }
        lines.extend(lost(next, to));
        Ok(to)
    }

    /// Returns the line of an entry, or `None` if it is damaged. `state` is that of a message that has one.
    fn entry_line(&self, entry: &Entry, state: Option<Option<&MessageState>>) -> Option<ExportLine> {
        let event = |stored: StoredMessage, guest| {
            Some(ExportLine::Event { event: Box::new(stored.event().ok()?), guest })
        };
        match (&entry.content, state) {
            (Content::Message { .. }, Some(state)) => {
                let state = state?;
                event(state.stored(&self.name, entry.seq), state.is_of_guest())
            }
            (Content::Message { is_guest, .. }, None) => event(entry.without_state(&self.name), *is_guest),
            (Content::Act { .. }, _) => event(entry.without_state(&self.name), false),
            (Content::Change(change), _) => Some(ExportLine::Changed {
                room: self.name.clone(),
                seq: entry.seq,
                at: change.at,
                by: change.by.clone(),
                guest: change.by.is_guest(),
                target: change.target,
                what: change.kind,
            }),
        }
    }

    /// Returns the lines of the reactions to a message, in the order in which they were placed.
    fn reaction_lines(&self, target: u64, state: &MessageState) -> Vec<ExportLine> {
        let mut placed: Vec<_> = state.reactions().placed().collect();
        placed.sort_by_key(|(.., seq)| *seq);
        let line = |(reaction, user, seq): (&str, &chat_core::User, u64)| ExportLine::Reaction {
            room: self.name.clone(),
            target,
            seq,
            reaction: reaction.to_owned(),
            guest: user.is_guest(),
            user: user.clone(),
        };
        placed.into_iter().map(line).collect()
    }

    /// Returns the line of the key of an entry, if it has one that is remembered.
    fn key_line(&self, entry: &Entry) -> Option<ExportLine> {
        let key = entry.key.as_ref()?;
        let user = author(entry)?;
        let age = unix_millis().saturating_sub(entry.at);
        let window = u64::try_from(self.limits.rooms.key_window.as_millis()).unwrap_or(u64::MAX);
        (age < window).then(|| ExportLine::Key {
            room: self.name.clone(),
            seq: entry.seq,
            at: entry.at,
            user: user.id().to_owned(),
            guest: user.is_guest(),
            key: key.key_digest(&user),
            content: key.digest,
            age_ms: age,
        })
    }
}

/// Returns true if messages are left that a purge is to delete. The last entry of a room also names a purge that has
/// found no further messages.
fn has_messages(purge: &Purge, lines: &[ExportLine]) -> bool {
    let Some(act) = purge.act() else { return true };
    let Some(user) = act.act.target() else { return false };
    lines.iter().any(|line| {
        let ExportLine::Event { event, .. } = line else { return false };
        let Event::Message { seq, user: author, folded, .. } = &**event else { return false };
        let is_deleted = folded.as_ref().is_some_and(|folded| folded.deleted.is_some());
        !is_deleted && author.id() == user.id() && (purge.after + 1..=purge.up_to).contains(seq)
    })
}

/// Returns the user who has added an entry.
fn author(entry: &Entry) -> Option<UserKey> {
    match &entry.content {
        Content::Message { frame, is_guest, .. } => {
            let event = StoredMessage::new(entry.seq, frame.clone()).event().ok()?;
            match event {
                Event::Message { user, .. } => user_key(*is_guest, user.id()),
                _ => None,
            }
        }
        Content::Change(change) => Some(change.by.key()),
        Content::Act { .. } => None,
    }
}
