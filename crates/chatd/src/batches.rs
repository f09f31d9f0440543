use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

/// The time for which the first line of a batch waits for further ones.
const PAUSE: Duration = Duration::from_millis(5);

/// The bytes that are written at once. A pipe takes this many without mixing them with those of another process
/// (`PIPE_BUF` on Linux).
const MAX_BATCH_BYTES: usize = 4 * 1024;

/// A writer of log lines that writes several at once, so that a busy server does not wake a thread for each line.
///
/// It blocks, so it is for the thread that writes the lines.
#[derive(Debug)]
pub(crate) struct Batches<W> {
    writer: W,
    batch: Vec<u8>,
}

impl<W: Write> Batches<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { writer, batch: Vec::new() }
    }

    fn write_batch(&mut self) -> io::Result<()> {
        let written = self.writer.write_all(&self.batch);
        self.batch.clear();
        written
    }
}

impl<W: Write> Write for Batches<W> {
    /// Adds one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.batch.is_empty() {
            sleep(PAUSE);
        } else if self.batch.len() + line.len() > MAX_BATCH_BYTES {
            self.write_batch()?;
        }
        self.batch.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_batch()?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::line_queue::LineQueue;

    /// A writer that reports each write.
    struct Writes(mpsc::Sender<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_many_at_once() {
        let (sender, writes) = mpsc::channel();
        let (mut log, guard) = LineQueue::start(1_000, Batches::new(Writes(sender))).expect("a thread");
        let lines: Vec<String> = (0..1_000).map(|n| format!("line {n}\n")).collect();
        for line in &lines {
            log.write_all(line.as_bytes()).expect("accepted");
        }
        drop((log, guard));
        let writes: Vec<Vec<u8>> = writes.iter().collect();
        assert_eq!(writes.concat(), lines.concat().into_bytes());
        assert!(writes.len() < lines.len() / 10, "{} writes", writes.len());
        assert!(writes.iter().all(|batch| batch.len() <= MAX_BATCH_BYTES && batch.ends_with(b"\n")));
    }
}
