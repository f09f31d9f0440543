use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of one sent entry that are kept; of floods the rest says nothing new. What is received is kept whole.
const KEPT: usize = 512;

/// Entries that are kept: more than the longest flood brings.
const ENTRIES: usize = 100_000;

/// Entries that are written out, from the start and from the end each.
const SHOWN: usize = 500;

/// Everything that the clients of one case sent and received, in order.
///
/// A clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct Transcript {
    started: Instant,
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    entries: Vec<Entry>,
    /// How many connections each client has made.
    connections: BTreeMap<String, usize>,
    is_cut: bool,
}

/// One thing sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since the case began.
    pub at: Duration,
    /// Which client: its name, and from its second connection on the number of that.
    pub client: String,
    /// Which way.
    pub direction: Direction,
    /// What it was, in words.
    pub what: String,
    /// Its bytes; of long ones that were sent the first.
    pub bytes: Vec<u8>,
    /// How many bytes there were.
    pub length: usize,
}

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    Sent,
    /// From the server.
    Received,
    /// Neither: something that the client did or saw.
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
    /// What there is so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// Whether there was more than is kept.
    pub fn is_cut(&self) -> bool {
        self.lock().is_cut
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name for one more connection of a client, which no other has.
    pub(crate) fn connection(&self, client: &str) -> String {
        let mut record = self.lock();
        let number = record.connections.entry(client.to_owned()).or_default();
        *number += 1;
        if *number == 1 { client.to_owned() } else { format!("{client}#{number}") }
    }

    pub(crate) fn record(&self, client: &str, direction: Direction, what: impl Into<String>, bytes: &[u8]) {
        let mut record = self.lock();
        if record.entries.len() >= ENTRIES {
            record.is_cut = true;
            return;
        }
        let kept = if direction == Direction::Sent { bytes.len().min(KEPT) } else { bytes.len() };
        record.entries.push(Entry {
            at: self.started.elapsed(),
            client: client.to_owned(),
            direction,
            what: what.into(),
            bytes: bytes[..kept].to_vec(),
            length: bytes.len(),
        });
    }

    /// A line for each entry, and under it its bytes as hex and text.
    pub fn to_text(&self, indent: &str) -> String {
        let mut text = String::new();
        let entries = self.entries();
        for (number, entry) in entries.iter().enumerate() {
            if entries.len() > 2 * SHOWN && (SHOWN..entries.len() - SHOWN).contains(&number) {
                if number == SHOWN {
                    // Writing to a string does not fail.
                    let _written = writeln!(text, "{indent}... {} entries", entries.len() - 2 * SHOWN);
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

/// Text whose lines are below each other, all but the first behind `indent`.
pub(crate) fn indented(text: &str, indent: &str) -> String {
    text.lines().collect::<Vec<_>>().join(&format!("\n{indent}"))
}

/// Bytes as hex on the left and text on the right, sixteen a line; `length` is how many there really were.
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
