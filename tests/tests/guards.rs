//! Rules about the source code: `chat-proto` is pure, adapters hold no policy, and doc comments are plain English.
//! Each rule has a test which shows that it finds a violation.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use syn::visit::{self, Visit};

const ADAPTERS: [&str; 4] = ["chat-actix", "chat-axum", "chat-tungstenite", "chat-warp"];

/// Dependencies that `chat-proto` may have: data, text and hashes, but no I/O, no runtime and no randomness.
const PURE: [&str; 9] = [
    "base64",
    "bytes",
    "percent-encoding",
    "serde",
    "serde_json",
    "sha1",
    "thiserror",
    "unicode-normalization",
    "unicode-properties",
];

/// Directories whose doc comments are checked. A `*` stands for any directory name.
const DOCUMENTED: &[&str] = &["crates/*/src", "apps/*/src", "tests/src"];

/// Words that must not open a doc comment.
const OPENINGS: [&str; 12] =
    ["What", "How", "Why", "Whether", "Who", "Whoever", "Where", "When", "Which", "To be", "If", "None if"];

/// Words that must not occur in a doc comment.
const WORDS: [&str; 4] = ["whoever", "anew", "told of", "so many"];

#[test]
fn chat_proto_has_only_pure_dependencies() -> Result<()> {
    assert_eq!(impure(&dependencies("chat-proto")?), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_runtime_in_chat_proto_is_found() {
    let broken = ["serde".to_owned(), "tokio".to_owned(), "rand".to_owned()];
    assert_eq!(impure(&broken), ["tokio", "rand"]);
}

#[test]
fn no_crate_depends_on_a_higher_layer() -> Result<()> {
    let order = ["chat-proto", "chat-core", "chat-websocket", "chat-hyper"];
    for (height, name) in order.iter().enumerate() {
        let dependencies = dependencies(name)?;
        let higher = dependencies
            .iter()
            .filter(|d| d.starts_with("chat"))
            .find(|d| !order[..height].contains(&d.as_str()));
        assert_eq!(higher, None, "{name} depends on a higher layer");
    }
    for name in ADAPTERS {
        let dependencies = dependencies(name)?;
        assert!(
            !dependencies.iter().any(|d| d == "chat-proto" || d == "chatd" || ADAPTERS.contains(&d.as_str())),
            "{name}"
        );
    }
    Ok(())
}

#[test]
fn chat_proto_reads_no_clock_and_takes_no_lock() -> Result<()> {
    for (path, source) in sources("chat-proto")? {
        assert_eq!(impurities(&source)?, Vec::<String>::new(), "{}", path.display());
    }
    Ok(())
}

#[test]
fn a_clock_a_lock_a_thread_or_an_await_in_chat_proto_is_found() -> Result<()> {
    for broken in [
        "fn f() -> std::time::Instant { std::time::Instant::now() }",
        "use std::time::{Duration, SystemTime};",
        "use std::sync::Mutex;",
        "use std::sync::atomic::AtomicU64;",
        "use std::collections::HashMap;",
        "fn f() { std::fs::read(\"x\"); }",
        "fn f() { std::thread::yield_now(); }",
        "fn f() { std::net::TcpStream::connect(\"x\"); }",
        "fn f() { println!(\"x\"); }",
        "async fn f() {}",
        "fn f() { let _ = async {}; }",
    ] {
        assert_ne!(impurities(broken)?, Vec::<String>::new(), "{broken}");
    }
    assert_eq!(
        impurities("use std::time::Duration; fn f(now: Duration) -> Duration { now }")?,
        Vec::<String>::new()
    );
    Ok(())
}

#[test]
fn adapters_hold_no_policy() -> Result<()> {
    for name in ADAPTERS {
        for (path, source) in sources(name)? {
            assert_eq!(policies(&source)?, Vec::<String>::new(), "{}", path.display());
        }
    }
    Ok(())
}

#[test]
fn a_number_a_duration_a_close_code_json_or_a_room_in_an_adapter_is_found() -> Result<()> {
    for broken in [
        "const SIZE: usize = 64 * 1024;",
        "fn f() { wait(15); }",
        "fn f() -> Duration { Duration::from_secs(1) }",
        "const WAIT: std::time::Duration = std::time::Duration::new(1, 0);",
        "fn f() { tokio::time::sleep(x); }",
        "fn f() { close(4000); }",
        "fn f() -> CloseCode { CloseCode::Normal }",
        "fn f() { serde_json::json!({}); }",
        "use chat_core::RoomName;",
        "const BODY: &str = \"{\\\"error\\\":1}\";",
    ] {
        assert_ne!(policies(broken)?, Vec::<String>::new(), "{broken}");
    }
    assert_eq!(policies("fn f(x: &[u8]) -> bool { x.len() > 1 }")?, Vec::<String>::new());
    Ok(())
}

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
fn matching(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
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

fn impure(dependencies: &[String]) -> Vec<String> {
    dependencies.iter().filter(|name| !PURE.contains(&name.as_str())).cloned().collect()
}

/// Returns the dependencies of a crate of this workspace, without those of its tests.
fn dependencies(name: &str) -> Result<Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let package = packages.iter().find(|package| package["name"] == name).context("no such package")?;
    let dependencies = package["dependencies"].as_array().context("no dependencies")?;
    Ok(dependencies
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .filter_map(|dependency| dependency["name"].as_str().map(ToOwned::to_owned))
        .collect())
}

fn sources(name: &str) -> Result<Vec<(PathBuf, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(name).join("src");
    let sources = rust_files(&folder)?;
    assert!(!sources.is_empty(), "{name} has no sources");
    Ok(sources)
}

/// Returns the Rust files of a directory and of those below it.
fn rust_files(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((path.clone(), fs::read_to_string(&path)?));
        }
    }
    files.sort();
    Ok(files)
}

fn impurities(source: &str) -> Result<Vec<String>> {
    let mut purity = Purity(Vec::new());
    purity.visit_file(&syn::parse_str(source)?);
    Ok(purity.0)
}

/// Finds names that a pure crate must not use.
struct Purity(Vec<String>);

impl<'ast> Visit<'ast> for Purity {
    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        let name = ident.to_string();
        let impure = [
            "Instant",
            "SystemTime",
            "Mutex",
            "RwLock",
            "HashMap",
            "HashSet",
            "thread",
            "fs",
            "net",
            "env",
            "process",
            "io",
            "tokio",
            "println",
            "eprintln",
            "OnceLock",
            "LazyLock",
            "RandomState",
        ];
        if impure.contains(&name.as_str()) || name.starts_with("Atomic") {
            self.0.push(name);
        }
    }

    fn visit_expr_async(&mut self, _: &'ast syn::ExprAsync) {
        self.0.push("async".to_owned());
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if signature.asyncness.is_some() {
            self.0.push("async fn".to_owned());
        }
        visit::visit_signature(self, signature);
    }
}

fn policies(source: &str) -> Result<Vec<String>> {
    let mut policy = Policy(Vec::new());
    policy.visit_file(&syn::parse_str(source)?);
    Ok(policy.0)
}

/// Finds decisions that an adapter must not make.
struct Policy(Vec<String>);

impl<'ast> Visit<'ast> for Policy {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        if !is_test {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        let name = ident.to_string();
        let decided_elsewhere =
            ["Instant", "sleep", "timeout", "interval", "json", "serde_json", "RoomName", "Event"];
        if decided_elsewhere.contains(&name.as_str()) {
            self.0.push(name);
        }
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let names: Vec<_> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.iter().any(|name| name == "Duration") && !names.iter().any(|name| name == "ZERO") {
            self.0.push(names.join("::"));
        }
        if names.len() > 1 && names.iter().any(|name| name == "CloseCode") {
            self.0.push(names.join("::"));
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {
        // Numbers and durations in documentation are no policy.
    }

    fn visit_lit_int(&mut self, literal: &'ast syn::LitInt) {
        if !matches!(literal.base10_digits(), "0" | "1") {
            self.0.push(literal.to_string());
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        if literal.value().trim_start().starts_with(['{', '[']) {
            self.0.push(literal.value());
        }
    }
}
