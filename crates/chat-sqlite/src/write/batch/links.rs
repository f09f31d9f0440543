//! The links of messages, as the log has them at the place where a message is stored.

use chat_core::{AppendError, ChangeError, Linked, NewMessage, Role, RoomName};

use super::{AppendBatch, RoomRow};
use crate::database::row::message_id;
use crate::read::read_linked;

impl AppendBatch<'_> {
    /// Decides about the links of a message. `row` is `None` if the room has no message.
    pub(super) fn judge_links(
        &mut self,
        room: &RoomName,
        row: Option<RoomRow>,
        (message, role): (&NewMessage, Role),
    ) -> rusqlite::Result<Result<(), ChangeError>> {
        let Some(links) = &message.links else { return Ok(Ok(())) };
        // A `seq` above the head may be above all that an id can contain.
        let id = |seq: u64| row.filter(|row| seq <= row.head).map(|row| message_id(row.id, seq));
        let reply_to = match links.reply_to.and_then(id) {
            Some(id) => read_linked(self.transaction, id)?,
            None => None,
        };
        let root = match links.thread.and_then(id) {
            Some(id) => self.changed_message(room, id)?.map(|root| Linked { thread: root.thread() }),
            None => None,
        };
        Ok(links.judge(role, reply_to, root).map_err(|error| match error {
            AppendError::Forbidden => ChangeError::Forbidden,
            _ => ChangeError::NoMessage,
        }))
    }

    /// Counts a message of a thread at its root, which [`judge_links`](Self::judge_links) has read.
    pub(super) fn count_reply(&mut self, root: i64, seq: u64) {
        if let Some(root) = self.changed.messages.get_mut(&root) {
            root.reply(seq);
        }
    }
}
