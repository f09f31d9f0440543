//! The options of a cluster, without servers of NATS.

use std::fs;

use anyhow::{Context, Result, ensure};
use chat_tests::Binary;
use tempfile::TempDir;

use crate::nodes::{AXUM, refusal};

#[test]
fn contradictions_are_refused_with_file_and_line() -> Result<()> {
    let (home, cluster) = (TempDir::new()?, "cluster = [\"nats://n1:4222\"]");
    let (missing, wrong) = (home.path().join("missing"), home.path().join("wrong"));
    fs::write(&wrong, "a\nb\nc\n")?;
    let credentials =
        |file: &std::path::Path| format!("{cluster}\ndurability = \"disk\"\ncluster-credentials = {file:?}");
    for (text, error) in [
        ("node = \"a\"".to_owned(), ":1: --cluster: name the servers of NATS;"),
        ("cluster-streams = 4".to_owned(), ":1: --cluster: name the servers of NATS;"),
        ("search-index = \"i\"".to_owned(), ":1: --search-index: it is for --cluster"),
        ("durability = \"replicated\"".to_owned(), ":1: --durability: replicated is for a cluster"),
        (cluster.to_owned(), ":1: --durability: say if each server of NATS has sync_interval: always (disk)"),
        (
            format!("{cluster}\ndata = \"d\"\ndurability = \"disk\""),
            ":2: --data and --cluster: set one of them; an empty CHATD_DATA counts as not set",
        ),
        (format!("{cluster}\ndurability = \"process\""), ":2: --durability: process is for --replicas 1"),
        (
            format!("{cluster}\ndurability = \"replicated\"\nreplicas = 1"),
            ":2: --durability: replicated needs more than one copy",
        ),
        (format!("{cluster}\ndurability = \"disk\"\nreplicas = 2"), ":3: replicas: invalid value '2'"),
        (
            format!("{cluster}\ndurability = \"disk\"\ncluster-streams = 65"),
            ":3: cluster-streams: invalid value '65'",
        ),
        (format!("{cluster}\ndurability = \"disk\"\nmax-disk = \"1G\""), ":3: --max-disk: it is for --data"),
        (format!("{cluster}\ndurability = \"disk\"\nnode = \"a b\""), ":3: node: invalid value 'a b'"),
        (format!("{cluster}\ndurability = \"disk\"\ncluster-ca = \"ca.pem\""), ":3: --cluster-ca: begin the"),
        (
            "cluster = [\"nats://ann:secret@n1\"]\ndurability = \"disk\"".to_owned(),
            ":1: --cluster: put the user and the password into a file",
        ),
        (
            "cluster = [\"nats://n1\", \"tls://n2\"]\ndurability = \"disk\"".to_owned(),
            ":1: --cluster: begin all addresses with tls://, or none",
        ),
        ("cluster = [\"http://n1\"]".to_owned(), ":1: cluster: invalid value 'http://n1'"),
        (credentials(&missing), "--cluster-credentials: "),
        (credentials(&wrong), "the file must have one line with a token, or two lines"),
    ] {
        let file = home.path().join("chatd.toml");
        fs::write(&file, &text)?;
        let error_shown = refusal(AXUM, &["--config", file.to_str().context("a path")?, "config", "check"])?;
        ensure!(error_shown.contains(error) && !error_shown.contains("secret@"), "{text}: {error_shown}");
    }
    Ok(())
}

#[test]
fn each_binary_has_the_options_and_refuses_to_compact_a_cluster() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let valid = binary
            .command()?
            .env("CHATD_DATA", "")
            .env("CHATD_CLUSTER", "nats://n1,nats://n2")
            .args(["--durability", "replicated", "--node", "eu-1", "--retain", "30d", "config", "check"])
            .output()?;
        ensure!(valid.status.success(), "{}", String::from_utf8_lossy(&valid.stderr));
        let cluster = ["--cluster", "nats://n1", "compact"];
        let text = "--cluster: compact is for the directory of --data";
        ensure!(refusal(binary, &cluster)?.starts_with(text));
    }
    Ok(())
}
