//! The rules that keep `chat-proto` pure and the adapters free of policy, and the proof that each rule bites.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use syn::visit::{self, Visit};

const ADAPTERS: [&str; 4] = ["chat-actix", "chat-axum", "chat-tungstenite", "chat-warp"];

/// What `chat-proto` may be built from: data, text, hashes; nothing that waits, listens or rolls dice.
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

#[test]
fn chat_proto_depends_on_nothing_impure() -> Result<()> {
    assert_eq!(impure(&dependencies("chat-proto")?), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_runtime_in_chat_proto_would_be_noticed() {
    let broken = ["serde".to_owned(), "tokio".to_owned(), "rand".to_owned()];
    assert_eq!(impure(&broken), ["tokio", "rand"]);
}

#[test]
fn nothing_lower_depends_on_anything_higher() -> Result<()> {
    let order = ["chat-proto", "chat-core", "chat-websocket", "chat-hyper"];
    for (height, name) in order.iter().enumerate() {
        let dependencies = dependencies(name)?;
        let higher = dependencies
            .iter()
            .filter(|d| d.starts_with("chat"))
            .find(|d| !order[..height].contains(&d.as_str()));
        assert_eq!(higher, None, "{name} depends on what is above it");
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
fn a_clock_a_lock_a_thread_or_an_await_in_chat_proto_would_be_noticed() -> Result<()> {
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
fn a_number_a_duration_a_close_code_json_or_a_room_in_an_adapter_would_be_noticed() -> Result<()> {
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

fn impure(dependencies: &[String]) -> Vec<String> {
    dependencies.iter().filter(|name| !PURE.contains(&name.as_str())).cloned().collect()
}

/// The packages that a crate of this workspace is built from, those of its tests left out.
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
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push((path.clone(), fs::read_to_string(&path)?));
        }
    }
    assert!(!sources.is_empty(), "{name} has no sources");
    Ok(sources)
}

fn impurities(source: &str) -> Result<Vec<String>> {
    let mut purity = Purity(Vec::new());
    purity.visit_file(&syn::parse_str(source)?);
    Ok(purity.0)
}

/// Finds what a pure crate does not name.
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

/// Finds what an adapter does not decide.
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
        // Documentation may say what it likes.
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
