use anyhow::Result;
use syn::visit::{self, Visit};

use crate::sources::{dependencies, sources};

/// Dependencies that `chat-proto` may have: data, text and hashes, but no I/O, no runtime and no randomness.
const PURE: [&str; 14] = [
    "base64",
    "bytes",
    "percent-encoding",
    "serde",
    "serde_json",
    "sha1",
    "sha2",
    "smallvec",
    "thiserror",
    "unicode-joining-type",
    "unicode-normalization",
    "unicode-properties",
    "unicode-script",
    "unicode-security",
];

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
        "use std::thread;",
        "use std::thread::spawn;",
        "use std::{fmt, thread::{self, spawn}};",
        "fn f() { std::net::TcpStream::connect(\"x\"); }",
        "use std::net::Ipv4Addr;",
        "fn f() { println!(\"x\"); }",
        "async fn f() {}",
        "fn f() { let _ = async {}; }",
    ] {
        assert_ne!(impurities(broken)?, Vec::<String>::new(), "{broken}");
    }
    for pure in [
        "use std::time::Duration; fn f(now: Duration) -> Duration { now }",
        "use core::net::{Ipv4Addr, Ipv6Addr};",
        "struct Links { thread: Option<u64> } fn f(links: Links) -> Option<u64> { links.thread }",
    ] {
        assert_eq!(impurities(pure)?, Vec::<String>::new(), "{pure}");
    }
    Ok(())
}

fn impure(dependencies: &[String]) -> Vec<String> {
    dependencies.iter().filter(|name| !PURE.contains(&name.as_str())).cloned().collect()
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

    // `thread` is also a word of the protocol.
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().take(2).map(|segment| segment.ident.to_string()).collect();
        if names == ["std", "thread"] {
            self.0.push("thread".to_owned());
        }
        visit::visit_path(self, path);
    }

    // `core::net` has only addresses. The sockets are in `std::net`.
    fn visit_use_path(&mut self, path: &'ast syn::UsePath) {
        if path.ident == "std" && first_names(&path.tree).iter().any(|name| name == "thread") {
            self.0.push("thread".to_owned());
        }
        match &*path.tree {
            syn::UseTree::Path(next) if path.ident == "core" && next.ident == "net" => {
                self.visit_use_tree(&next.tree);
            }
            _ => visit::visit_use_path(self, path),
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

/// Returns the first names of a tree of imports.
fn first_names(tree: &syn::UseTree) -> Vec<String> {
    match tree {
        syn::UseTree::Path(path) => vec![path.ident.to_string()],
        syn::UseTree::Name(name) => vec![name.ident.to_string()],
        syn::UseTree::Rename(rename) => vec![rename.ident.to_string()],
        syn::UseTree::Glob(_) => Vec::new(),
        syn::UseTree::Group(group) => group.items.iter().flat_map(first_names).collect(),
    }
}
