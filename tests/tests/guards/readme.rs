//! The table of guarantees in the README names cases and files that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::sources::rust_files;

#[test]
fn the_guarantees_of_the_readme_name_existing_cases_and_files() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md"))?;
    let cases: BTreeSet<_> =
        chat_conformance::cases().iter().map(|case| format!("{}::{}", case.group, case.name)).collect();
    let rows = proofs(&readme).context("the README has no table of guarantees")?;
    assert!(rows.len() > 4, "{rows:?}");
    let is_test = |name: &str, folder: &str| {
        let is_defined =
            |source: &str| ["(", "<"].iter().any(|end| source.contains(&format!("fn {name}{end}")));
        Ok(rust_files(&root.join(folder))?.iter().any(|(_, source)| is_defined(source)))
    };
    let problems = missing(&rows, |name| cases.contains(name), |path| root.join(path).exists(), is_test)?;
    assert_eq!(problems, [] as [String; 0]);
    Ok(())
}

#[test]
fn a_guarantee_without_an_existing_case_or_file_is_found() {
    let readme = "# A\n\n| guarantee | shown by |\n|---|---|\n| One. | `a::b` |\n| Two. | `a::c` |\n\
        | Three. | `tests/here` |\n| Four. | `tests/gone` |\n| Five. | reading |\n\
        | Six. | `six` in [x](here) |\n| Seven. | `seven` in [x](here) |\n| Eight. | `six` |\n\n`a::other`\n";
    let rows = proofs(readme).expect("a table");
    let problems = missing(
        &rows,
        |name| name == "a::b",
        |path| path == "tests/here",
        |name, folder| Ok((name, folder) == ("six", "here")),
    );
    assert_eq!(
        problems.expect("no files are read"),
        [
            "no case is named a::c",
            "tests/gone does not exist",
            "a row names no case, no test and no file: reading",
            "no test is named seven",
            "no test is named six"
        ]
    );
    assert_eq!(proofs("| crate | purpose |\n|---|---|\n| `a::b` | `c` |\n"), None);
}

/// Returns the last cell of each row of the table of guarantees.
fn proofs(readme: &str) -> Option<Vec<&str>> {
    let (_, table) = readme.split_once("| guarantee | shown by |\n")?;
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    Some(
        rows.filter_map(|row| row.trim_end_matches(['|', ' ']).rsplit_once("| "))
            .map(|(_, cell)| cell)
            .collect(),
    )
}

/// Returns one line for each case, test or file that a row names and that does not exist. A test is in the folder to
/// which its row links.
fn missing(
    rows: &[&str],
    is_case: impl Fn(&str) -> bool,
    is_file: impl Fn(&str) -> bool,
    is_test: impl Fn(&str, &str) -> Result<bool>,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for row in rows {
        let names: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            problems.push(format!("a row names no case, no test and no file: {row}"));
        }
        for name in names {
            if name.contains("::") {
                if !is_case(name) {
                    problems.push(format!("no case is named {name}"));
                }
            } else if name.contains('/') {
                if !is_file(name) {
                    problems.push(format!("{name} does not exist"));
                }
            } else {
                let folder = row.split_once("](").and_then(|(_, link)| link.split_once(')'));
                let is_found = folder.map(|(folder, _)| is_test(name, folder)).transpose()?;
                if is_found != Some(true) {
                    problems.push(format!("no test is named {name}"));
                }
            }
        }
    }
    Ok(problems)
}
