use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::sources::{ADAPTERS, sources};

/// The crates of a binary whose lines an operator reads, besides the adapters.
const CRATES: [&str; 7] =
    ["chat-adapter", "chat-auth", "chat-core", "chat-jetstream", "chat-sqlite", "chat-websocket", "chatd"];

/// The macros of the lines that are logged by default.
const MACROS: [&str; 3] = ["error!(", "warn!(", "info!("];

#[test]
fn the_operators_document_has_each_log_event_and_no_other() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = fs::read_to_string(root.join("docs/operations.md"))?;
    let documented = documented(&document);
    let mut logged = BTreeSet::new();
    for name in CRATES.into_iter().chain(ADAPTERS) {
        for (_, source) in sources(name)? {
            logged.extend(events(&source));
        }
    }
    let missing: Vec<_> =
        logged.iter().filter(|event| !documented.iter().any(|known| is(known, event))).collect();
    assert!(missing.is_empty(), "docs/operations.md has no line of {missing:?}");
    let unknown: Vec<_> =
        documented.iter().filter(|known| !logged.iter().any(|event| is(known, event))).collect();
    assert!(unknown.is_empty(), "nothing logs {unknown:?}");
    Ok(())
}

/// Returns true if a document means this event. Dots at the end stand for a part that varies.
fn is(documented: &str, event: &str) -> bool {
    documented.strip_suffix("...").map_or(documented == event, |start| event.starts_with(start))
}

/// Returns the events in the tables of log events.
fn documented(document: &str) -> BTreeSet<&str> {
    let (_, events) = document.split_once("### Log events").unwrap_or_default();
    let (events, _) = events.split_once("\nFields:").unwrap_or((events, ""));
    events.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

/// Returns the message of each call of the macros. It is the last text of the call.
fn events(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in MACROS {
        // A longer name, such as `compile_error!`, is another macro.
        let calls = source.match_indices(name).filter(|(at, _)| !source[..*at].ends_with('_'));
        found.extend(calls.filter_map(|(at, _)| last_text(source.get(at + name.len()..)?)));
    }
    found
}

/// Returns the last text in quotes before the parenthesis that ends a call.
fn last_text(call: &str) -> Option<String> {
    let (mut depth, mut texts, mut rest) = (1, Vec::new(), call);
    while depth > 0 {
        let at = rest.find(['(', ')', '"'])?;
        let (found, after) = (rest.as_bytes().get(at)?, rest.get(at + 1..)?);
        rest = after;
        match found {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {
                let end = after.find('"')?;
                texts.push(after.get(..end)?);
                rest = after.get(end + 1..)?;
            }
        }
    }
    // A line that goes on in the next one.
    Some(texts.last()?.split("\\\n").map(str::trim_start).collect())
}

#[test]
fn the_last_text_of_a_call_is_the_event() {
    let source = "info!(reason = \"(a\", at = ?now(), \"key \\\n    loaded\");\nerror!(%error, \"failed\");\ncompile_error!(\"x\");";
    assert_eq!(events(source), ["failed", "key loaded"]);
    let document = "| `a` |\n### Log events\n| event |\n| `failed` * | error |\n| `key ...` | info |\n\nFields:\n| `b` |";
    assert_eq!(documented(document), BTreeSet::from(["failed", "key ..."]));
    assert!(is("key ...", "key loaded") && is("failed", "failed") && !is("fail", "failed"));
}
