use std::collections::{BTreeMap, BTreeSet};

use super::Difference;
use super::line::{Event, Line};
use super::random::{lossy, without};

/// The number of lines before a difference that are shown.
const CONTEXT: usize = 4;

/// A conversation, and separately the events about other users.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    own: Vec<Line>,
    /// For each room the entries and the events about each user, and the pongs.
    others: BTreeMap<(String, Option<String>), Vec<Line>>,
}

impl Lanes {
    pub(super) fn of(lines: &[Line]) -> Self {
        let welcomed =
            lines.iter().filter_map(|line| line.event.as_ref()).find(|event| event.kind == "welcome");
        let me = welcomed.and_then(|event| event.user.clone());
        let mut lanes = Self::default();
        for line in lines {
            match &line.event {
                Some(event) if event.is_about_a_user() && event.user != me => {
                    let who = event.user.clone().filter(|_| !event.is_entry());
                    lanes.others.entry((event.room.clone(), who)).or_default().push(line.clone());
                }
                None if line.bytes.first() == Some(&0x8a) => {
                    lanes.others.entry(("pongs".to_owned(), None)).or_default().push(line.clone());
                }
                Some(event) if event.kind == "joined" => {
                    let text = lossy(&without(&["members"], line.text.as_bytes()));
                    let bytes = without(&["members"], &line.bytes);
                    lanes.own.push(Line { text, bytes, event: line.event.clone() });
                }
                _ => lanes.own.push(line.clone()),
            }
        }
        lanes.pair_sent();
        lanes
    }

    /// Moves each `sent` and `done` directly after its entry.
    fn pair_sent(&mut self) {
        let is = |line: &Line, of: &Event| {
            line.event
                .as_ref()
                .is_some_and(|event| event.is_entry() && event.room == of.room && event.seq == of.seq)
        };
        for index in 0..self.own.len() {
            let is_reply = |event: &Event| matches!(&*event.kind, "sent" | "done");
            let Some(event) = self.own[index].event.clone().filter(is_reply) else { continue };
            if let Some(later) = self.own[index..].iter().position(|line| is(line, &event)) {
                let message = self.own.remove(index + later);
                self.own.insert(index, message);
            } else if let Some(earlier) = self.own[..index].iter().rposition(|line| is(line, &event)) {
                let sent = self.own.remove(index);
                self.own.insert(earlier + 1, sent);
            }
        }
    }

    pub(super) fn differs(&self, other: &Self) -> Option<Difference> {
        if self.own != other.own {
            return Some(difference(&self.own, &other.own));
        }
        let nothing = Vec::new();
        let lanes: BTreeSet<_> = self.others.keys().chain(other.others.keys()).collect();
        lanes.into_iter().find_map(|lane| {
            let ours = self.others.get(lane).unwrap_or(&nothing);
            let theirs = other.others.get(lane).unwrap_or(&nothing);
            // The rest was still on its way when the case ended.
            let both = ours.len().min(theirs.len());
            (ours[..both] != theirs[..both]).then(|| difference(ours, theirs))
        })
    }
}

fn difference(ours: &[Line], theirs: &[Line]) -> Difference {
    let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let bytes = |lines: &[Line]| lines.get(at).map(|line| line.bytes.clone()).unwrap_or_default();
    let around = bytes(ours).iter().zip(&bytes(theirs)).take_while(|(a, b)| a == b).count();
    let shown = |lines: &[Line]| match lines.get(at..(at + 3).min(lines.len())) {
        Some([first, rest @ ..]) => {
            [vec![first.shown(around)], rest.iter().map(|line| line.text.clone()).collect()].concat()
        }
        _ => vec!["(nothing more)".to_owned()],
    };
    Difference {
        client: String::new(),
        before: ours[at.saturating_sub(CONTEXT)..at].iter().map(|line| line.text.clone()).collect(),
        expected: shown(ours),
        actual: shown(theirs),
    }
}
