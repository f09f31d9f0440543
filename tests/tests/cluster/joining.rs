//! The way of a node into a cluster: names, credentials, TLS, copies of the stream, and the loss of all servers.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chat_adapter_tests::tls::CertificateFiles;
use chat_tests::{Client, Daemon, eventually};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::block_in_place;

use crate::nodes::{ACTIX, AXUM, node, refusal, servers, state};
use crate::servers::Servers;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_live_node_of_a_name_is_refused() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let (addresses, home) = (servers.addresses(), TempDir::new()?);
    let first = node(AXUM, "a", &servers)?;
    let cluster = ["--cluster", &addresses, "--node", "a", "--durability", "process", "--replicas"];
    let refused = refusal(ACTIX, &[&cluster[..], &["1"]].concat())?;
    ensure!(refused.starts_with("--node: another server of the chat has the name a;"), "{refused}");
    // Another chat on the same servers has names of its own.
    let other = [&cluster[..], &["1", "--cluster-name", "other"]].concat();
    let other = block_in_place(|| Daemon::start(ACTIX, &other))?;
    ensure!(state(&other).await?["stream"] == "other" && state(&other).await?["nodes"] == 1);
    block_in_place(|| other.stop())?;
    let mut ann = Client::member(first.address(), "ann").await?;
    ensure!(ann.say("one").await?["seq"] == 1);
    block_in_place(|| first.crash())?;
    // The name of a node that has ended is free, and its stream has one copy.
    let more = [&cluster[..4], &["--durability", "replicated"]].concat();
    let refused = refusal(AXUM, &more)?;
    ensure!(refused.starts_with("the stream chat has 1 copies instead of 3; set --replicas 1"), "{refused}");
    let file = home.path().join("handover");
    let handover = [&cluster[..], &["1", "--handover", file.to_str().context("a path")?]].concat();
    let old = block_in_place(|| Daemon::start(AXUM, &handover))?;
    // The next server of the same name waits until the previous one has left.
    let new = block_in_place(|| Daemon::start(AXUM, &handover))?;
    let (status, log) = block_in_place(|| old.wait())?;
    ensure!(status.success(), "{log:#?}");
    let mut ann = Client::member(new.address(), "ann").await?;
    ensure!(ann.say("two").await?["seq"] == 2);
    let log = block_in_place(|| new.stop())?;
    let joined = log.iter().find(|line| line["message"] == "cluster joined").context("no line")?;
    let expected =
        json!({"stream": "chat", "streams": 1, "node": "a", "replicas": 1, "durability": "process"});
    ensure!(
        expected.as_object().context("fields")?.iter().all(|(name, value)| joined[name] == *value),
        "{joined}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_identifies_itself_and_checks_the_certificate() -> Result<()> {
    let (home, files, other) = (TempDir::new()?, CertificateFiles::new(), CertificateFiles::new());
    let servers = block_in_place(|| {
        Servers::start_with(1, |config| {
            config["authorization"] = json!({ "users": [{ "user": "chat", "password": "a-secret-text" }] });
            config["no_auth_user"] = json!("");
            config["tls"] = json!({ "cert_file": files.certificate(), "key_file": files.key() });
        })
    });
    eventually(|| async { Ok(TcpStream::connect(("127.0.0.1", servers.port(0))).await.is_ok()) }).await?;
    let address = format!("tls://127.0.0.1:{}", servers.port(0));
    let write = |name: &str, text: &str| -> Result<String> {
        let path = home.path().join(name);
        fs::write(&path, text)?;
        Ok(path.to_str().context("a path")?.to_owned())
    };
    let (right, wrong) = (write("right", "chat\na-secret-text\n")?, write("wrong", "chat\na-wrong-text\n")?);
    let path =
        |files: &CertificateFiles| files.certificate().to_str().map(ToOwned::to_owned).context("a path");
    let (root, foreign) = (path(&files)?, path(&other)?);
    let cluster = ["--cluster", &address, "--node", "a", "--durability", "process", "--replicas", "1"];
    for (credentials, root) in [(&wrong, &root), (&right, &foreign)] {
        let with = ["--cluster-credentials", credentials, "--cluster-ca", root];
        let refused = refusal(AXUM, &[&cluster[..], &with].concat())?;
        ensure!(
            refused.starts_with("--cluster: no connection to the servers") && !refused.contains("-text"),
            "{refused}"
        );
    }
    let with = ["--cluster-credentials", &right, "--cluster-ca", &root];
    let node = block_in_place(|| Daemon::start(AXUM, &[&cluster[..], &with].concat()))?;
    let mut ann = Client::member(node.address(), "ann").await?;
    ensure!(ann.say("hi").await?["seq"] == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_no_server_answers_is_not_ready_after_10_s() -> Result<()> {
    let (mut servers, _client) = servers(1).await;
    let node = node(AXUM, "a", &servers)?;
    let mut ann = Client::member(node.address(), "ann").await?;
    ensure!(ann.say("one").await?["seq"] == 1);
    ensure!(state(&node).await?["state"] == "alone");
    let start = Instant::now();
    servers.kill(0);
    eventually(|| async { Ok(state(&node).await?["state"] == "degraded") }).await?;
    ensure!(node.ready().await?["ready"] == true, "other nodes are no better");
    let refused = ann.say("two").await?;
    ensure!(refused["code"] == "unavailable", "{refused}");
    eventually(|| async { Ok(node.ready().await?["ready"] == false) }).await?;
    ensure!(start.elapsed() >= Duration::from_secs(9), "{:?}", start.elapsed());
    ensure!(state(&node).await?["state"] == "unreachable");
    servers.revive(0);
    eventually(|| async { Ok(node.ready().await?["ready"] == true) }).await?;
    // The same session goes on.
    let stored = ann.say("three").await?;
    ensure!(stored["seq"] == 2, "{stored}");
    Ok(())
}
