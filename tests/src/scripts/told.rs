//! What a client must be told, with the freedom that the protocol leaves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What one client is told in one step: lanes of events, each in order. Of two lanes, any may be ahead.
#[derive(Debug, Default)]
pub(super) struct Told {
    lanes: BTreeMap<Lane, Vec<Expected>>,
    /// The last of it, if the connection ends with it.
    pub(super) ends: Option<Last>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Replies,
    Room(usize),
}

/// The last that a client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// The server's close frame, which the client answers.
    Close,
    /// The server's close frame, after one of the client's that is wrong.
    Goodbye,
    /// The end of the stream.
    End,
}

/// An event. What is null in it may be anything, and of a list in the place of a single value one holds.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    event: Value,
    /// Whether it may as well not come, since the connection is ending.
    pub(super) optional: bool,
}

impl Told {
    pub(super) fn hear(&mut self, lane: Lane, event: Value) {
        self.lanes.entry(lane).or_default().push(Expected { event, optional: false });
    }

    /// The server closes, with one of these codes; what the rooms had for the client may not come any more.
    pub(super) fn closed(&mut self, codes: &[u16]) {
        self.excuse(|lane| lane != Lane::Replies);
        self.hear(Lane::Replies, json!({"type": "closing", "code": codes, "reason": null}));
        self.hear(Lane::Replies, json!({"frame": "close", "code": codes}));
        self.ends = Some(Last::Close);
    }

    /// Nothing of these need come any more.
    pub(super) fn excuse(&mut self, excused: impl Fn(Lane) -> bool) {
        let lanes = self.lanes.iter_mut().filter(|(lane, _)| excused(**lane));
        lanes.flat_map(|(_, events)| events).for_each(|expected| expected.optional = true);
    }

    /// How many events there may be.
    pub(super) fn count(&self) -> usize {
        self.lanes.values().map(Vec::len).sum()
    }

    /// Finds what was expected in each event heard.
    pub(super) fn find(&self, heard: &[Value]) -> Result<Vec<&Expected>, String> {
        let mut lanes: Vec<&[Expected]> = self.lanes.values().map(Vec::as_slice).collect();
        let mut found = Vec::new();
        for event in heard {
            let taken = lanes.iter_mut().find_map(|lane| {
                let index = lane.iter().position(|next| next.matches(event) || !next.optional)?;
                let taken = lane.get(index).filter(|next| next.matches(event))?;
                *lane = &lane[index + 1..];
                Some(taken)
            });
            found.push(taken.ok_or_else(|| self.explain(&format!("must not get {event} now"), heard))?);
        }
        match lanes.into_iter().flatten().find(|expected| !expected.optional) {
            Some(missing) => Err(self.explain(&format!("does not get {}", missing.event), heard)),
            None => Ok(found),
        }
    }

    fn explain(&self, problem: &str, heard: &[Value]) -> String {
        let mut text = format!("{problem}\n  expected:");
        for Expected { event, optional } in self.lanes.values().flatten() {
            text += &format!("\n    {event}{}", if *optional { "  (or not)" } else { "" });
        }
        text += "\n  observed:";
        for event in heard {
            text += &format!("\n    {event}");
        }
        text
    }
}

impl Expected {
    fn matches(&self, event: &Value) -> bool {
        matches(&self.event, event)
    }

    /// Whether the protocol leaves the code open.
    pub(super) fn leaves_code_open(&self) -> bool {
        self.event["code"].as_array().is_some_and(|codes| codes.len() > 1)
    }
}

fn matches(expected: &Value, event: &Value) -> bool {
    match (expected, event) {
        (Value::Null, _) => true,
        (Value::Array(any), event) if !event.is_array() => any.contains(event),
        (Value::Array(expected), Value::Array(event)) => {
            expected.len() == event.len() && expected.iter().zip(event).all(|(a, b)| matches(a, b))
        }
        (Value::Object(expected), Value::Object(event)) => {
            let same = |(key, expected)| event.get(key).is_some_and(|value| matches(expected, value));
            expected.len() == event.len() && expected.iter().all(same)
        }
        (expected, event) => expected == event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: u64) -> Value {
        json!({"type": "message", "seq": seq, "at": 1_000 + seq})
    }

    fn told() -> Told {
        let mut told = Told::default();
        told.hear(Lane::Replies, json!({"type": "sent", "seq": 1, "at": null}));
        told.hear(Lane::Replies, json!({"type": "error", "code": ["bad_key", "not_joined"]}));
        told.hear(Lane::Room(0), json!({"type": "message", "seq": 1, "at": null}));
        told.hear(Lane::Room(0), json!({"type": "message", "seq": 2, "at": null}));
        told
    }

    fn heard() -> [Value; 4] {
        let sent = json!({"type": "sent", "seq": 1, "at": 1_001});
        [sent, message(1), json!({"type": "error", "code": "not_joined"}), message(2)]
    }

    #[test]
    fn of_two_lanes_any_may_be_ahead() {
        let [sent, first, error, second] = heard();
        let told = told();
        for order in [[&sent, &first, &error, &second], [&first, &second, &sent, &error]] {
            assert_eq!(told.find(&order.map(Clone::clone)).map(|found| found.len()), Ok(4));
        }
    }

    #[test]
    fn what_is_missing_out_of_order_twice_or_different_is_found() {
        let [sent, first, error, second] = heard();
        let told = told();
        let other = json!({"type": "error", "code": "bad_json"});
        let more = json!({"type": "sent", "seq": 1, "at": 1_001, "duplicate": true});
        for wrong in [
            vec![&sent, &first, &error],
            vec![&error, &sent, &first, &second],
            vec![&sent, &second, &error, &first],
            vec![&sent, &first, &first, &error, &second],
            vec![&sent, &first, &other, &second],
            vec![&more, &first, &error, &second],
        ] {
            let wrong: Vec<_> = wrong.into_iter().cloned().collect();
            assert!(told.find(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_need_not_come_does_not_come_late() {
        let [sent, first, error, second] = heard();
        let mut told = told();
        told.excuse(|lane| lane == Lane::Room(0));
        let find = |heard: &[&Value]| {
            let heard: Vec<_> = heard.iter().copied().cloned().collect();
            told.find(&heard).is_ok()
        };
        assert!(find(&[&sent, &error]));
        assert!(find(&[&sent, &first, &error]));
        assert!(!find(&[&second, &first, &sent, &error]));
        assert!(!find(&[&first, &second, &error]));
    }
}
