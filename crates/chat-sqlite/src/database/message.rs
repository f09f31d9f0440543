use chat_core::{Event, MessageChanges, NewMessage, StoredMessage};
use serde_json::value::RawValue;

/// A message as the log has it now.
#[derive(Clone, Debug)]
pub(crate) struct MessageState {
    /// The message. Its body is `null` if it was deleted.
    pub(crate) message: NewMessage,
    /// The time of its commit, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// `None` for a message that was not changed.
    pub(crate) changes: Option<MessageChanges>,
}

impl MessageState {
    /// Reads the columns `edited`, `reacted`, `pinned`, `deleted` and the frame of a message. Returns `None` if the
    /// frame is not a message.
    pub(crate) fn read(stored: &StoredMessage, newest: [Option<u64>; 4]) -> Option<Self> {
        let Ok(Event::Message { user, at, key, body, folded, links, .. }) = stored.event() else {
            return None;
        };
        let changes = folded.map(|folded| {
            let mut changes = MessageChanges::default();
            changes.folded = *folded;
            [changes.edit, changes.reactions, changes.pin, changes.delete] =
                newest.map(Option::unwrap_or_default);
            changes
        });
        let body = body.unwrap_or_else(|| RawValue::NULL.to_owned());
        let mut message = NewMessage::new(user, body).with_key(key);
        message.links = links;
        Some(Self { message, at, changes })
    }
}
