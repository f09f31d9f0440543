//! The examples of `docs/asyncapi.json`, read and written by the types of this crate. The tests of the JavaScript
//! client check that each example fits its schema and the types of TypeScript.

use std::collections::BTreeSet;

use chat_proto::{Event, command};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../../docs/asyncapi.json");
const PROTOCOL: &str = include_str!("../../../../PROTOCOL.md");

/// Returns the example of each message whose name starts with a prefix, with the rest of that name.
fn examples(prefix: &str) -> Vec<(String, Value)> {
    let document: Value = serde_json::from_str(DOCUMENT).expect("the document is JSON");
    let messages = document["components"]["messages"].as_object().expect("messages");
    let named = messages.iter().filter_map(|(name, message)| {
        let name = name.strip_prefix(prefix)?.to_owned();
        Some((name, message["examples"][0]["payload"].clone()))
    });
    named.collect()
}

#[test]
fn the_described_events_are_those_of_the_types() {
    for (name, example) in examples("event.") {
        let event = Event::parse(&example.to_string()).expect(&name);
        assert!(!matches!(event, Event::Unknown { .. }), "{name}");
        let written: Value = serde_json::from_slice(&event.encode()).expect("an event is JSON");
        assert_eq!(written, example, "{name}");
    }
}

#[test]
fn the_described_commands_are_those_of_the_types() {
    let limits = chat_proto::Limits::default();
    for (name, example) in examples("command.") {
        let parsed = command::parse(example.to_string().as_bytes(), &limits);
        let command = parsed.command.expect(&name);
        let written: Value =
            serde_json::from_str(&command.encode(parsed.reference.as_deref())).expect("JSON");
        assert_eq!(written, example, "{name}");
    }
}

/// Returns the names in the first column of the first table in a section of PROTOCOL.md.
fn rows(section: &str) -> BTreeSet<String> {
    let (_, text) = PROTOCOL.split_once(section).expect(section);
    let table = text.lines().skip_while(|line| !line.starts_with("| `type`")).skip(2);
    table
        .map_while(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn each_command_and_event_of_the_protocol_is_described() {
    for (prefix, section) in [("command.", "\n## 3. Commands\n"), ("event.", "\n## 4. Events\n")] {
        let names: BTreeSet<_> = examples(prefix).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, rows(section));
    }
}
