//! The way of appends to the writer thread.
//!
//! A session may submit several messages in one turn, and many sessions may be due at once. If the first message woke
//! the thread, it would be committed alone, and the others would need a commit of their own. So the thread is woken
//! when the runtime has run the tasks that are ready now. A thread that commits takes all that has come meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use tokio::task::{try_id, yield_now};

use super::queue::AppendRequest;

/// Returns both ends of a mailbox. The queue of appends bounds it.
pub(super) fn mailbox() -> (Sender, Receiver) {
    let mailbox = Arc::<Mailbox>::default();
    (Sender(Arc::clone(&mailbox)), Receiver(mailbox))
}

#[derive(Debug, Default)]
struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    requests: VecDeque<AppendRequest>,
    thread: Waiting,
    is_closed: bool,
}

/// The state of the writer thread.
#[derive(Debug, Default, PartialEq, Eq)]
enum Waiting {
    /// It looks at the mailbox before it waits again.
    #[default]
    No,
    Yes,
    /// It waits, and a task of the runtime that is on this thread will wake it.
    Until(ThreadId),
}

/// The end that sends. Dropping it closes the mailbox.
#[derive(Debug)]
pub(super) struct Sender(Arc<Mailbox>);

/// The end of the writer thread. Dropping it refuses all appends.
#[derive(Debug)]
pub(crate) struct Receiver(Arc<Mailbox>);

/// The result of a wait.
#[derive(Debug)]
pub(super) enum Received {
    /// At least one append.
    Batch(Vec<AppendRequest>),
    Nothing,
    /// The mailbox is closed and empty.
    Closed,
}

impl Sender {
    /// Adds an append, or returns it if the writer thread has ended.
    pub(super) fn send(&self, request: AppendRequest) -> Result<(), Box<AppendRequest>> {
        let mut state = self.0.state.lock();
        if state.is_closed {
            return Err(Box::new(request));
        }
        state.requests.push_back(request);
        let this = thread::current().id();
        match state.thread {
            Waiting::No => return Ok(()),
            Waiting::Until(thread) if thread == this => return Ok(()),
            // The turn of the other thread may take long.
            Waiting::Until(_) => state.thread = Waiting::Yes,
            // Outside of a task, nothing may run the runtime.
            Waiting::Yes if try_id().is_some() => state.thread = Waiting::Until(this),
            Waiting::Yes => {}
        }
        let is_deferred = state.thread != Waiting::Yes;
        drop(state);
        let call = Call(Arc::clone(&self.0));
        if is_deferred && let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _call = call;
                yield_now().await;
            });
        }
        Ok(())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.state.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

/// Wakes the writer thread when it is dropped, also by a runtime that ends.
struct Call(Arc<Mailbox>);

impl Drop for Call {
    fn drop(&mut self) {
        let is_waiting = std::mem::take(&mut self.0.state.lock().thread) != Waiting::No;
        if is_waiting {
            self.0.changed.notify_one();
        }
    }
}

impl Receiver {
    /// Waits for appends, and returns at most `most` of them.
    pub(super) fn take(&self, most: usize, wait: Duration) -> Received {
        let until = Instant::now() + wait;
        let mut state = self.0.state.lock();
        let mut is_over = false;
        loop {
            if !state.requests.is_empty() {
                state.thread = Waiting::No;
                let count = state.requests.len().min(most.max(1));
                return Received::Batch(state.requests.drain(..count).collect());
            }
            if state.is_closed {
                return Received::Closed;
            }
            if is_over {
                state.thread = Waiting::No;
                return Received::Nothing;
            }
            state.thread = Waiting::Yes;
            is_over = self.0.changed.wait_until(&mut state, until).timed_out();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_closed = true;
        let refused = std::mem::take(&mut state.requests);
        drop(state);
        // They give up their places.
        drop(refused);
    }
}

#[cfg(test)]
mod tests {
    use chat_core::{NewMessage, RawValue, User};
    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::oneshot;

    use super::*;
    use crate::write::batch::{Prepared, PreparedMessage};
    use crate::write::queue::Place;

    fn request() -> AppendRequest {
        let body = RawValue::from_string("{}".to_owned()).expect("JSON");
        let message = NewMessage::new(User::guest("ann").expect("a name"), body);
        let room = "lobby".parse().expect("a room name");
        let entry = Prepared::Message(PreparedMessage { room, message, key: None });
        AppendRequest { entry, reply: oneshot::channel().0, place: Place::of_new_queue() }
    }

    /// A thread that waits for one batch, and returns the number of its appends.
    fn waiting() -> (Sender, thread::JoinHandle<usize>) {
        let (sender, receiver) = mailbox();
        let taking = thread::spawn(move || match receiver.take(100, Duration::from_secs(600)) {
            Received::Batch(batch) => batch.len(),
            Received::Nothing | Received::Closed => 0,
        });
        while sender.0.state.lock().thread != Waiting::Yes {
            thread::yield_now();
        }
        (sender, taking)
    }

    fn runtime() -> Runtime {
        Builder::new_current_thread().build().expect("a runtime")
    }

    #[test]
    fn appends_of_64_tasks_that_are_due_at_once_are_one_batch() {
        let (sender, taking) = waiting();
        let (sender, runtime) = (Arc::new(sender), runtime());
        runtime.block_on(async {
            let tasks = [(); 64].map(|()| {
                let sender = Arc::clone(&sender);
                tokio::spawn(async move { sender.send(request()).is_ok() })
            });
            for task in tasks {
                assert!(task.await.expect("no panic"));
            }
        });
        // A runtime that ends wakes the thread too.
        drop(runtime);
        assert_eq!(taking.join().expect("no panic"), 64);
    }

    #[test]
    fn an_append_outside_of_a_task_wakes_the_thread_at_once() {
        let (sender, taking) = waiting();
        let runtime = runtime();
        let _entered = runtime.enter();
        assert!(sender.send(request()).is_ok());
        assert_eq!(taking.join().expect("no panic"), 1);
    }

    #[test]
    fn a_closed_mailbox_returns_what_was_sent_before() {
        let (sender, receiver) = mailbox();
        assert!(sender.send(request()).is_ok());
        drop(sender);
        assert!(matches!(receiver.take(9, Duration::ZERO), Received::Batch(batch) if batch.len() == 1));
        assert!(matches!(receiver.take(9, Duration::ZERO), Received::Closed));
    }
}
