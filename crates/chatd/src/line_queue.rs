//! A queue of log lines that a thread writes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Time for the last lines at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A writer of log lines that never blocks. If the queue is full, the line is dropped and counted.
///
/// A clone is another handle to the same queue.
#[derive(Clone, Debug)]
pub(crate) struct LineQueue(Arc<Shared>);

/// The guard of the thread that writes the lines. When it is dropped, the lines that wait are written, as far as the
/// reader takes them within a second.
#[derive(Debug)]
pub(crate) struct LineGuard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_lines: usize,
    state: Mutex<State>,
    /// Notified when a line has come, and when the queue is closed.
    work: Condvar,
    /// Notified when the thread has ended.
    ended: Condvar,
    lost: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    is_closed: bool,
    has_ended: bool,
}

impl LineQueue {
    /// Starts the thread that writes to `writer`. At most `max_lines` wait for it.
    pub(crate) fn start(
        max_lines: usize,
        writer: impl Write + Send + 'static,
    ) -> io::Result<(Self, LineGuard)> {
        let shared = Arc::new(Shared {
            max_lines,
            state: Mutex::default(),
            work: Condvar::new(),
            ended: Condvar::new(),
            lost: AtomicUsize::new(0),
        });
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            of_thread.write_to(writer);
            of_thread.state.lock().has_ended = true;
            of_thread.ended.notify_all();
        })?;
        Ok((Self(Arc::clone(&shared)), LineGuard(shared)))
    }

    /// Returns the number of lines that were dropped.
    pub(crate) fn lost(&self) -> usize {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Writes lines until the queue is closed and empty. After the last line that waits, the writer is flushed.
    fn write_to(&self, mut writer: impl Write) {
        let mut state = self.state.lock();
        loop {
            while let Some(line) = state.lines.pop_front() {
                drop(state);
                // A failure to write to standard error cannot be reported anywhere.
                let _ignored = writer.write_all(&line);
                state = self.state.lock();
                if state.lines.is_empty() {
                    drop(state);
                    let _ignored = writer.flush();
                    state = self.state.lock();
                }
            }
            if state.is_closed {
                return;
            }
            self.work.wait(&mut state);
        }
    }
}

impl Write for LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        if state.is_closed || state.lines.len() >= self.0.max_lines {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            state.lines.push_back(line.to_vec());
            self.0.work.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LineQueue {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Drop for LineGuard {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_closed = true;
        self.0.work.notify_one();
        self.0.ended.wait_while_for(&mut state, |state| !state.has_ended, CLOSE_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A writer that sends each line to the test, and waits for the test before each of them.
    struct Paced(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Paced {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // An error means that the test waits for nothing more.
            let _ended = self.0.recv().is_err();
            self.1.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_wait_are_written_when_the_guard_is_dropped() {
        let (step, steps) = mpsc::channel();
        let (sender, written) = mpsc::channel();
        let (mut queue, guard) = LineQueue::start(2, Paced(steps, sender)).expect("a thread");
        queue.write_all(b"1\n").expect("accepted");
        step.send(()).expect("a writer");
        assert_eq!(written.recv().expect("a line"), b"1\n");
        // The writer may hold one of them, and two wait.
        for line in ["2\n", "3\n", "4\n", "5\n"] {
            queue.write_all(line.as_bytes()).expect("accepted");
        }
        drop(step);
        drop(guard);
        queue.write_all(b"late\n").expect("accepted");
        let lines: Vec<Vec<u8>> = written.try_iter().collect();
        assert!(lines.starts_with(&[b"2\n".to_vec(), b"3\n".to_vec()]), "{lines:?}");
        assert_eq!(lines.len() + queue.lost(), 5, "{lines:?}");
    }
}
