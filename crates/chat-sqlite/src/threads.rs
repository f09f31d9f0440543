//! Threads of a low priority, for work that must not delay the messages of other users.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use chat_core::Unavailable;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The nice value of the threads. A thread of the usual priority that competes for a CPU gets ten times as much of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads of a low priority, which run jobs. They end when this is dropped.
///
/// The threads of a runtime cannot be used for this, because a process may not raise a priority again.
pub(crate) struct LowPriorityThreads {
    jobs: SyncSender<Job>,
}

impl LowPriorityThreads {
    /// Starts `count` threads. At most this many jobs may be in flight.
    pub(crate) fn spawn(name: &str, count: usize) -> io::Result<Self> {
        let (jobs, receiver) = sync_channel(count);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..count {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new().name(name.to_owned()).spawn(move || {
                lower_priority();
                run_jobs(&receiver);
            })?;
        }
        Ok(Self { jobs })
    }

    /// Runs a job and returns its result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, Unavailable> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (sender, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // The caller may have dropped the future.
            let _awaited = sender.send(job()).is_ok();
        });
        self.jobs.try_send(job).map_err(|_| Unavailable::new("all threads of the store are busy"))?;
        result.await.map_err(Unavailable::from_source)?
    }
}

impl fmt::Debug for LowPriorityThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LowPriorityThreads").finish_non_exhaustive()
    }
}

/// Runs jobs until no more can come.
fn run_jobs(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The other threads wait for the lock instead of for a job.
        let Ok(job) = jobs.lock().recv() else { return };
        // The panic is logged by the hook of the process. The caller gets an error, and the thread continues.
        let _completed = catch_unwind(AssertUnwindSafe(job)).is_ok();
    }
}

/// Gives the other threads of the process precedence over the calling thread. On systems other than Linux, it does
/// nothing, because a nice value is that of a process there.
pub(crate) fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};

        let thread = Some(rustix::thread::gettid());
        // A process with a lower priority keeps it.
        let niceness = getpriority_process(thread).map_or(NICENESS, |own| own.max(NICENESS));
        if let Err(error) = setpriority_process(thread, niceness) {
            tracing::debug!(%error, "priority of a thread not lowered");
        }
    }
}

/// A clock of the CPU time of the calling thread. On systems other than Linux, it measures the elapsed time.
#[derive(Debug)]
pub(crate) struct WorkClock(Duration);

impl WorkClock {
    pub(crate) fn start() -> Self {
        Self(now())
    }

    /// Returns the time since the start. The thread must be the same.
    pub(crate) fn elapsed(&self) -> Duration {
        now().saturating_sub(self.0)
    }
}

#[cfg(target_os = "linux")]
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn now() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_runs_further_jobs_after_one_that_panics() {
        let threads = LowPriorityThreads::spawn("test", 1).expect("a thread");
        for _ in 0..2 {
            let panics = threads.run(|| -> Result<(), _> { panic!("a job that panics") });
            assert!(panics.await.is_err());
            assert_eq!(threads.run(|| Ok(1)).await.ok(), Some(1));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_clock_counts_no_time_in_which_the_thread_does_not_run() {
        let (clock, pause) = (WorkClock::start(), Duration::from_millis(50));
        thread::sleep(pause);
        assert!(clock.elapsed() < pause);
        while clock.elapsed().is_zero() {}
    }
}
