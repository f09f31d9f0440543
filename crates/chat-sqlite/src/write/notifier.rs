use std::collections::{BTreeSet, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::{ChangeError, CommitSink, RoomName, StoredMessage};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::batch::Position;
use super::queue::Place;

/// The longest wait of a deletion for earlier publications. A sink that publishes again would wait for itself.
const EARLIER_LIMIT: Duration = Duration::from_secs(1);

/// The publisher of committed messages to the sinks.
///
/// Tasks that append publish, not the writer thread: waking members from a thread of the runtime costs much less. The
/// writer thread publishes what no task has published in time, because the append was dropped or is not polled. The
/// order among threads does not matter, because the chat orders the reports of its sink.
#[derive(Debug, Default)]
pub(crate) struct CommitNotifier {
    subscriptions: Mutex<Subscriptions>,
    /// The messages that are committed but not published.
    backlog: Mutex<Backlog>,
    /// Signals that a publication has ended.
    published: Condvar,
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: VecDeque<CommittedMessage>,
    /// The number of messages that were taken.
    taken: u64,
    /// The numbers of those that are being published.
    publishing: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Subscriptions {
    /// A room has one sink, or several while it is opened several times.
    rooms: HashMap<RoomName, Vec<Subscription>>,
    last_id: u64,
}

#[derive(Clone, Debug)]
struct Subscription {
    id: u64,
    epoch: Arc<str>,
    sink: CommitSink,
}

/// A committed message that waits for publication.
#[derive(Debug)]
pub(crate) struct CommittedMessage {
    pub(crate) room: RoomName,
    pub(crate) stored: StoredMessage,
    /// The present form of the entries that this deletion has erased.
    pub(crate) erased: Vec<StoredMessage>,
    /// Permit of the append queue, released after the publication.
    pub(crate) place: Place,
}

/// The reply to an append or a change.
pub(crate) type Reply = Result<Position, ChangeError>;

/// An append that waits for its reply. Its message is published even if this is dropped.
#[derive(Debug)]
pub(crate) struct PendingReply<'n> {
    notifier: &'n CommitNotifier,
    reply: oneshot::Receiver<Reply>,
}

impl CommitNotifier {
    /// Publishes the messages of a room, which are of this epoch, to `sink` until [`unsubscribe`](Self::unsubscribe).
    /// Returns the subscription id.
    pub(crate) fn subscribe(&self, room: &RoomName, epoch: &str, sink: CommitSink) -> u64 {
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.last_id += 1;
        let id = subscriptions.last_id;
        subscriptions.rooms.entry(room.clone()).or_default().push(Subscription {
            id,
            epoch: epoch.into(),
            sink,
        });
        id
    }

    pub(crate) fn unsubscribe(&self, room: &RoomName, id: u64) {
        let mut subscriptions = self.subscriptions.lock();
        if let Some(sinks) = subscriptions.rooms.get_mut(room) {
            sinks.retain(|subscription| subscription.id != id);
            if sinks.is_empty() {
                subscriptions.rooms.remove(room);
            }
        }
    }

    /// Returns `true` if the room is open.
    pub(crate) fn is_subscribed(&self, room: &str) -> bool {
        self.subscriptions.lock().rooms.contains_key(room)
    }

    /// Adds a message to the backlog.
    pub(crate) fn enqueue(&self, message: CommittedMessage) {
        self.backlog.lock().waiting.push_back(message);
    }

    /// Sends the reply to an append. If its receiver is gone, publishes the backlog.
    pub(crate) fn reply(&self, to: oneshot::Sender<Reply>, result: Reply) {
        if to.send(result).is_err() {
            self.publish_backlog();
        }
    }

    pub(crate) fn pending(&self, reply: oneshot::Receiver<Reply>) -> PendingReply<'_> {
        PendingReply { notifier: self, reply }
    }

    /// Publishes the messages that no other thread has taken.
    pub(crate) fn publish_backlog(&self) {
        while let Some((number, message)) = self.dequeue() {
            self.publish(number, message);
            self.backlog.lock().publishing.remove(&number);
            self.published.notify_all();
        }
    }

    /// Returns true if messages are committed and not published.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.lock().waiting.is_empty()
    }

    fn dequeue(&self) -> Option<(u64, CommittedMessage)> {
        let mut backlog = self.backlog.lock();
        let message = backlog.waiting.pop_front()?;
        backlog.taken += 1;
        let number = backlog.taken;
        // A deletion waits for others, so others need not wait for it.
        if message.erased.is_empty() {
            backlog.publishing.insert(number);
        }
        Some((number, message))
    }

    /// Waits until all earlier messages are published. Their form may have the content that a deletion erases.
    fn wait_for_earlier(&self, number: u64) {
        let until = Instant::now() + EARLIER_LIMIT;
        let mut backlog = self.backlog.lock();
        while backlog.publishing.first().is_some_and(|first| *first < number) {
            if self.published.wait_until(&mut backlog, until).timed_out() {
                return;
            }
        }
    }

    fn publish(&self, number: u64, message: CommittedMessage) {
        let CommittedMessage { room, stored, erased, place } = message;
        if !erased.is_empty() {
            self.wait_for_earlier(number);
        }
        // The lock must not be held: a sink may drop the last handle of a room, which unsubscribes.
        let sinks = self.subscriptions.lock().rooms.get(&room).cloned().unwrap_or_default();
        for Subscription { epoch, sink, .. } in sinks {
            // A sink is code of the host. Its panic must not affect other sinks or the reply.
            let publish = || {
                if !erased.is_empty() {
                    sink.erase(&epoch, &erased);
                }
                sink.publish(&epoch, &stored);
            };
            if catch_unwind(AssertUnwindSafe(publish)).is_err() {
                tracing::error!(seq = stored.seq, "commit sink panicked");
            }
        }
        drop(place);
    }
}

impl PendingReply<'_> {
    /// Waits for the reply. Returns `None` if the writer thread ended without one.
    pub(crate) async fn wait(mut self) -> Option<Reply> {
        let reply = (&mut self.reply).await.ok()?;
        self.notifier.publish_backlog();
        Some(reply)
    }
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        // After this, the writer thread publishes when it cannot send the reply.
        self.reply.close();
        if self.reply.try_recv().is_ok() {
            self.notifier.publish_backlog();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use chat_core::{Commit, NewMessage, User};
    use serde_json::value::RawValue;
    use tokio::runtime::Builder;

    use super::*;

    fn lobby() -> RoomName {
        "lobby".parse().expect("a room name")
    }

    /// A notifier, and the `seq` of each message that it publishes in the lobby.
    fn subscribed() -> (Arc<CommitNotifier>, mpsc::Receiver<u64>) {
        let notifier = CommitNotifier::default();
        let (sender, published) = mpsc::channel();
        let sink = CommitSink::new(move |commit| {
            // Gives another thread the opportunity to overtake.
            thread::yield_now();
            if let Commit::Entry { stored, .. } = commit {
                sender.send(stored.seq).expect("a receiver");
            }
        });
        notifier.subscribe(&lobby(), "e", sink);
        (Arc::new(notifier), published)
    }

    /// Does the same as the writer thread after a commit.
    fn commit(notifier: &CommitNotifier, seq: u64, reply: oneshot::Sender<Reply>) {
        let body = RawValue::from_string("{}".to_owned()).expect("JSON");
        let message = NewMessage::new(User::guest("ann").expect("a name"), body);
        let stored = message.into_stored(lobby(), seq, 0);
        let place = Place::of_new_queue();
        notifier.enqueue(CommittedMessage { room: lobby(), stored, erased: Vec::new(), place });
        notifier.reply(reply, Ok(Position { seq: Some(seq), at: 0, duplicate: false }));
    }

    #[test]
    fn concurrent_appends_are_each_published_once() {
        let (notifier, published) = subscribed();
        let runtime = Builder::new_multi_thread().worker_threads(4).build().expect("a runtime");
        let mut appends = Vec::new();
        for seq in 1..=2_000 {
            let (reply, receiver) = oneshot::channel();
            let waiting = Arc::clone(&notifier);
            appends
                .push(runtime.spawn(async move { waiting.pending(receiver).wait().await.expect("a reply") }));
            commit(&notifier, seq, reply);
        }
        runtime.block_on(async {
            for (seq, append) in (1..).zip(appends) {
                let reply = append.await.expect("no panic");
                assert_eq!(reply.map(|receipt| receipt.seq), Ok(Some(seq)));
            }
        });
        drop(runtime);
        let mut published: Vec<_> = published.try_iter().collect();
        published.sort_unstable();
        assert_eq!(published, (1..=2_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_message_is_published_although_its_append_was_dropped() {
        let (notifier, published) = subscribed();
        let (reply, receiver) = oneshot::channel();
        drop(notifier.pending(receiver));
        commit(&notifier, 1, reply);
        assert_eq!(published.try_recv(), Ok(1), "dropped before the reply was sent");
        let (reply, receiver) = oneshot::channel();
        let pending = notifier.pending(receiver);
        commit(&notifier, 2, reply);
        assert_eq!(published.try_recv(), Err(mpsc::TryRecvError::Empty), "the waiting append publishes it");
        drop(pending);
        assert_eq!(published.try_recv(), Ok(2), "dropped before the reply was received");
    }

    #[test]
    fn an_append_publishes_what_other_appends_have_committed() {
        let (notifier, published) = subscribed();
        let (replies, mut receivers): (Vec<_>, Vec<_>) = (1..=3).map(|_| oneshot::channel()).unzip();
        for (seq, reply) in (1..).zip(replies) {
            commit(&notifier, seq, reply);
        }
        drop(notifier.pending(receivers.remove(1)));
        assert_eq!(published.try_iter().collect::<Vec<_>>(), [1, 2, 3], "no append waits for a slow one");
    }
}
