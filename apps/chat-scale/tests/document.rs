//! The tables of `docs/scale.md` are those of the program.

use std::fs;

use chat_scale::{SCENARIOS, SEED, Table, updated};

#[test]
fn the_tables_of_the_document_are_those_of_the_program() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scale.md");
    let document = fs::read_to_string(path).expect("the document");
    let tables: Vec<Table> = SCENARIOS.iter().flat_map(|(_, tables)| tables(SEED)).collect();
    for table in &tables {
        let line = format!("<!-- just scale {} -->", table.name);
        assert!(document.lines().any(|found| found == line), "no line {line}");
    }
    let expected = updated(&document, &tables);
    let differs = document.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(document == expected, "run `just scale --update docs/scale.md`: {differs:?}");
}
