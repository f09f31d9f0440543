use std::cell::RefCell;

use super::flush::Task;

thread_local! {
    /// The flushes that the session which is polled on this thread has started. `None` if no session is polled.
    static STARTED: RefCell<Option<Vec<Task>>> = const { RefCell::new(None) };
}

/// The flushes to few members that one poll of a session starts. The session writes them itself at the end of the poll,
/// when it has written its own frames. This needs no task.
///
/// Without a call of [`write`](Self::write), for example after a panic, the members take the events themselves.
#[derive(Debug)]
pub(crate) struct OwnFlushes {
    /// False if the thread polls another session, which writes the flushes.
    is_first: bool,
}

impl OwnFlushes {
    /// Collects the flushes that are started on this thread from now on.
    pub(crate) fn collect() -> Self {
        let is_first = STARTED.with_borrow_mut(|started| {
            let is_first = started.is_none();
            started.get_or_insert_default();
            is_first
        });
        Self { is_first }
    }

    /// Writes the flushes. A flush may start another one.
    pub(crate) fn write(self) {
        while self.is_first
            && let Some(task) = STARTED.with_borrow_mut(|started| started.as_mut()?.pop())
        {
            task.run_once();
        }
    }
}

impl Drop for OwnFlushes {
    fn drop(&mut self) {
        if self.is_first {
            // A task that is dropped wakes members, and they may use the list.
            let left = STARTED.take();
            drop(left);
        }
    }
}

/// Leaves a flush to the session that is polled on this thread. Returns it if there is none.
pub(super) fn add(task: Task) -> Option<Task> {
    STARTED.with_borrow_mut(|started| match started {
        Some(started) => {
            started.push(task);
            None
        }
        None => Some(task),
    })
}
