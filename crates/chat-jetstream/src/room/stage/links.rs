//! The links of messages, as the log has them at the place where a message is stored.

use chat_core::{ChangeError, NewMessage, Unavailable};

use super::{Loading, MAX_TARGETS, Staging};
use crate::record::{Block, MessageState};
use crate::room::work::of_append;

/// A message as a link sees it. `None` if the log has no message at the position.
type Named<'a> = Result<Option<&'a MessageState>, ChangeError>;

/// The root of a thread, as it is with a further message.
pub(super) struct Root {
    at: u64,
    state: MessageState,
    block: Option<Block>,
}

impl Staging<'_> {
    /// Decides about the links of a message that would be the entry `seq`. Returns the root of its thread, if it is in
    /// one. `None` is a message that the record has no space for.
    pub(super) fn judge_links(
        &self,
        message: &NewMessage,
        seq: u64,
    ) -> Option<Result<Option<Root>, ChangeError>> {
        let Some(links) = &message.links else { return Some(Ok(None)) };
        let reply_to = links.reply_to.map_or(Some(Ok(None)), |at| self.named(at, seq))?;
        let root = links.thread.map_or(Some(Ok(None)), |at| self.named(at, seq))?;
        let (reply_to, root) = match (reply_to, root) {
            (Ok(reply_to), Ok(root)) => (reply_to, root),
            (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
        };
        let linked = |state: Option<&MessageState>| state.map(MessageState::linked);
        if let Err(error) = links.judge(message.role, linked(reply_to), linked(root)) {
            return Some(Err(of_append(error)));
        }
        let Some((at, mut state)) = links.thread.zip(root.cloned()) else { return Some(Ok(None)) };
        if !self.states.contains_key(&at) && self.states.len() >= MAX_TARGETS {
            return None;
        }
        let block = state.reply(seq, self.tail.place);
        if state.encode().len() > self.log.max_state {
            let error = Unavailable::over_quota("the first message of the thread has too many changes");
            return Some(Err(error.into()));
        }
        Some(Ok(Some(Root { at, state, block })))
    }

    /// Returns the message at a position that the entry `seq` names. `None` if it is in this record, or was not read.
    fn named(&self, at: u64, seq: u64) -> Option<Named<'_>> {
        if at < self.tail.first() || at >= seq {
            return Some(Ok(None));
        }
        if let Some(state) = self.states.get(&at) {
            return Some(Ok(Some(state)));
        }
        match self.loaded.targets.get(&at)? {
            Loading::Known(state) => Some(Ok(Some(state))),
            Loading::Missing => Some(Ok(None)),
            Loading::Damaged => Some(Err(Unavailable::new("the message is damaged").into())),
        }
    }

    /// Adds the new form of the root of a thread.
    pub(super) fn set_root(&mut self, Root { at, state, block }: Root) {
        self.has_threads = true;
        self.states.insert(at, state);
        self.blocks.extend(block.map(|block| (at, block)));
    }
}
