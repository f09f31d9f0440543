use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Bytes of one entry that are kept; of floods the rest says nothing new.
const KEPT: usize = 512;

/// Entries that are kept.
const ENTRIES: usize = 2_000;

/// Everything that the clients of one case sent and received, in order.
///
/// A clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct Transcript {
    started: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
}

/// One thing sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since the case began.
    pub at: Duration,
    /// Which client.
    pub client: String,
    /// Which way.
    pub direction: Direction,
    /// What it was, in words.
    pub what: String,
    /// Its first bytes.
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
    fn sign(self) -> char {
        match self {
            Self::Sent => '>',
            Self::Received => '<',
            Self::Noted => '-',
        }
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self { started: Instant::now(), entries: Arc::default() }
    }
}

impl Transcript {
    /// What there is so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn record(&self, client: &str, direction: Direction, what: impl Into<String>, bytes: &[u8]) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES {
            return;
        }
        entries.push(Entry {
            at: self.started.elapsed(),
            client: client.to_owned(),
            direction,
            what: what.into(),
            bytes: bytes[..bytes.len().min(KEPT)].to_vec(),
            length: bytes.len(),
        });
    }

    /// A line for each entry, and under it its bytes as hex and text.
    pub fn to_text(&self, indent: &str) -> String {
        let mut text = String::new();
        for entry in self.entries() {
            let (sign, seconds) = (entry.direction.sign(), entry.at.as_secs_f64());
            // Writing to a string does not fail.
            let _written = writeln!(text, "{indent}{seconds:7.3} {} {sign} {}", entry.client, entry.what);
            for line in hex_lines(&entry.bytes[..entry.bytes.len().min(64)], entry.length) {
                let _written = writeln!(text, "{indent}          {line}");
            }
        }
        text
    }

    /// What must be the same whichever mechanism served the case: for each client its own conversation,
    /// without what is random or the time.
    pub fn comparable(&self) -> BTreeMap<String, Vec<String>> {
        let mut clients: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in self.entries() {
            let line = format!("{} {}", entry.direction.sign(), timeless(&entry.what));
            clients.entry(entry.client).or_default().push(line);
        }
        clients
    }
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

/// A description whose JSON, if it has one, is without what is random or the time.
fn timeless(what: &str) -> String {
    let Some((before, json)) = what.split_once('{') else {
        return what.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:")).collect();
    };
    match serde_json::from_str::<Value>(&format!("{{{json}")) {
        Ok(mut event) => {
            forget(&mut event);
            format!("{before}{event}")
        }
        Err(_) => what.to_owned(),
    }
}

fn forget(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "at" | "epoch" | "connection" | "reconnect_in_ms" => *field = Value::from("..."),
                    _ => forget(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}
