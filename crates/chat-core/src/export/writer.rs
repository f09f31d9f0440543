use std::io::{self, Write};

use chat_proto::{EXPORT_VERSION, ExportLine};

use super::Exported;

/// Writes an export: its first line, the lines that it is given, and its last line.
///
/// ```
/// use chat_core::ExportWriter;
///
/// let mut text = Vec::new();
/// let exported = ExportWriter::begin(&mut text)?.finish()?;
/// assert_eq!((exported.messages, text.split(|byte| *byte == b'\n').count()), (0, 3));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ExportWriter<W> {
    to: W,
    sum: crc32fast::Hasher,
    exported: Exported,
}

impl<W: Write> ExportWriter<W> {
    /// Writes the first line.
    ///
    /// # Errors
    ///
    /// The errors of `to`.
    pub fn begin(to: W) -> io::Result<Self> {
        let mut writer = Self { to, sum: crc32fast::Hasher::new(), exported: Exported::default() };
        writer.write(&ExportLine::Export { version: EXPORT_VERSION })?;
        Ok(writer)
    }

    /// Writes a line. The caller keeps the order of the format.
    ///
    /// # Errors
    ///
    /// The errors of the output.
    pub fn write(&mut self, line: &ExportLine) -> io::Result<()> {
        self.exported.count(line);
        let line = line.encode();
        self.sum.update(&line);
        self.to.write_all(&line)
    }

    /// Counts entries that no line can name, because the name of their room is damaged.
    pub fn leave_out(&mut self, entries: u64) {
        self.exported.unreadable += entries;
    }

    /// Writes the last line, with the checksum of all others.
    ///
    /// # Errors
    ///
    /// The errors of the output.
    pub fn finish(mut self) -> io::Result<Exported> {
        let sum = self.sum.clone().finalize();
        self.write(&ExportLine::End { crc32: Some(sum) })?;
        self.to.flush()?;
        Ok(self.exported)
    }
}
