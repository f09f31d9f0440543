use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::sources::rust_files;

/// Directories whose doc comments are checked. A `*` stands for any directory name.
pub(crate) const DOCUMENTED: &[&str] = &["crates/*/src", "apps/*/src", "tests/src"];

/// Words that must not open a doc comment.
const OPENINGS: [&str; 12] =
    ["What", "How", "Why", "Whether", "Who", "Whoever", "Where", "When", "Which", "To be", "If", "None if"];

/// Words that must not occur in a doc comment.
const WORDS: [&str; 4] = ["whoever", "anew", "told of", "so many"];

#[test]
fn doc_comments_are_plain_english() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut problems = Vec::new();
    for pattern in DOCUMENTED {
        for folder in matching(&root, pattern)? {
            for (path, source) in rust_files(&folder)? {
                let path = path.strip_prefix(&root)?.display().to_string();
                problems.extend(doc_problems(&source).into_iter().map(|problem| format!("{path}:{problem}")));
            }
        }
    }
    assert!(problems.is_empty(), "{} doc comments:\n{}", problems.len(), problems.join("\n"));
    Ok(())
}

#[test]
fn doc_comments_that_are_not_plain_english_are_found() {
    for broken in [
        "/// What a client sends.",
        "//! How it works.",
        "    /// Whether it is open.",
        "/// None if it is closed.",
        "/// To be called once.",
        "/// When\n/// it is due.",
        "/// lower case",
        "//! A server.\n/// Which one.",
        "/// A list.\n\n/// Where it is.",
        "/// The server, whoever runs it.",
        "/// A room.\n///\n/// It starts anew.",
        "/// A member is told of a\n/// gap.",
        "/// Waits for so\n/// many messages.",
    ] {
        assert_eq!(doc_problems(broken).len(), 1, "{broken}");
    }
    let plain = "//! A server.\n\n/// Returns the room.\n///\n/// What it holds is kept.\n// how\n//// What?\n/// `seq`.";
    assert_eq!(doc_problems(plain), [] as [String; 0]);
}

/// Returns the directories that match a pattern in which `*` is any directory name.
pub(crate) fn matching(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let mut folders = vec![root.to_owned()];
    for name in pattern.split('/') {
        let mut next = Vec::new();
        for folder in folders {
            if name == "*" {
                next.extend(fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())));
            } else {
                next.push(folder.join(name));
            }
        }
        folders = next.into_iter().filter(|folder| folder.is_dir()).collect();
    }
    assert!(!folders.is_empty(), "no directory matches {pattern}");
    Ok(folders)
}

/// Returns the doc comments of a source that open or read badly, each with its line number.
fn doc_problems(source: &str) -> Vec<String> {
    let mut problems = Vec::new();
    // Each doc comment: the line number and the marker of its first line, and its text.
    let mut comments: Vec<(usize, &str, String)> = Vec::new();
    let mut in_comment = false;
    for (number, line) in (1..).zip(source.lines()) {
        let line = line.trim_start();
        let marker = ["///", "//!"].into_iter().find(|marker| line.starts_with(marker));
        let Some(marker) = marker.filter(|_| !line.starts_with("////")) else {
            in_comment = false;
            continue;
        };
        let text = line[marker.len()..].trim();
        match comments.last_mut().filter(|(_, other, _)| in_comment && *other == marker) {
            Some((.., comment)) => *comment += &format!(" {text}"),
            None => comments.push((number, marker, text.to_owned())),
        }
        in_comment = true;
    }
    for (number, _, comment) in comments {
        let opens_with = |opening: &str| {
            let rest = comment.strip_prefix(opening);
            rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        if comment.starts_with(char::is_lowercase) || OPENINGS.into_iter().any(opens_with) {
            problems
                .push(format!("{number}: opens with \"{}\"", comment.chars().take(60).collect::<String>()));
        }
        let lower = comment.to_lowercase();
        let found = WORDS.into_iter().filter(|word| {
            let bounded = |at: usize| {
                let (before, after) = (&lower[..at], &lower[at + word.len()..]);
                !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
            };
            lower.match_indices(word).any(|(at, _)| bounded(at))
        });
        problems.extend(found.map(|word| format!("{number}: says \"{word}\"")));
    }
    problems
}
