//! The format of an export, which moves a chat to another server. docs/export.md describes it for people who write
//! converters.

mod digest;
mod line;
mod reader;
mod room;

pub use line::{ExportLine, InvalidExport, one_line};
pub use reader::ExportReader;
pub use room::{Contradiction, ExportedMessage, ExportedRoom};

/// The version of the format that this crate writes and reads.
pub const EXPORT_VERSION: u64 = 1;
