//! The locks of the flushes of rooms, and the tasks that write them.
//!
//! With the feature `shuttle`, which only the test `interleavings` uses, shuttle decides at each lock which task runs.

#[cfg(feature = "shuttle")]
pub(crate) use self::checked::{Mutex, MutexGuard, spawn, thread_local, workers};
#[cfg(not(feature = "shuttle"))]
pub(crate) use self::real::{Mutex, MutexGuard, spawn, thread_local, workers};

#[cfg(not(feature = "shuttle"))]
mod real {
    pub(crate) use std::thread_local;

    use tokio::runtime::Handle;

    pub(crate) use parking_lot::{Mutex, MutexGuard};

    /// Starts a task in a runtime.
    pub(crate) fn spawn(runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        drop(runtime.spawn(task));
    }

    /// Returns the number of threads of a runtime.
    pub(crate) fn workers(runtime: &Handle) -> usize {
        runtime.metrics().num_workers()
    }
}

#[cfg(feature = "shuttle")]
mod checked {
    use std::sync::{PoisonError, TryLockError};

    use shuttle::sync;
    use tokio::runtime::Handle;

    pub(crate) use shuttle::sync::MutexGuard;
    pub(crate) use shuttle::thread_local;

    /// A mutex of shuttle with the interface of `parking_lot`.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }
    }

    /// Starts a task of shuttle.
    pub(crate) fn spawn(_: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        drop(shuttle::future::spawn(task));
    }

    /// Returns the number of threads for which shuttle checks the flushes of a room.
    pub(crate) fn workers(_: &Handle) -> usize {
        2
    }
}
