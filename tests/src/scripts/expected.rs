//! The events that a client must receive, with the freedom that the protocol leaves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The events that one client must receive in one step. The events of one source have an order; two sources may
/// interleave.
#[derive(Debug, Default)]
pub(super) struct Expectation {
    sources: BTreeMap<Source, Vec<ExpectedEvent>>,
    /// The end of the connection, if the step ends it.
    pub(super) ends: Option<Termination>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Replies,
    /// The markers that other connections of the user move.
    Markers,
    Room(usize),
    /// Presence and typing in a room of several nodes, which no log carries.
    Notices(usize),
}

/// The last thing that a client receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Termination {
    /// The close frame of the server, which the client answers.
    Close,
    /// The close frame of the server, after an invalid one of the client.
    AnsweredClose,
    /// The end of the stream.
    End,
}

/// An event. A `null` in it matches any value, and a list in the place of a single value matches each of its values.
#[derive(Clone, Debug)]
pub(super) struct ExpectedEvent {
    event: Value,
    /// The form in which the event may come instead.
    other: Option<Value>,
    /// True if the event may be missing, because the connection is ending.
    pub(super) optional: bool,
}

impl Expectation {
    pub(super) fn add(&mut self, source: Source, event: Value) {
        self.sources.entry(source).or_default().push(ExpectedEvent { event, other: None, optional: false });
    }

    /// Adds an entry of a room that may come as it was published, or as the log has it now.
    pub(super) fn add_entry(&mut self, source: Source, published: Value, present: Value) {
        let other = (present != published).then_some(present);
        self.sources.entry(source).or_default().push(ExpectedEvent {
            event: published,
            other,
            optional: false,
        });
    }

    /// The server closes with one of these codes. Events of rooms may then be missing.
    pub(super) fn closed(&mut self, codes: &[u16]) {
        self.make_optional(|source| source != Source::Replies);
        self.add(Source::Replies, json!({"type": "closing", "code": codes, "reason": null}));
        self.add(Source::Replies, json!({"frame": "close", "code": codes}));
        self.ends = Some(Termination::Close);
    }

    /// Makes all events of some sources optional.
    pub(super) fn make_optional(&mut self, excused: impl Fn(Source) -> bool) {
        let sources = self.sources.iter_mut().filter(|(source, _)| excused(**source));
        sources.flat_map(|(_, events)| events).for_each(|expected| expected.optional = true);
    }

    /// Returns true if this event is expected.
    pub(super) fn contains(&self, event: &Value) -> bool {
        self.sources.values().flatten().any(|expected| expected.matches(event))
    }

    /// Returns the maximum number of events.
    pub(super) fn count(&self) -> usize {
        self.sources.values().map(Vec::len).sum()
    }

    /// Returns the number of events that must come.
    pub(super) fn required(&self) -> usize {
        self.sources.values().flatten().filter(|expected| !expected.optional).count()
    }

    /// Returns the expected event for each received event.
    pub(super) fn find(&self, received: &[Value]) -> Result<Vec<&ExpectedEvent>, String> {
        let mut sources: Vec<&[ExpectedEvent]> = self.sources.values().map(Vec::as_slice).collect();
        let mut found = Vec::new();
        for event in received {
            let taken = sources.iter_mut().find_map(|source| {
                let index = source.iter().position(|next| next.matches(event) || !next.optional)?;
                let taken = source.get(index).filter(|next| next.matches(event))?;
                *source = &source[index + 1..];
                Some(taken)
            });
            found.push(taken.ok_or_else(|| self.explain(&format!("must not get {event} now"), received))?);
        }
        match sources.into_iter().flatten().find(|expected| !expected.optional) {
            Some(missing) => Err(self.explain(&format!("does not get {}", missing.event), received)),
            None => Ok(found),
        }
    }

    fn explain(&self, problem: &str, received: &[Value]) -> String {
        let mut text = format!("{problem}\n  expected:");
        for ExpectedEvent { event, other, optional } in self.sources.values().flatten() {
            text += &format!("\n    {event}{}", if *optional { "  (or not)" } else { "" });
            if let Some(other) = other {
                text += &format!("\n      or {other}");
            }
        }
        text += "\n  observed:";
        for event in received {
            text += &format!("\n    {event}");
        }
        text
    }
}

impl ExpectedEvent {
    fn matches(&self, event: &Value) -> bool {
        matches(&self.event, event) || self.other.as_ref().is_some_and(|other| matches(other, event))
    }

    /// Returns true if the event may come in another form.
    pub(super) fn has_other_form(&self) -> bool {
        self.other.is_some()
    }

    /// Returns true if the protocol allows several codes.
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

    fn expected() -> Expectation {
        let mut expected = Expectation::default();
        expected.add(Source::Replies, json!({"type": "sent", "seq": 1, "at": null}));
        expected.add(Source::Replies, json!({"type": "error", "code": ["bad_key", "not_joined"]}));
        expected.add(Source::Room(0), json!({"type": "message", "seq": 1, "at": null}));
        expected.add(Source::Room(0), json!({"type": "message", "seq": 2, "at": null}));
        expected
    }

    fn received() -> [Value; 4] {
        let sent = json!({"type": "sent", "seq": 1, "at": 1_001});
        [sent, message(1), json!({"type": "error", "code": "not_joined"}), message(2)]
    }

    #[test]
    fn events_of_different_sources_may_interleave() {
        let [sent, first, error, second] = received();
        let expected = expected();
        for order in [[&sent, &first, &error, &second], [&first, &second, &sent, &error]] {
            assert_eq!(expected.find(&order.map(Clone::clone)).map(|found| found.len()), Ok(4));
        }
    }

    #[test]
    fn missing_reordered_repeated_and_different_events_are_found() {
        let [sent, first, error, second] = received();
        let expected = expected();
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
            assert!(expected.find(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_optional_event_may_be_missing_but_not_late() {
        let [sent, first, error, second] = received();
        let mut expected = expected();
        expected.make_optional(|source| source == Source::Room(0));
        let find = |received: &[&Value]| {
            let received: Vec<_> = received.iter().copied().cloned().collect();
            expected.find(&received).is_ok()
        };
        assert!(find(&[&sent, &error]));
        assert!(find(&[&sent, &first, &error]));
        assert!(!find(&[&second, &first, &sent, &error]));
        assert!(!find(&[&first, &second, &error]));
    }
}
