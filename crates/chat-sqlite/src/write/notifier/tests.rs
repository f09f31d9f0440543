use std::sync::{Arc, mpsc};
use std::thread;

use chat_core::{Commit, NewMessage, User};
use futures_util::FutureExt;
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
    commit_with(notifier, seq, Vec::new(), reply);
}

fn commit_with(
    notifier: &CommitNotifier,
    seq: u64,
    erased: Vec<StoredMessage>,
    reply: oneshot::Sender<Reply>,
) {
    let body = RawValue::from_string("{}".to_owned()).expect("JSON");
    let message = NewMessage::new(User::guest("ann").expect("a name"), body);
    let stored = message.into_stored(lobby(), seq, 0);
    let place = Place::of_new_queue();
    notifier.enqueue(vec![CommittedMessage { room: lobby(), stored, erased, place: Some(place) }]);
    notifier.reply(vec![(reply, Ok(Position { seq: Some(seq), at: 0, duplicate: false }))]);
}

#[test]
fn concurrent_appends_are_each_published_once() {
    let (notifier, published) = subscribed();
    let runtime = Builder::new_multi_thread().worker_threads(4).build().expect("a runtime");
    let mut appends = Vec::new();
    for seq in 1..=2_000 {
        let (reply, receiver) = oneshot::channel();
        let waiting = Arc::clone(&notifier);
        appends.push(
            runtime.spawn(async move { waiting.pending(lobby(), receiver).wait().await.expect("a reply") }),
        );
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
    drop(notifier.pending(lobby(), receiver));
    commit(&notifier, 1, reply);
    assert_eq!(published.try_recv(), Ok(1), "dropped before the reply was sent");
    let (reply, receiver) = oneshot::channel();
    let pending = notifier.pending(lobby(), receiver);
    commit(&notifier, 2, reply);
    assert_eq!(published.try_recv(), Err(mpsc::TryRecvError::Empty), "the waiting append publishes it");
    drop(pending);
    assert_eq!(published.try_recv(), Ok(2), "dropped before the reply was received");
}

#[test]
fn a_deletion_is_answered_after_another_thread_has_reported_it() {
    let (notifier, _published) = subscribed();
    let (erasing, erased) = (mpsc::channel(), mpsc::channel());
    let release = Mutex::new(erased.1);
    let sink = CommitSink::new(move |commit| {
        if let Commit::Erased { .. } = commit {
            erasing.0.send(()).expect("a receiver");
            release.lock().recv().expect("a sender");
        }
    });
    notifier.subscribe(&lobby(), "e", sink);
    let (reply, receiver) = oneshot::channel();
    let entry = vec![StoredMessage::new(1, "{}")];
    commit_with(&notifier, 2, entry, reply);
    let other = Arc::clone(&notifier);
    let reporting = thread::spawn(move || other.publish_backlog());
    erasing.1.recv().expect("the other thread reports the deletion");
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let (repeat, repeated) = oneshot::channel();
        notifier.reply(vec![(repeat, Ok(Position { seq: Some(2), at: 0, duplicate: true }))]);
        let mut deletion = pin!(notifier.pending_deletion(lobby(), receiver).wait());
        let mut repeated = pin!(notifier.pending_deletion(lobby(), repeated).wait());
        assert!(deletion.as_mut().now_or_never().is_none(), "the tail of the room has the body");
        assert!(repeated.as_mut().now_or_never().is_none(), "a repeated deletion waits for the first");
        erased.0.send(()).expect("a receiver");
        assert_eq!(deletion.await.map(|reply| reply.map(|done| done.seq)), Some(Ok(Some(2))));
        assert_eq!(repeated.await.map(|reply| reply.map(|done| done.duplicate)), Some(Ok(true)));
    });
    reporting.join().expect("no panic");
}

#[test]
fn an_append_publishes_what_other_appends_have_committed() {
    let (notifier, published) = subscribed();
    let (replies, mut receivers): (Vec<_>, Vec<_>) = (1..=3).map(|_| oneshot::channel()).unzip();
    for (seq, reply) in (1..).zip(replies) {
        commit(&notifier, seq, reply);
    }
    drop(notifier.pending(lobby(), receivers.remove(1)));
    assert_eq!(published.try_iter().collect::<Vec<_>>(), [1, 2, 3], "no append waits for a slow one");
}

#[test]
fn the_task_of_the_first_reply_sends_the_others() {
    let (notifier, published) = subscribed();
    let (replies, mut receivers): (Vec<_>, Vec<_>) = (1..=3).map(|_| oneshot::channel()).unzip();
    let reply = |reply| (reply, Ok(Position { seq: None, at: 0, duplicate: true }));
    notifier.reply(replies.into_iter().map(reply).collect());
    let (other, _receiver) = oneshot::channel();
    commit(&notifier, 1, other);
    assert!(receivers[1].try_recv().is_err() && receivers[2].try_recv().is_err(), "one task is woken");
    let other_room = "hall".parse().expect("a room name");
    let first = notifier.pending(other_room, receivers.remove(0)).wait().now_or_never();
    assert!(matches!(first, Some(Some(Ok(_)))));
    assert!(receivers.iter_mut().all(|receiver| receiver.try_recv().is_ok()));
    assert_eq!(published.try_iter().count(), 0, "the message of another room is left to its task");
    notifier.publish_overdue(Duration::from_secs(3_600));
    assert_eq!(published.try_iter().count(), 0);
    notifier.publish_overdue(Duration::ZERO);
    assert_eq!(published.try_iter().collect::<Vec<_>>(), [1], "the task was not polled in time");
}

#[test]
fn the_writer_thread_sends_replies_that_no_task_sends() {
    let (notifier, _published) = subscribed();
    let (replies, mut receivers): (Vec<_>, Vec<_>) = (1..=2).map(|_| oneshot::channel()).unzip();
    let reply = |reply| (reply, Ok(Position { seq: None, at: 0, duplicate: true }));
    notifier.reply(replies.into_iter().map(reply).collect());
    assert!(notifier.has_backlog());
    notifier.publish_overdue(Duration::ZERO);
    assert!(receivers.iter_mut().all(|receiver| receiver.try_recv().is_ok()) && !notifier.has_backlog());
}
