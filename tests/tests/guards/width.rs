use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::docs::{DOCUMENTED, matching};
use crate::sources::rust_files;

/// The columns of a line.
const WIDTH: usize = 120;

/// Directories whose Markdown files are checked. A `*` stands for any directory name.
const MARKDOWN: [&str; 5] = [".", "docs", "crates/*", "apps/*", "tests"];

#[test]
fn doc_comments_and_prose_have_at_most_120_columns() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut problems = Vec::new();
    for pattern in DOCUMENTED {
        for folder in matching(&root, pattern)? {
            for (path, source) in rust_files(&folder)? {
                let wide = wide_doc_comments(&source);
                problems.extend(wide.iter().map(|number| format!("{}:{number}", path.display())));
            }
        }
    }
    for pattern in MARKDOWN {
        for folder in matching(&root, pattern)? {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "md") {
                    let wide = wide_prose(&fs::read_to_string(&path)?);
                    problems.extend(wide.iter().map(|number| format!("{}:{number}", path.display())));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} wide lines:\n{}", problems.len(), problems.join("\n"));
    Ok(())
}

#[test]
fn wide_lines_are_found() {
    let (fits, wide) = ("한".repeat(WIDTH - 4), "한".repeat(WIDTH + 1));
    let source =
        format!("/// {fits}\n    /// {fits}\n//! {wide}\n//! | {wide} |\n// {wide}\nfn f() {{}} // {wide}");
    assert_eq!(wide_doc_comments(&source), [2, 3]);
    assert_eq!(wide_prose(&format!("{fits}\n| {wide} |\n{wide}\n")), [3]);
}

/// Returns the numbers of the lines of doc comments that are too wide. Rows of tables are left out.
fn wide_doc_comments(source: &str) -> Vec<usize> {
    wide_lines(source, |line| {
        let line = line.trim_start();
        let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        text.is_some_and(|text| !text.trim_start().starts_with('|'))
    })
}

/// Returns the numbers of the lines of a Markdown text that are too wide. Rows of tables are left out.
fn wide_prose(text: &str) -> Vec<usize> {
    wide_lines(text, |line| !line.starts_with('|'))
}

fn wide_lines(text: &str, is_checked: impl Fn(&str) -> bool) -> Vec<usize> {
    let lines = (1..).zip(text.lines());
    lines
        .filter(|(_, line)| line.chars().count() > WIDTH && is_checked(line))
        .map(|(number, _)| number)
        .collect()
}
