use super::RoomView;
use crate::{ClientEvent, ReceivedMessage};

impl RoomView {
    /// Brings the messages to the state after an event. Returns true if one is another one now.
    pub(super) fn apply(&mut self, event: &ClientEvent) -> bool {
        match event {
            ClientEvent::Message(message) => {
                let root = message.links.as_ref().and_then(|links| links.thread);
                if let Some(root) = root.and_then(|root| self.held(root)) {
                    root.count_reply(message);
                }
                self.put(message);
                true
            }
            ClientEvent::Changed(changed) => {
                self.held(changed.target).is_some_and(|message| message.apply(changed))
            }
            ClientEvent::Purged(purge) => {
                let purged =
                    self.messages.iter_mut().filter_map(|held| held.apply_purge(purge).then_some(()));
                purged.count() > 0
            }
            _ => false,
        }
    }

    fn held(&mut self, seq: u64) -> Option<&mut ReceivedMessage> {
        let index = self.position(seq).ok()?;
        self.messages.get_mut(index)
    }

    pub(super) fn put(&mut self, message: &ReceivedMessage) {
        match self.position(message.seq) {
            Ok(index) if self.messages[index].rev() <= message.rev() => {
                self.messages[index] = message.clone();
            }
            Ok(_) => {}
            Err(index) => self.messages.insert(index, message.clone()),
        }
    }

    pub(super) fn evict(&mut self) {
        while self.messages.len() > self.capacity {
            if let Some(evicted) = self.messages.pop_front() {
                self.unread.handle_evicted(&evicted, &self.me);
            }
        }
    }

    fn position(&self, seq: u64) -> Result<usize, usize> {
        self.messages.binary_search_by_key(&seq, |message| message.seq)
    }
}
