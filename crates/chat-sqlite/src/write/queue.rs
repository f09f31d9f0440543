use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::batch::Prepared;
use super::mailbox::{Receiver, Sender, mailbox};
use super::notifier::Reply;

/// An append or a change that waits for its transaction.
#[derive(Debug)]
pub(crate) struct AppendRequest {
    pub(crate) entry: Prepared,
    pub(crate) reply: oneshot::Sender<Reply>,
    /// Place in the queue, given up when the message is published or refused.
    pub(crate) place: Place,
}

/// The bounded queue of the writer thread. Appends get their places in the order in which they enter.
#[derive(Debug)]
pub(crate) struct AppendQueue {
    state: Mutex<State>,
    max_appends: usize,
}

#[derive(Debug)]
struct State {
    /// `None` after [`close`](AppendQueue::close).
    sender: Option<Sender>,
    free_places: usize,
    /// The appends without a place, by their order. Each belongs to a future that is not dropped, so their number is
    /// bounded by the callers.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    entry: Prepared,
    reply: oneshot::Sender<Reply>,
}

/// Appends that are refused because the writer thread has ended.
type Refused = (AppendRequest, BTreeMap<u64, Waiting>);

/// A place in the queue. The next waiting append gets it when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AppendQueue>);

/// An append that has entered the queue. Dropping it takes back an append that has no place yet.
#[derive(Debug)]
pub(crate) struct Entry {
    queue: Arc<AppendQueue>,
    /// `None` if the append got a place at once.
    number: Option<u64>,
}

impl AppendQueue {
    pub(super) fn new(max_appends: usize) -> (Arc<Self>, Receiver) {
        let (sender, receiver) = mailbox();
        let max_appends = max_appends.max(1);
        let state =
            State { sender: Some(sender), free_places: max_appends, waiting: BTreeMap::new(), next: 0 };
        (Arc::new(Self { state: Mutex::new(state), max_appends }), receiver)
    }

    /// Returns the number of appends that are neither published nor refused yet, without those that wait for a place.
    pub(crate) fn len(&self) -> usize {
        self.max_appends - self.state.lock().free_places
    }

    /// Adds an append. If the queue is closed, the append is dropped, which closes its reply channel.
    pub(crate) fn enter(self: &Arc<Self>, entry: Prepared, reply: oneshot::Sender<Reply>) -> Entry {
        let mut state = self.state.lock();
        if state.free_places > 0 {
            state.free_places -= 1;
            let request = AppendRequest { entry, reply, place: Place(Arc::clone(self)) };
            let refused = state.send(request);
            drop(state);
            drop(refused);
            return Entry { queue: Arc::clone(self), number: None };
        }
        let number = state.next;
        state.next += 1;
        if state.sender.is_some() {
            state.waiting.insert(number, Waiting { entry, reply });
        }
        Entry { queue: Arc::clone(self), number: Some(number) }
    }

    /// Refuses further appends, and those without a place. The writer thread commits the others, and ends.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        let closed = (state.sender.take(), std::mem::take(&mut state.waiting));
        drop(state);
        drop(closed);
    }
}

impl State {
    /// Passes an append on to the writer thread. If the thread has ended, it closes the queue and returns all appends
    /// that are refused. The caller drops them without the lock, because they give their places up.
    fn send(&mut self, request: AppendRequest) -> Option<Refused> {
        let refused = match &self.sender {
            Some(sender) => *sender.send(request).err()?,
            None => request,
        };
        self.sender = None;
        Some((refused, std::mem::take(&mut self.waiting)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        let refused = match state.waiting.pop_first() {
            Some((_, Waiting { entry, reply })) => {
                let place = Self(Arc::clone(&self.0));
                state.send(AppendRequest { entry, reply, place })
            }
            None => {
                state.free_places += 1;
                None
            }
        };
        drop(state);
        drop(refused);
    }
}

impl Entry {
    /// Returns true if the append has no place yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.number.is_some_and(|number| self.queue.state.lock().waiting.contains_key(&number))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let taken_back = self.queue.state.lock().waiting.remove(&number);
        drop(taken_back);
    }
}

#[cfg(test)]
impl Place {
    /// Returns the place of a queue of its own.
    pub(super) fn of_new_queue() -> Self {
        let (queue, _) = AppendQueue::new(1);
        queue.state.lock().free_places = 0;
        Self(queue)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chat_core::{NewMessage, RawValue, User};
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::write::batch::PreparedMessage;
    use crate::write::mailbox::Received;

    fn body(request: &AppendRequest) -> &str {
        let Prepared::Message(message) = &request.entry else { panic!("not a message") };
        message.message.body.get()
    }

    fn message(key: &str) -> Prepared {
        let body = RawValue::from_string(format!("\"{key}\"")).expect("JSON");
        let user = User::guest("ann").expect("a name");
        let room = "lobby".parse().expect("a room");
        Prepared::Message(PreparedMessage { room, message: NewMessage::new(user, body), key: None })
    }

    fn enter(queue: &Arc<AppendQueue>, key: &str) -> (Entry, oneshot::Receiver<Reply>) {
        let (reply, receiver) = oneshot::channel();
        (queue.enter(message(key), reply), receiver)
    }

    #[test]
    fn appends_get_free_places_in_their_order_and_a_dropped_one_gets_none() {
        let (queue, requests) = AppendQueue::new(1);
        let entries = ["a", "b", "c", "d"].map(|key| enter(&queue, key));
        let next = || match requests.take(1, Duration::ZERO) {
            Received::Batch(mut batch) => batch.pop(),
            Received::Nothing | Received::Closed => None,
        };
        let first = next().expect("a");
        assert_eq!((body(&first), queue.len()), ("\"a\"", 1));
        let [_a, (b, mut of_b), c, _d] = entries;
        assert!(next().is_none() && b.is_waiting());
        drop(b);
        assert_eq!(of_b.try_recv().err(), Some(TryRecvError::Closed));
        drop(first);
        let second = next().expect("c");
        assert_eq!(body(&second), "\"c\"");
        assert!(!c.0.is_waiting() && next().is_none());
        drop(second);
        drop(next().expect("d"));
        assert_eq!((next().is_none(), queue.len()), (true, 0));
    }

    #[test]
    fn a_queue_whose_thread_has_ended_refuses_all_appends() {
        let (queue, requests) = AppendQueue::new(1);
        let entries = ["a", "b", "c"].map(|key| enter(&queue, key));
        drop(requests);
        for (entry, mut reply) in entries {
            assert_eq!((reply.try_recv().err(), entry.is_waiting()), (Some(TryRecvError::Closed), false));
        }
        assert_eq!(queue.len(), 0);
        assert_eq!(enter(&queue, "d").1.try_recv().err(), Some(TryRecvError::Closed));
    }
}
