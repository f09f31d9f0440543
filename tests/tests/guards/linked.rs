use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Result, ensure};

/// The binaries that serve.
const SERVERS: [&str; 4] = ["chatd-actix", "chatd-axum", "chatd-tungstenite", "chatd-warp"];

/// Crates that no server needs: progress bars, crates of tests, of load tools and of features, and two that bring many
/// others and make the first build slow.
const NOT_IN_SERVERS: [&str; 11] = [
    "chat-client",
    "chat-conformance",
    "chat-testkit",
    "console",
    "hdrhistogram",
    "indicatif",
    "libtest-mimic",
    "metrics-exporter-prometheus",
    "opentelemetry",
    "proptest",
    "tracing-appender",
];

#[test]
fn servers_link_no_crate_that_they_do_not_need() -> Result<()> {
    for server in SERVERS {
        let linked = linked(server)?;
        ensure!(linked.contains("chat-core"), "{server} links {linked:?}");
        assert_eq!(unneeded(&linked), [] as [&str; 0], "{server}");
    }
    Ok(())
}

/// Returns the names of the crates that a binary links.
fn linked(binary: &str) -> Result<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{lib}", "-p", binary,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout)?;
    Ok(names.lines().map(|name| name.replace('_', "-")).collect())
}

fn unneeded(linked: &BTreeSet<String>) -> Vec<&'static str> {
    NOT_IN_SERVERS.into_iter().filter(|name| linked.contains(*name)).collect()
}

#[test]
fn a_progress_bar_in_a_binary_is_found() -> Result<()> {
    assert!(unneeded(&linked("chat-load")?).contains(&"indicatif"));
    Ok(())
}
