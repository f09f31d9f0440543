use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chat_suite::indented;

/// The number of bytes of a sent entry that are kept. Received entries are kept completely.
const MAX_SENT_BYTES: usize = 512;

/// The number of entries that are kept: more than the longest case has.
const MAX_ENTRIES: usize = 100_000;

/// The number of entries at the start and at the end that are shown.
const SHOWN_ENTRIES: usize = 500;

/// The data that the clients of one case sent and received, in order.
///
/// A clone is another handle to the same transcript.
#[derive(Clone, Debug)]
pub struct Transcript {
    started: Instant,
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    entries: Vec<Entry>,
    /// The number of connections of each client.
    connections: BTreeMap<String, usize>,
    is_cut: bool,
}

/// One entry of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The time since the start of the case.
    pub at: Duration,
    /// The client: its name, with a number from its second connection on.
    pub client: String,
    /// The direction.
    pub direction: Direction,
    /// A description.
    pub what: String,
    /// The bytes. Of a long entry that was sent, the first ones.
    pub bytes: Vec<u8>,
    /// The number of bytes, including those that were not kept.
    pub length: usize,
}

/// The direction of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    Sent,
    /// From the server.
    Received,
    /// Neither: an action or an observation of the client.
    Noted,
}

impl Direction {
    pub(crate) fn sign(self) -> char {
        match self {
            Self::Sent => '>',
            Self::Received => '<',
            Self::Noted => '-',
        }
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self { started: Instant::now(), record: Arc::default() }
    }
}

impl Transcript {
    /// Returns the entries up to now.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// Returns true if entries were dropped, because there were too many.
    pub fn is_cut(&self) -> bool {
        self.lock().is_cut
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a unique name for another connection of a client.
    pub(crate) fn connection(&self, client: &str) -> String {
        let mut record = self.lock();
        let number = record.connections.entry(client.to_owned()).or_default();
        *number += 1;
        if *number == 1 { client.to_owned() } else { format!("{client}#{number}") }
    }

    pub(crate) fn record(&self, client: &str, direction: Direction, what: impl Into<String>, bytes: &[u8]) {
        let mut record = self.lock();
        if record.entries.len() >= MAX_ENTRIES {
            record.is_cut = true;
            return;
        }
        let kept = if direction == Direction::Sent { bytes.len().min(MAX_SENT_BYTES) } else { bytes.len() };
        record.entries.push(Entry {
            at: self.started.elapsed(),
            client: client.to_owned(),
            direction,
            what: what.into(),
            bytes: bytes[..kept].to_vec(),
            length: bytes.len(),
        });
    }

    /// Returns a line for each entry, and below it the bytes as hex and text.
    pub fn to_text(&self, indent: &str) -> String {
        let mut text = String::new();
        let entries = self.entries();
        for (number, entry) in entries.iter().enumerate() {
            if entries.len() > 2 * SHOWN_ENTRIES
                && (SHOWN_ENTRIES..entries.len() - SHOWN_ENTRIES).contains(&number)
            {
                if number == SHOWN_ENTRIES {
                    // A write to a string does not fail.
                    let _written =
                        writeln!(text, "{indent}... {} entries", entries.len() - 2 * SHOWN_ENTRIES);
                }
                continue;
            }
            let (sign, seconds) = (entry.direction.sign(), entry.at.as_secs_f64());
            let what = indented(&entry.what, &format!("{indent}          "));
            let _written = writeln!(text, "{indent}{seconds:7.3} {} {sign} {what}", entry.client);
            for line in hex_lines(&entry.bytes[..entry.bytes.len().min(64)], entry.length) {
                let _written = writeln!(text, "{indent}          {line}");
            }
        }
        text
    }
}

/// Returns bytes as hex on the left and text on the right, sixteen in a line. `length` is the number before any cut.
pub fn hex_lines(bytes: &[u8], length: usize) -> Vec<String> {
    let mut lines: Vec<String> = bytes
        .chunks(16)
        .map(|chunk| {
            let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            let shown =
                |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '.' };
            let text: String = chunk.iter().map(shown).collect();
            format!("{:<47}  {text}", hex.join(" "))
        })
        .collect();
    if length > bytes.len() {
        lines.push(format!("... {length} bytes in all"));
    }
    lines
}
