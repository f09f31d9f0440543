use std::fs;
use std::path::Path;

use anyhow::Result;

/// The groups of limits, and the type of each.
const GROUPS: [(&str, &str); 6] = [
    ("connection", "ConnectionLimits"),
    ("http", "HttpLimits"),
    ("rates", "RateLimits"),
    ("reads", "ReadLimits"),
    ("rooms", "RoomLimits"),
    ("wire", "WireLimits"),
];

#[test]
fn each_limit_that_the_security_document_names_exists() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = fs::read_to_string(root.join("docs/security.md"))?;
    let mut source = String::new();
    for (group, _) in GROUPS {
        source += &fs::read_to_string(root.join(format!("crates/chat-proto/src/limits/{group}.rs")))?;
    }
    let (named, missing) = missing_fields(&document, &source);
    assert!(named > 20, "the document names {named} limits");
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

/// Returns the number of limits that a document names as `group.field`, and those that the source does not have.
fn missing_fields<'d>(document: &'d str, source: &str) -> (usize, Vec<&'d str>) {
    let fields = document.split('`').skip(1).step_by(2).filter_map(|code| {
        let (group, field) = code.split_once('.')?;
        let (_, name) = GROUPS.iter().find(|(known, _)| *known == group)?;
        Some((code, *name, field))
    });
    let fields: Vec<_> = fields.collect();
    let exists = |name: &str, field: &str| {
        let body = source.split_once(&format!("pub struct {name} {{")).map_or("", |(_, rest)| rest);
        let body = body.split_once("\n}").map_or("", |(body, _)| body);
        body.contains(&format!("pub {field}:"))
    };
    let missing = fields.iter().filter(|(_, name, field)| !exists(name, field)).map(|(code, ..)| *code);
    (fields.len(), missing.collect())
}

#[test]
fn a_limit_of_another_group_or_without_a_field_is_missing() {
    let source = "pub struct RoomLimits {\n    pub max_idle: usize,\n}\npub struct WireLimits {\n    pub max_a: u8,\n}";
    let (named, missing) = missing_fields("`rooms.max_idle`, `rooms.max_a`, `wire.max_b`, `docs.md`", source);
    assert_eq!((named, missing), (3, vec!["rooms.max_a", "wire.max_b"]));
}
