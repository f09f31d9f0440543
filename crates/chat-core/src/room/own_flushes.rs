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
    /// A session is polled, and begins to write the flush at the end of the poll.
    Collecting(Option<Task>),
}

/// The flush that one poll of a session starts. The session writes the first chunks itself at the end of the poll, when
/// it has written its own frames. So a flush to few members needs no task. A second room in the same poll gets a task.
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
        let is_first = change(|started| match started {
            Started::Nothing => (Started::Collecting(None), true),
            collecting => (collecting, false),
        });
        Self { is_first: is_first.unwrap_or_default() }
    }

    /// Writes the first chunks, at the end of the poll.
    pub(crate) fn write(self) {
        if self.is_first {
            Self::write_started();
        }
    }

    /// Writes the first chunks now, because code of the host runs next. It may take long.
    pub(crate) fn write_started() {
        let task = change(|started| match started {
            Started::Nothing => (Started::Nothing, None),
            Started::Collecting(task) => (Started::Collecting(None), task),
        });
        task.flatten().into_iter().for_each(Task::run_once);
    }
}

impl Drop for OwnFlushes {
    fn drop(&mut self) {
        if self.is_first {
            // A task that is dropped wakes members, and they may be polled on this thread.
            drop(change(|started| (Started::Nothing, started)));
        }
    }
}

/// Leaves a flush to the session that is polled on this thread. Returns it if there is none, or if the session has
/// another one.
pub(super) fn add(task: Task) -> Option<Task> {
    let mut task = Some(task);
    change(|started| match started {
        Started::Collecting(None) => (Started::Collecting(task.take()), ()),
        other => (other, ()),
    });
    task
}

/// Replaces the value of this thread. Returns `None` at the end of the thread, when the value is gone.
fn change<T>(change: impl FnOnce(Started) -> (Started, T)) -> Option<T> {
    let changed = STARTED.try_with(|started| {
        let (next, result) = change(started.take());
        started.set(next);
        result
    });
    changed.ok()
}
