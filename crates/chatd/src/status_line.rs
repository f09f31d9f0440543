use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between two updates.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Erases the line of the cursor, and moves the cursor to its start (ECMA-48).
const ERASE: &str = "\r\x1b[2K";

/// A line on the terminal of the standard error that shows the progress of a task. It disappears on drop. Without a
/// terminal, nothing is written.
#[derive(Debug)]
pub(crate) struct StatusLine {
    is_visible: bool,
    drawn_at: Option<Instant>,
}

impl StatusLine {
    /// Returns a line that is shown if `is_wanted`.
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self { is_visible: is_wanted && io::stderr().is_terminal(), drawn_at: None }
    }

    /// Replaces the text, unless the line was drawn just before.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if !self.is_visible || self.drawn_at.is_some_and(|at| at.elapsed() < REDRAW_INTERVAL) {
            return;
        }
        self.drawn_at = Some(Instant::now());
        write(&format!("{ERASE}{}", text()));
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        if self.drawn_at.is_some() {
            write(ERASE);
        }
    }
}

/// Writes to the standard error. A terminal that is gone has no reader.
fn write(text: &str) {
    let mut stderr = io::stderr();
    let _ignored = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// A writer that shows the number of bytes that were written.
#[derive(Debug)]
pub(crate) struct CountedWriter<W> {
    pub(crate) writer: W,
    pub(crate) line: StatusLine,
    pub(crate) bytes: u64,
}

impl<W: Write> Write for CountedWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(data)?;
        self.bytes += written as u64;
        let bytes = self.bytes;
        self.line.show(|| format!("{} KiB written", bytes / 1024));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
