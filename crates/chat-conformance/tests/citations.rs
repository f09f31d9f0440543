//! Tests that the source of each case exists.

use std::collections::BTreeSet;

use chat_conformance::cases;

const PROTOCOL: &str = include_str!("../../../PROTOCOL.md");

#[test]
fn each_section_of_the_protocol_that_a_case_cites_exists() {
    let headings = headings();
    let cases = cases();
    for case in &cases {
        for citation in case.source.split("; ") {
            if let Some(rest) = citation.strip_prefix("PROTOCOL.md, ") {
                let cited = sections(rest).unwrap_or_else(|| panic!("{}: {citation}", case.path()));
                for section in cited {
                    assert!(headings.contains(&section), "{}: no section {section}", case.path());
                }
            }
        }
    }
}

#[test]
fn a_case_cites_the_protocol_or_an_rfc_and_nothing_else() {
    for case in cases() {
        for citation in case.source.split("; ") {
            let known = match citation.strip_prefix("RFC ") {
                Some(rest) => rest.split_once(' ').is_some_and(|(number, rest)| {
                    number.len() == 4 && number.parse::<u16>().is_ok() && sections(rest).is_some()
                }),
                None => citation.strip_prefix("PROTOCOL.md, ").is_some_and(|rest| sections(rest).is_some()),
            };
            assert!(known, "{}: {citation}", case.path());
        }
    }
}

#[test]
fn the_headings_of_the_protocol_are_numbered_in_order() {
    let top: Vec<_> = headings().into_iter().filter(|heading| !heading.contains('.')).collect();
    assert_eq!(top, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

/// Returns the numbers of the headings: `1`, `5.3`.
fn headings() -> BTreeSet<String> {
    let titles = PROTOCOL.lines().filter(|line| line.starts_with("##"));
    let numbers = titles.filter_map(|line| line.split_whitespace().nth(1));
    let number = |word: &str| word.trim_end_matches('.').to_owned();
    numbers.map(number).filter(|word| is_number(word)).collect()
}

/// Returns the sections that `section 5.3 (4000)`, `section 4.2.2 step 5` or `sections 2 and 4` names.
fn sections(text: &str) -> Option<Vec<String>> {
    let mut words = text.split(' ');
    let cited: Vec<_> = match words.next()? {
        "section" => vec![words.next()?],
        "sections" => [words.next()?, words.next().filter(|and| *and == "and").and(words.next())?].into(),
        _ => return None,
    };
    let note = match words.next() {
        None => true,
        Some("step") => words.next().is_some_and(is_number) && words.next().is_none(),
        Some(word) => word.starts_with('(') && text.ends_with(')'),
    };
    (note && cited.iter().all(|word| is_number(word))).then(|| cited.into_iter().map(str::to_owned).collect())
}

fn is_number(word: &str) -> bool {
    word.split('.').all(|part| part.parse::<u16>().is_ok())
}
