//! An export as a file, for the stores that write or read one. `docs/export.md` describes the format.

mod lines;
mod writer;

use chat_proto::{Event, ExportLine};

pub use lines::{ExportLines, ReadExportError};
pub use writer::ExportWriter;

/// The result of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Messages written.
    pub messages: u64,
    /// Entries left out, because they are damaged.
    pub unreadable: u64,
}

/// The progress and the result of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Bytes read.
    pub bytes: u64,
    /// Lines read.
    pub lines: u64,
    /// Rooms read.
    pub rooms: u64,
    /// Messages read.
    pub messages: u64,
    /// Entries that the export names as lost. They are missing in the store too.
    pub lost: u64,
}

impl Exported {
    fn count(&mut self, line: &ExportLine) {
        match line {
            ExportLine::Event { event, .. } if is_message(event) => self.messages += 1,
            ExportLine::Lost { seq, to, .. } => self.unreadable += to - seq + 1,
            _ => {}
        }
    }
}

impl Imported {
    fn count(&mut self, line: &ExportLine) {
        match line {
            ExportLine::Room { .. } => self.rooms += 1,
            ExportLine::Event { event, .. } if is_message(event) => self.messages += 1,
            ExportLine::Lost { seq, to, .. } => self.lost += to - seq + 1,
            _ => {}
        }
    }
}

fn is_message(event: &Event) -> bool {
    matches!(event, Event::Message { .. })
}
