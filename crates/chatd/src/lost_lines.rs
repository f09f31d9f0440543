use std::time::Duration;

use crate::line_queue::LineQueue;

/// Time between two reports.
const INTERVAL: Duration = Duration::from_secs(60);

/// The log lines that were dropped because standard error was not read fast enough.
#[derive(Debug)]
pub(crate) struct LostLines {
    queue: LineQueue,
    reported: usize,
}

impl LostLines {
    pub(crate) fn new(queue: LineQueue) -> Self {
        Self { queue, reported: 0 }
    }

    /// Logs the number of lost lines once a minute, without end.
    pub(crate) async fn report(mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Some(lines) = self.take() {
                tracing::warn!(lines, "log lines lost: standard error is not read fast enough");
            }
        }
    }

    /// Returns the number of lines that were lost since the last call, if any were.
    fn take(&mut self) -> Option<usize> {
        let total = self.queue.lost();
        let lost = total - std::mem::replace(&mut self.reported, total);
        (lost > 0).then_some(lost)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::mpsc;

    use super::*;

    /// A writer that blocks until the test ends, like a pipe that is not read.
    struct Blocked(mpsc::Receiver<()>);

    impl Write for Blocked {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            // An error means that the test has ended.
            let _ended = self.0.recv().is_err();
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_lost_line_is_counted_once() {
        let (release, blocked) = mpsc::channel();
        let (mut writer, guard) = LineQueue::start(4, Blocked(blocked)).expect("a thread");
        let mut lost = LostLines::new(writer.clone());
        assert_eq!(lost.take(), None);
        let mut write =
            |lines: usize| (0..lines).for_each(|_| writer.write_all(b"line\n").expect("accepted"));
        // One line may be with the writer already, and four wait.
        write(100);
        let first = lost.take().expect("lost lines");
        assert!((95..=96).contains(&first), "{first}");
        assert_eq!(lost.take(), None);
        write(10);
        assert!(lost.take().is_some_and(|lines| (9..=10).contains(&lines)));
        drop(release);
        drop(guard);
    }
}
