use std::cell::Cell;

use super::flush::Task;
use crate::sync::thread_local;

thread_local! {
    static STARTED: Cell<Started> = const { Cell::new(Started::Nothing) };
}

/// The flush that the session which is polled on this thread has started.
#[derive(Default)]
enum Started {
    /// No session is polled.
    #[default]
    Nothing,
    /// A session is polled, and writes the flush at the end of the poll.
    Collecting(Option<Task>),
}

/// The flush to few members that one poll of a session starts. The session writes it itself at the end of the poll,
/// when it has written its own frames. This needs no task. A second room in the same poll gets a task.
///
/// Without a call of [`write`](Self::write), for example after a panic, the members take the events themselves.
#[derive(Debug)]
pub(crate) struct OwnFlushes {
    /// False if the thread polls another session, which writes the flush.
    is_first: bool,
}

impl OwnFlushes {
    /// Collects the flushes that are started on this thread from now on.
    pub(crate) fn collect() -> Self {
        match STARTED.with(Cell::take) {
            Started::Nothing => {
                STARTED.with(|started| started.set(Started::Collecting(None)));
                Self { is_first: true }
            }
            collecting => {
                STARTED.with(|started| started.set(collecting));
                Self { is_first: false }
            }
        }
    }

    /// Writes the flush.
    pub(crate) fn write(self) {
        if self.is_first
            && let Started::Collecting(Some(task)) = STARTED.with(Cell::take)
        {
            task.run_once();
        }
    }
}

impl Drop for OwnFlushes {
    fn drop(&mut self) {
        if self.is_first {
            // A task that is dropped wakes members, and they may be polled on this thread.
            drop(STARTED.with(Cell::take));
        }
    }
}

/// Leaves a flush to the session that is polled on this thread. Returns it if there is none, or if the session has
/// another one.
pub(super) fn add(task: Task) -> Option<Task> {
    match STARTED.with(Cell::take) {
        Started::Nothing => Some(task),
        Started::Collecting(None) => {
            STARTED.with(|started| started.set(Started::Collecting(Some(task))));
            None
        }
        full => {
            STARTED.with(|started| started.set(full));
            Some(task)
        }
    }
}
