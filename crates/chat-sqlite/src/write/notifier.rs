use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::{ChangeError, CommitSink, RoomName, StoredMessage, Unavailable};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::batch::Position;
use super::queue::Place;

/// The longest wait of a deletion for earlier publications. A sink that publishes again would wait for itself.
const EARLIER_LIMIT: Duration = Duration::from_secs(1);

/// The longest wait of a reply to a deletion for the report of the deletion.
const REPORT_LIMIT: Duration = Duration::from_secs(5);

/// The publisher of committed messages to the sinks.
///
/// Tasks that append publish, not the writer thread: waking members from a thread of the runtime costs much less. The
/// writer thread publishes what no task has published in time, because the append was dropped or is not polled. The
/// order among threads does not matter, because the chat orders the reports of its sink.
///
/// The writer thread wakes only one task after a commit. This task wakes the others, also because that costs much less.
/// Each task publishes the messages of its room: a session sends them together with its reply.
#[derive(Debug, Default)]
pub(crate) struct CommitNotifier {
    subscriptions: Mutex<Subscriptions>,
    /// The messages that are committed but not published.
    backlog: Mutex<Backlog>,
    /// Signals that a publication has ended.
    published: Condvar,
    /// Signals that a deletion was reported.
    reported: Notify,
}

#[derive(Debug, Default)]
struct Backlog {
    /// They are in the order of their commits in each room.
    waiting: HashMap<RoomName, Vec<Waiting>>,
    /// The replies that the next task sends.
    replies: Vec<(oneshot::Sender<Reply>, Reply)>,
    /// The time of the oldest of these replies.
    replies_since: Option<Instant>,
    /// The number of messages that were taken.
    taken: u64,
    /// The numbers of those that are being published.
    publishing: BTreeSet<u64>,
    /// The number of deletions that were added.
    deletions: u64,
    /// The numbers of those that are not reported yet.
    unreported: BTreeSet<u64>,
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
    /// Permit of the append queue, released after the publication. A step of a purge needs none.
    pub(crate) place: Option<Place>,
}

/// A committed message in the backlog.
#[derive(Debug)]
struct Waiting {
    message: CommittedMessage,
    /// The number of a deletion.
    deletion: Option<u64>,
    since: Instant,
}

/// The committed messages of a room, or of all rooms, that a thread has taken to publish them. They have consecutive
/// numbers.
#[derive(Debug)]
struct Taken {
    first_number: u64,
    messages: Vec<Waiting>,
}

/// The reply to an append or a change.
pub(crate) type Reply = Result<Position, ChangeError>;

/// An append that waits for its reply. Its message is published even if this is dropped.
#[derive(Debug)]
pub(crate) struct PendingReply<'n> {
    notifier: &'n CommitNotifier,
    reply: oneshot::Receiver<Reply>,
    room: RoomName,
    is_deletion: bool,
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

    /// Adds messages to the backlog.
    pub(crate) fn enqueue(&self, messages: Vec<CommittedMessage>) {
        if messages.is_empty() {
            return;
        }
        let since = Instant::now();
        let mut backlog = self.backlog.lock();
        for message in messages {
            let deletion = (!message.erased.is_empty()).then(|| backlog.add_deletion());
            let room = message.room.clone();
            let waiting = Waiting { message, deletion, since };
            backlog.waiting.entry(room).or_insert_with(|| Vec::with_capacity(1)).push(waiting);
        }
    }

    /// Sends the replies to appends: the first one now, and its receiver sends the others. If that is gone, publishes
    /// the backlog.
    pub(crate) fn reply(&self, mut replies: Vec<(oneshot::Sender<Reply>, Reply)>) {
        if replies.is_empty() {
            return;
        }
        let (first, result) = replies.swap_remove(0);
        if !replies.is_empty() {
            let mut backlog = self.backlog.lock();
            backlog.replies_since.get_or_insert_with(Instant::now);
            backlog.replies.append(&mut replies);
        }
        if first.send(result).is_err() {
            self.publish_backlog();
        }
    }

    /// Waits for the reply to an append or a change in a room.
    pub(crate) fn pending(&self, room: RoomName, reply: oneshot::Receiver<Reply>) -> PendingReply<'_> {
        PendingReply { notifier: self, reply, room, is_deletion: false }
    }

    /// Waits for the reply to a deletion, and for the report of what it has erased.
    pub(crate) fn pending_deletion(
        &self,
        room: RoomName,
        reply: oneshot::Receiver<Reply>,
    ) -> PendingReply<'_> {
        PendingReply { notifier: self, reply, room, is_deletion: true }
    }

    /// Publishes the messages that no other thread has taken, and sends the replies that wait.
    pub(crate) fn publish_backlog(&self) {
        self.send_replies();
        self.publish_waiting(None);
    }

    /// Does the same if something has waited for longer than `limit`. Otherwise it is left to the tasks.
    pub(crate) fn publish_overdue(&self, limit: Duration) {
        let oldest = {
            let backlog = self.backlog.lock();
            let messages = backlog.waiting.values().filter_map(|room| room.first());
            messages.map(|first| first.since).chain(backlog.replies_since).min()
        };
        if oldest.is_some_and(|oldest| oldest.elapsed() >= limit) {
            self.publish_backlog();
        }
    }

    fn send_replies(&self) {
        let replies = {
            let mut backlog = self.backlog.lock();
            backlog.replies_since = None;
            std::mem::take(&mut backlog.replies)
        };
        let mut is_dropped = false;
        for (to, result) in replies {
            is_dropped |= to.send(result).is_err();
        }
        if is_dropped {
            self.publish_waiting(None);
        }
    }

    /// Publishes the messages of a room, or all.
    fn publish_waiting(&self, room: Option<&RoomName>) {
        while let Some(Taken { first_number, messages }) = self.dequeue(room) {
            for (number, Waiting { message, deletion, .. }) in (first_number..).zip(messages) {
                self.publish(number, message);
                let mut backlog = self.backlog.lock();
                backlog.publishing.remove(&number);
                if let Some(deletion) = deletion {
                    backlog.unreported.remove(&deletion);
                }
                drop(backlog);
                self.published.notify_all();
                if deletion.is_some() {
                    self.reported.notify_waiters();
                }
            }
            if room.is_some() {
                return;
            }
        }
    }

    /// Returns true if messages are committed and not published.
    pub(crate) fn has_backlog(&self) -> bool {
        let backlog = self.backlog.lock();
        !backlog.waiting.is_empty() || !backlog.replies.is_empty()
    }

    /// Takes the messages of a room, or all, those of earlier commits first.
    fn dequeue(&self, room: Option<&RoomName>) -> Option<Taken> {
        let mut backlog = self.backlog.lock();
        let messages = match room {
            Some(room) => backlog.waiting.remove(room)?,
            None => {
                let mut all: Vec<_> = backlog.waiting.drain().flat_map(|(_, messages)| messages).collect();
                all.sort_by_key(|waiting| waiting.since);
                all
            }
        };
        if messages.is_empty() {
            return None;
        }
        let first_number = backlog.taken + 1;
        for waiting in &messages {
            backlog.taken += 1;
            let number = backlog.taken;
            // A deletion waits for others, so others need not wait for it.
            if waiting.message.erased.is_empty() {
                backlog.publishing.insert(number);
            }
        }
        Some(Taken { first_number, messages })
    }

    /// Waits until the deletions are reported that are committed now. Another thread may report them.
    ///
    /// Returns false if a sink takes too long.
    async fn wait_for_deletions(&self) -> bool {
        let last = self.backlog.lock().deletions;
        let wait = async {
            loop {
                let mut reported = pin!(self.reported.notified());
                reported.as_mut().enable();
                if self.backlog.lock().unreported.first().is_none_or(|first| *first > last) {
                    return;
                }
                reported.await;
            }
        };
        timeout(REPORT_LIMIT, wait).await.is_ok()
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

impl Backlog {
    fn add_deletion(&mut self) -> u64 {
        self.deletions += 1;
        self.unreported.insert(self.deletions);
        self.deletions
    }
}

impl PendingReply<'_> {
    /// Waits for the reply. Returns `None` if the writer thread ended without one.
    pub(crate) async fn wait(mut self) -> Option<Reply> {
        let reply = (&mut self.reply).await.ok()?;
        self.notifier.send_replies();
        self.notifier.publish_waiting(Some(&self.room));
        // The deletion may be a repeated one, of which another thread reports the first.
        if self.is_deletion && reply.is_ok() && !self.notifier.wait_for_deletions().await {
            return Some(Err(Unavailable::new("the deletion is stored, but not reported yet").into()));
        }
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
mod tests;
