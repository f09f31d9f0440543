use std::collections::VecDeque;
use std::sync::Arc;

use chat_proto::{Range, RoomName};

use crate::{ClientEvent, Joined, MessagePage, ReceivedMessage};

/// The newest messages of a room in their present state, from the events of a client.
///
/// It is what a client reads that asks for the newest messages now. After a [`ClientEvent::Gap`], or without a
/// recovery, a part of it may be out of date: [`to_read`](Self::to_read) is the range to read again.
///
/// # Examples
///
/// ```no_run
/// use chat_client::{Client, Events, JoinFrom, RoomName, RoomView};
///
/// # async fn example(client: Client, mut events: Events) -> Result<(), Box<dyn std::error::Error>> {
/// let lobby: RoomName = "lobby".parse()?;
/// let joined = client.join(&lobby, JoinFrom::Now).await?;
/// let mut view = RoomView::new(&joined, 50);
/// loop {
///     if let Some(range) = view.to_read() {
///         view.handle_page(&client.history(&lobby, range).await?);
///     }
///     let Some(event) = events.next().await else { break };
///     if view.handle_event(&event) {
///         println!("the room has {} messages here", view.messages().count());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RoomView {
    room: RoomName,
    epoch: Arc<str>,
    capacity: usize,
    /// The messages, in order.
    messages: VecDeque<ReceivedMessage>,
    /// The last position of those whose messages must be read, 0 if there are none.
    unread_to: u64,
}

impl RoomView {
    /// Messages of a view, at most. One page has as many.
    pub const MAX_MESSAGES: usize = 200;

    /// Returns the view of a room that the client has joined. It keeps the newest `capacity` messages, at most
    /// [`MAX_MESSAGES`](Self::MAX_MESSAGES). The messages up to now must be read.
    pub fn new(joined: &Joined, capacity: usize) -> Self {
        Self {
            room: joined.room.clone(),
            epoch: Arc::clone(&joined.epoch),
            capacity: capacity.clamp(1, Self::MAX_MESSAGES),
            messages: VecDeque::new(),
            unread_to: joined.seq,
        }
    }

    /// Returns the messages, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &ReceivedMessage> {
        self.messages.iter()
    }

    /// Returns the range of messages to read with [`history`](crate::Client::history), `None` if the view is up to
    /// date. [`handle_page`](Self::handle_page) takes the reply.
    pub fn to_read(&self) -> Option<Range> {
        (self.unread_to > 0).then(|| Range::before(self.unread_to + 1, self.capacity))
    }

    /// Handles an event of the client. Returns true if the view is another one now.
    pub fn handle_event(&mut self, event: &ClientEvent) -> bool {
        match event {
            ClientEvent::Message(message) if message.room == self.room => {
                self.enter(&message.epoch);
                if let Some(root) = message.links.as_ref().and_then(|links| links.thread)
                    && let Ok(index) = self.position(root)
                {
                    self.messages[index].count_reply(message);
                }
                self.insert(message.clone());
                true
            }
            ClientEvent::Changed(changed) if changed.room == self.room => {
                let is_renewed = self.enter(&changed.epoch);
                let held = self.position(changed.target).ok();
                let held = held.and_then(|index| self.messages.get_mut(index));
                held.is_some_and(|message| message.apply(changed)) || is_renewed
            }
            ClientEvent::Purged(purge) if purge.room == self.room => {
                let is_renewed = self.enter(&purge.epoch);
                let purged =
                    self.messages.iter_mut().filter_map(|held| held.apply_purge(purge).then_some(()));
                purged.count() > 0 || is_renewed
            }
            ClientEvent::Gap { room, epoch, to, .. } if *room == self.room => {
                self.enter(epoch);
                self.unread_to = self.unread_to.max(*to);
                true
            }
            ClientEvent::Resumed { room, epoch, recovered, .. } if *room == self.room => {
                let is_renewed = self.enter(epoch);
                if !recovered {
                    let newest = self.messages.back().map_or(0, |message| message.seq);
                    self.unread_to = self.unread_to.max(newest);
                }
                is_renewed || !recovered
            }
            _ => false,
        }
    }

    /// Takes the messages of the range that [`to_read`](Self::to_read) has named.
    pub fn handle_page(&mut self, page: &MessagePage) {
        if page.messages.iter().any(|message| message.epoch != self.epoch) {
            return;
        }
        let unread_to = std::mem::take(&mut self.unread_to);
        self.messages.retain(|message| message.seq > unread_to);
        for message in &page.messages {
            self.insert(message.clone());
        }
    }

    /// Forgets the messages of another epoch. Returns true if there is a new epoch.
    fn enter(&mut self, epoch: &Arc<str>) -> bool {
        let is_renewed = *epoch != self.epoch;
        if is_renewed {
            self.epoch = Arc::clone(epoch);
            self.messages.clear();
            self.unread_to = 0;
        }
        is_renewed
    }

    fn insert(&mut self, message: ReceivedMessage) {
        match self.position(message.seq) {
            Ok(index) if self.messages[index].rev() <= message.rev() => self.messages[index] = message,
            Ok(_) => {}
            Err(index) => self.messages.insert(index, message),
        }
        if self.messages.len() > self.capacity {
            self.messages.pop_front();
        }
    }

    fn position(&self, seq: u64) -> Result<usize, usize> {
        self.messages.binary_search_by_key(&seq, |message| message.seq)
    }
}

#[cfg(test)]
mod tests;
