use std::io::{self, BufRead, Read};

use chat_proto::{ExportLine, ExportReader, InvalidExport};

use super::Imported;

/// Bytes of the longest line.
const MAX_LINE: u64 = 16 << 20;

/// Reads an export line by line. It needs the memory of one line.
///
/// ```
/// use chat_core::ExportLines;
///
/// let mut lines = ExportLines::new(&b"{\"type\":\"export\",\"version\":1}\n{\"type\":\"end\"}\n"[..]);
/// while let Some(line) = lines.next_line()? {
///     drop(line);
/// }
/// assert_eq!(lines.imported().rooms, 0);
/// # Ok::<(), chat_core::ReadExportError>(())
/// ```
#[derive(Debug)]
pub struct ExportLines<R> {
    from: R,
    reader: ExportReader,
    imported: Imported,
    sum: crc32fast::Hasher,
    line: Vec<u8>,
}

/// The reason why a line of an export cannot be read. The text of the error repeats nothing of a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadExportError {
    /// The line is not one of an export, or cannot follow the lines before it.
    #[error("line {line}: {problem}")]
    Line {
        /// The number of the line, from 1 on.
        line: u64,
        /// The problem.
        problem: InvalidExport,
    },
    /// The line is too long.
    #[error("line {line}: it is longer than {} MiB", MAX_LINE >> 20)]
    TooLong {
        /// The number of the line.
        line: u64,
    },
    /// The file ends inside of the line.
    #[error("line {line}: the export ends in the middle of this line: it is incomplete")]
    Cut {
        /// The number of the line.
        line: u64,
    },
    /// The line is not text.
    #[error("line {line}: it is not UTF-8")]
    NotText {
        /// The number of the line.
        line: u64,
    },
    /// The checksum in the last line is another one.
    #[error("line {line}: the checksum of the lines before it differs: the export was altered or damaged")]
    Checksum {
        /// The number of the last line.
        line: u64,
    },
    /// The content of a room contradicts itself. Only a store notices it.
    #[error("line {line}: {problem}")]
    Content {
        /// The number of the line where it was found.
        line: u64,
        /// The problem.
        problem: String,
    },
    /// The file cannot be read.
    #[error("line {line}: cannot read it: {source}")]
    Read {
        /// The number of the line.
        line: u64,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl<R: BufRead> ExportLines<R> {
    /// Begins to read.
    pub fn new(from: R) -> Self {
        let (reader, imported, line) = Default::default();
        Self { from, reader, imported, sum: crc32fast::Hasher::new(), line }
    }

    /// Reads the next line. Returns `None` after the last one.
    ///
    /// # Errors
    ///
    /// A [`ReadExportError`], which names the line.
    pub fn next_line(&mut self) -> Result<Option<ExportLine>, ReadExportError> {
        let before = self.sum.clone();
        let is_last = self.read()?;
        let number = self.imported.lines;
        if is_last && self.line.is_empty() {
            let finished = self.reader.finish();
            return finished
                .map(|()| None)
                .map_err(|problem| ReadExportError::Line { line: number, problem });
        }
        let text = str::from_utf8(&self.line).map_err(|_| ReadExportError::NotText { line: number })?;
        let line = match self.reader.read(text) {
            Ok(line) => line,
            Err(_) if is_last && !text.ends_with('}') => return Err(ReadExportError::Cut { line: number }),
            Err(problem) => return Err(ReadExportError::Line { line: number, problem }),
        };
        if let ExportLine::End { crc32: Some(sum) } = line
            && sum != before.finalize()
        {
            return Err(ReadExportError::Checksum { line: number });
        }
        self.imported.count(&line);
        Ok(Some(line))
    }

    /// Returns the numbers of what was read so far.
    pub fn imported(&self) -> Imported {
        self.imported
    }

    /// Returns the error of the line that was read last, whose content contradicts earlier lines.
    pub fn contradiction(&self, problem: String) -> ReadExportError {
        ReadExportError::Content { line: self.imported.lines, problem }
    }

    /// Reads the next line, without its end. Returns `true` if it has no end, because it is the last one.
    fn read(&mut self) -> Result<bool, ReadExportError> {
        self.line.clear();
        self.imported.lines += 1;
        let number = self.imported.lines;
        let read = (&mut self.from).take(MAX_LINE + 1).read_until(b'\n', &mut self.line);
        let length = read.map_err(|source| ReadExportError::Read { line: number, source })?;
        self.sum.update(&self.line);
        self.imported.bytes += length as u64;
        let is_last = self.line.pop_if(|byte| *byte == b'\n').is_none();
        if length as u64 > MAX_LINE {
            return Err(ReadExportError::TooLong { line: number });
        }
        Ok(is_last)
    }
}
