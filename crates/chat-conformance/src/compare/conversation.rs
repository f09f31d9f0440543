use std::collections::{BTreeMap, BTreeSet};

use super::line::Line;
use super::random::{lossy, timeless_text};
use crate::Transcript;
use crate::transcript::Direction;

/// Returns the conversation of each connection.
pub(super) fn conversations(transcript: &Transcript) -> BTreeMap<String, Vec<Line>> {
    let mut conversations: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    let mut pings: BTreeSet<(String, String)> = BTreeSet::new();
    for entry in transcript.entries() {
        let lines = conversations.entry(entry.client.clone()).or_default();
        let line = match entry.direction {
            Direction::Received if entry.bytes.first() == Some(&0x89) => {
                pings.insert((entry.client.clone(), entry.what.replacen("ping", "pong", 1)));
                continue;
            }
            Direction::Received => Line::received(&entry),
            Direction::Sent if pings.contains(&(entry.client.clone(), entry.what.clone())) => continue,
            Direction::Sent => {
                let line = Line::plain(format!("> {}", lossy(&timeless_text(&entry.what))));
                if lines.last() == Some(&line) {
                    continue;
                }
                line
            }
            Direction::Noted if matches!(&*entry.what, "sees the end of the stream" | "sees a reset") => {
                Line::plain("- sees the end of the connection".to_owned())
            }
            Direction::Noted => Line::plain(format!("- {}", entry.what)),
        };
        lines.push(line);
    }
    if transcript.is_cut() {
        conversations.entry("transcript".to_owned()).or_default().push(Line::plain("- is cut".to_owned()));
    }
    conversations
}
