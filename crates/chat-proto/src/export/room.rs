use std::collections::BTreeMap;

use super::ExportLine;
use crate::{ChangeKind, Event, MessageChanges, ReactionSets};

/// The messages of one room of an export, and what its other lines say about them. A store that keeps the state of a
/// message builds it from this.
///
/// It takes the lines of the room in their order, and checks that they do not contradict each other.
///
/// # Examples
///
/// ```
/// use chat_proto::{ExportLine, ExportedRoom};
///
/// let mut room = ExportedRoom::new(1);
/// room.add(&ExportLine::parse(
///     r#"{"type":"message","room":"lobby","seq":1,"user":{"id":"7","name":"Ann"},"at":1,"body":{"text":"hi"},"rev":2,
///         "edited":{"at":2}}"#,
/// )?)?;
/// room.add(&ExportLine::parse(
///     r#"{"type":"changed","room":"lobby","seq":2,"at":2,"by":{"id":"7","name":"Ann"},"target":1,"what":"edited"}"#,
/// )?)?;
/// assert_eq!(room.finish()?[&1].changes.edit, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ExportedRoom {
    first: u64,
    /// The kinds of the entries, from the first one on.
    kinds: Vec<Kind>,
    has_lost: bool,
    messages: BTreeMap<u64, ExportedMessage>,
}

/// The state of a message of an export.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExportedMessage {
    /// The folded state, and the newest entry of each kind.
    pub changes: MessageChanges,
    /// The reactions, and the users who have placed them.
    pub reactions: ReactionSets,
    /// The messages of the thread that begins with the message, oldest first.
    pub replies: Vec<u64>,
    /// The user of the message, if it is deleted.
    author: Option<String>,
}

/// The reason why a room of an export contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the texts of the errors say it")]
pub enum Contradiction {
    #[error("its `target` is no message")]
    NoTarget,
    #[error("its `thread` is no message with which a thread begins")]
    NoRoot,
    #[error("an earlier line of the room has said the same")]
    Twice,
    #[error("a reaction has no message with a change of its reactions")]
    NoReacted,
    #[error("message {0} has a `rev` that is not its newest change")]
    Revision(u64),
    #[error("message {0} has another state than that of its changes and reactions")]
    State(u64),
    #[error("message {0} does not count the messages of its thread")]
    Replies(u64),
    #[error("message {0} is pinned, but has no pin")]
    Pin(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A message that is in no thread.
    Root,
    /// A message of a thread.
    Reply,
    /// A change, an act, or an entry that is lost.
    Other,
}

impl ExportedRoom {
    /// Returns a room whose entries begin at the position `first`.
    pub fn new(first: u64) -> Self {
        Self { first, kinds: Vec::new(), has_lost: false, messages: BTreeMap::new() }
    }

    /// Adds a line of the room, which [`ExportReader`](super::ExportReader) has accepted.
    ///
    /// # Errors
    ///
    /// [`Contradiction`] if the line contradicts an earlier one.
    pub fn add(&mut self, line: &ExportLine) -> Result<(), Contradiction> {
        match line {
            ExportLine::Event { event, .. } => self.add_event(event),
            ExportLine::Changed { seq, target, what, .. } => {
                self.kinds.push(Kind::Other);
                self.add_change(*seq, *target, *what)
            }
            ExportLine::Lost { seq, to, .. } => {
                self.has_lost = true;
                self.kinds.extend((*seq..=*to).map(|_| Kind::Other));
                Ok(())
            }
            ExportLine::Reaction { target, seq, reaction, user, guest, .. } => {
                if *target < self.first {
                    return Ok(());
                }
                let is_known = self.has_lost;
                let message = self.messages.entry(*target).or_default();
                if message.changes.reactions == 0 && !is_known {
                    return Err(Contradiction::NoReacted);
                }
                let user = user.clone().with_guest(*guest);
                if message.reactions.contains(reaction, &user.key()) {
                    return Err(Contradiction::Twice);
                }
                let _state = message.reactions.set(reaction, &user, true, *seq, message.changes.edit);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Returns the state of each message that was changed, or that begins a thread.
    ///
    /// # Errors
    ///
    /// [`Contradiction`] if the state of a message is not that after its changes. It is not checked if entries are
    /// lost.
    pub fn finish(self) -> Result<BTreeMap<u64, ExportedMessage>, Contradiction> {
        if !self.has_lost {
            self.messages.iter().try_for_each(|(seq, message)| message.check(*seq))?;
        }
        Ok(self.messages)
    }

    fn add_event(&mut self, event: &Event) -> Result<(), Contradiction> {
        match event {
            Event::Message { seq, user, folded, links, .. } => {
                let thread = links.as_ref().and_then(|links| links.thread);
                if let Some(root) = thread.filter(|root| *root >= self.first) {
                    if !self.has_lost && self.kind(root) != Some(Kind::Root) {
                        return Err(Contradiction::NoRoot);
                    }
                    self.messages.entry(root).or_default().replies.push(*seq);
                }
                self.kinds.push(if thread.is_some() { Kind::Reply } else { Kind::Root });
                if let Some(folded) = folded {
                    let message = self.messages.entry(*seq).or_default();
                    message.author = folded.deleted.as_ref().map(|_| user.id().to_owned());
                    message.changes.folded = (**folded).clone();
                }
                Ok(())
            }
            Event::Purged { seq, user, from, to, .. } => {
                self.kinds.push(Kind::Other);
                // An earlier deletion of a message stays. A later one comes after this line.
                for message in self.messages.range_mut(*from..=*to).map(|(_, message)| message) {
                    if message.author.as_deref() == Some(user.id()) && message.changes.delete == 0 {
                        message.delete(*seq);
                    }
                }
                Ok(())
            }
            _ => {
                self.kinds.push(Kind::Other);
                Ok(())
            }
        }
    }

    fn add_change(&mut self, seq: u64, target: u64, kind: ChangeKind) -> Result<(), Contradiction> {
        if target < self.first {
            return Ok(());
        }
        let is_message = self.kind(target).is_some_and(|kind| kind != Kind::Other);
        if !is_message && !self.has_lost {
            return Err(Contradiction::NoTarget);
        }
        let message = self.messages.entry(target).or_default();
        match kind {
            ChangeKind::Edited => message.changes.edit = seq,
            ChangeKind::Reactions => message.changes.reactions = seq,
            ChangeKind::Pinned => message.changes.pin = seq,
            ChangeKind::Deleted => message.delete(seq),
        }
        Ok(())
    }

    fn kind(&self, seq: u64) -> Option<Kind> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.kinds.get(index).copied()
    }
}

impl ExportedMessage {
    /// Records a deletion, which has erased the changes before it.
    fn delete(&mut self, seq: u64) {
        let changes = &mut self.changes;
        (changes.edit, changes.reactions, changes.pin, changes.delete) = (0, 0, 0, seq);
    }

    fn check(&self, seq: u64) -> Result<(), Contradiction> {
        let MessageChanges { folded, edit, reactions, pin, delete, .. } = &self.changes;
        let (count, last) = folded.replies.map_or((0, 0), |replies| (replies.count, replies.last));
        if (count, last) != (self.replies.len() as u64, self.replies.last().copied().unwrap_or_default()) {
            return Err(Contradiction::Replies(seq));
        }
        let newest = [*edit, *reactions, *pin, *delete, last].into_iter().max();
        if newest != Some(folded.rev) {
            return Err(Contradiction::Revision(seq));
        }
        if folded.pinned && *pin == 0 {
            return Err(Contradiction::Pin(seq));
        }
        let placed = folded.reactions.iter().map(|reaction| reaction.count).sum::<u64>();
        let is_consistent = folded.edited.is_some() == (*edit > 0)
            && folded.deleted.is_some() == (*delete > 0)
            && placed == self.reactions.placed().count() as u64;
        if is_consistent { Ok(()) } else { Err(Contradiction::State(seq)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(lines: &[&str]) -> Result<BTreeMap<u64, ExportedMessage>, Contradiction> {
        let mut room = ExportedRoom::new(1);
        for line in lines {
            let line = line
                .replace('!', r#""room":"a","at":1,"user":{"id":"7","name":"A"},"by":{"id":"7","name":"A"}"#);
            room.add(&ExportLine::parse(&line).expect("a line"))?;
        }
        room.finish()
    }

    const EDITED: &str = r#"{"type":"message",!,"seq":1,"body":1,"rev":2,"edited":{"at":1}}"#;
    const EDIT: &str = r#"{"type":"changed",!,"seq":2,"target":1,"what":"edited"}"#;

    #[test]
    fn the_state_of_a_message_is_that_after_its_changes() {
        let reacted = r#"{"type":"message",!,"seq":1,"body":1,"rev":4,"pinned":true,
            "reactions":[{"reaction":"x","count":1,"users":[]}],"replies":{"count":1,"last":4}}"#;
        let messages = room(&[
            reacted,
            r#"{"type":"changed",!,"seq":2,"target":1,"what":"pinned"}"#,
            r#"{"type":"changed",!,"seq":3,"target":1,"what":"reactions"}"#,
            r#"{"type":"message",!,"seq":4,"body":1,"thread":1}"#,
            r#"{"type":"reaction",!,"seq":3,"target":1,"reaction":"x"}"#,
        ]);
        let messages = messages.expect("it is consistent");
        let MessageChanges { edit, reactions, pin, delete, .. } = messages[&1].changes;
        assert_eq!((edit, reactions, pin, delete, &*messages[&1].replies), (0, 3, 2, 0, &[4][..]));
        assert_eq!(messages.len(), 1);
    }

    #[test]
    fn a_purge_deletes_the_messages_that_no_change_has_deleted() {
        let deleted = r#""deleted":{"at":1,"by":{"id":"7","name":"A"}}}"#;
        let messages = room(&[
            &format!(r#"{{"type":"message",!,"seq":1,"rev":3,{deleted}"#),
            &format!(r#"{{"type":"message",!,"seq":2,"rev":4,{deleted}"#),
            r#"{"type":"changed",!,"seq":3,"target":1,"what":"deleted"}"#,
            r#"{"type":"purged",!,"seq":4,"from":1,"to":2}"#,
        ]);
        let messages = messages.expect("it is consistent");
        assert_eq!((messages[&1].changes.delete, messages[&2].changes.delete), (3, 4));
    }

    #[test]
    fn a_purge_deletes_the_messages_of_its_user_alone() {
        let message = |seq, id, rev| {
            format!(
                r#"{{"type":"message","room":"a","at":1,"user":{{"id":"{id}","name":"A"}},"seq":{seq},"rev":{rev},
                    "deleted":{{"at":1,"by":{{"id":"7","name":"A"}}}}}}"#
            )
        };
        let purged = |seq, id| {
            format!(
                r#"{{"type":"purged","room":"a","at":1,"by":{{"id":"7","name":"A"}},"user":{{"id":"{id}","name":"A"}},
                    "seq":{seq},"from":1,"to":3}}"#
            )
        };
        let lines =
            [message(1, "8", 4), message(2, "9", 5), message(3, "8", 4), purged(4, "8"), purged(5, "9")];
        let messages = room(&lines.each_ref().map(|line| &**line)).expect("it is consistent");
        assert_eq!([1, 2, 3].map(|seq| messages[&seq].changes.delete), [4, 5, 4]);
    }

    #[test]
    fn a_contradiction_is_found() {
        let plain = r#"{"type":"message",!,"seq":1,"body":1}"#;
        let reaction = r#"{"type":"reaction",!,"seq":2,"target":1,"reaction":"x"}"#;
        for (lines, expected) in [
            (&[EDITED][..], Contradiction::Revision(1)),
            (&[plain, EDIT], Contradiction::Revision(1)),
            (&[EDIT], Contradiction::NoTarget),
            (&[EDITED, EDIT, reaction], Contradiction::NoReacted),
            (
                &[
                    r#"{"type":"message",!,"seq":1,"body":1,"rev":2}"#,
                    r#"{"type":"changed",!,"seq":2,"target":1,"what":"reactions"}"#,
                    reaction,
                ],
                Contradiction::State(1),
            ),
            (
                &[
                    r#"{"type":"message",!,"seq":1,"body":1,"rev":2}"#,
                    r#"{"type":"changed",!,"seq":2,"target":1,"what":"reactions"}"#,
                    reaction,
                    reaction,
                ],
                Contradiction::Twice,
            ),
            (&[plain, r#"{"type":"message",!,"seq":2,"body":1,"thread":1}"#], Contradiction::Replies(1)),
            (
                &[
                    r#"{"type":"message",!,"seq":1,"body":1,"rev":2,"replies":{"count":1,"last":2}}"#,
                    r#"{"type":"message",!,"seq":2,"body":1,"thread":1}"#,
                    r#"{"type":"message",!,"seq":3,"body":1,"thread":2}"#,
                ],
                Contradiction::NoRoot,
            ),
            (
                &[r#"{"type":"message",!,"seq":1,"body":1,"rev":2,"pinned":true,"edited":{"at":1}}"#, EDIT],
                Contradiction::Pin(1),
            ),
        ] {
            assert_eq!(room(lines).err(), Some(expected), "{lines:?}");
        }
    }

    #[test]
    fn messages_are_not_compared_with_changes_that_are_lost() {
        let lost = r#"{"type":"lost","room":"a","seq":2,"to":2}"#;
        assert!(room(&[EDITED, lost]).is_ok_and(|messages| messages.len() == 1));
    }
}
