//! The metrics of a server that has seen each kind of event, compared with the table in `docs/operations.md`.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use chat_tests::metrics::{described, exported, values};
use chat_tests::{BINARIES, Client, eventually, request_upgrade};
use serde_json::json;
use tempfile::NamedTempFile;

use super::Server;

/// The values of metrics, by name and labels as they are written.
type Values = BTreeMap<String, f64>;

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_each_metric_and_no_other() -> Result<()> {
    let mut key = NamedTempFile::new()?;
    writeln!(key, "a secret of 32 bytes, or longer.")?;
    let path = key.path().to_str().context("a path in UTF-8")?;
    let collector = ["--otlp", "http://127.0.0.1:9"];
    let options = [&["--command-rate", "20", "--guests", "--token-secret", path][..], &collector].concat();
    let server = Server::start(BINARIES[0], &options).await?;
    let values = cause_events(&server).await?;
    let text = server.call("GET", "/metrics", None).await?.body;
    let (exported, described) = (exported(&text)?, described()?);
    let differ: Vec<_> = exported.iter().filter(|(name, kind)| described.get(*name) != Some(*kind)).collect();
    ensure!(differ.is_empty(), "not in the table, or other there: {differ:#?}");
    // A test of clusters looks for the metrics of a cluster.
    let missing = described.keys().filter(|name| !exported.contains_key(*name));
    let missing: Vec<_> = missing.filter(|name| !name.starts_with("chat_cluster_")).collect();
    ensure!(missing.is_empty(), "only in the table: {missing:#?}");
    for content in ["lobby", "ann", "ref", "a-secret-text"] {
        ensure!(!text.contains(&format!("\"{content}\"")), "a label has a value of a client: {content}");
    }
    for (metric, expected) in [
        ("chat_upgrades_total{outcome=\"accepted\"}", 3.0),
        ("chat_upgrades_total{outcome=\"refused\"}", 2.0),
        ("chat_handshake_refusals_total{code=\"origin_forbidden\"}", 1.0),
        ("chat_handshake_refusals_total{code=\"unauthorized\"}", 1.0),
        ("chat_auth_rejections_total{reason=\"malformed\"}", 1.0),
        ("chat_auth_key_loads_total{result=\"loaded\"}", 1.0),
        ("chat_appends_total{kind=\"message\"}", 3.0),
        ("chat_appends_total{kind=\"edited\"}", 1.0),
        ("chat_appends_total{kind=\"deleted\"}", 1.0),
        ("chat_appends_total{kind=\"reactions\"}", 2.0),
        ("chat_appends_total{kind=\"pinned\"}", 0.0),
        ("chat_duplicates_total", 2.0),
        ("chat_joins_total", 5.0),
        ("chat_resumes_total{recovered=\"true\",source=\"log\"}", 1.0),
        ("chat_resumes_total{recovered=\"true\",source=\"tail\"}", 1.0),
        ("chat_catch_up_pages_total", 1.0),
        ("chat_errors_total{code=\"not_joined\"}", 1.0),
        ("chat_session_ends_total{cause=\"peer_closed\",code=\"1000\"}", 1.0),
        ("chat_session_ends_total{cause=\"peer_closed\",code=\"none\"}", 1.0),
        ("chat_connections{mechanism=\"hijack\"}", 1.0),
        ("chat_sessions{mechanism=\"hijack\"}", 1.0),
        ("chat_append_seconds_count", 10.0),
        ("chat_store_messages_total", 3.0),
        ("chat_store_health{state=\"ready\"}", 1.0),
        ("chat_draining", 0.0),
    ] {
        ensure!(values.get(metric) == Some(&expected), "{metric} is {:?}: {text}", values.get(metric));
    }
    let at_least = |metric: &str, least| values.get(metric).is_some_and(|value| *value >= least);
    let delivered: f64 =
        values.iter().filter(|(name, _)| name.starts_with("chat_deliveries_total")).map(|(_, n)| n).sum();
    ensure!(delivered >= 6.0, "{delivered} deliveries");
    ensure!(at_least("chat_limit_hits_total{limit=\"command_rate\"}", 1.0), "{text}");
    ensure!(at_least("chat_store_commit_seconds_count", 1.0), "{text}");
    Ok(())
}

/// Causes an event of each kind. Returns the metrics once all sessions but one have ended.
async fn cause_events(server: &Server) -> Result<Values> {
    let address = server.daemon.address();
    let (_stream, status) = request_upgrade(address, "Origin: https://other.example\r\n").await?;
    ensure!(status == 403, "{status}");
    let (_stream, status) = request_upgrade(address, "Authorization: Bearer x\r\n").await?;
    ensure!(status == 401, "{status}");
    let mut ann = Client::member(address, "ann").await?;
    let mut bob = Client::member(address, "bob").await?;
    let say = json!({"type": "send", "room": "lobby", "body": {"text": "a-secret-text"}, "key": "k"});
    let first = ann.ask(say.clone()).await?;
    ann.ask(say).await?;
    for text in ["two", "three"] {
        ann.say(text).await?;
    }
    for _ in 0..3 {
        bob.until("message").await?;
    }
    let (epoch, seq) = (first["epoch"].clone(), first["seq"].clone());
    ensure!(
        bob.ask(json!({"type": "send", "room": "away", "body": {"text": "x"}})).await?["code"]
            == "not_joined"
    );
    bob.close(1000).await?;
    let mut carl = Client::connect(address, "carl").await?;
    let joined = carl.join(None).await?;
    let epoch = epoch.as_str().or(joined["epoch"].as_str()).context("an epoch")?;
    carl.join(Some((epoch, seq.as_u64().context("a seq")?))).await?;
    carl.until("message").await?;
    // The two messages that carl has now are in the tail.
    carl.until("message").await?;
    carl.join(Some((epoch, 3))).await?;
    carl.close(4321).await?;
    change_messages(&mut ann).await?;
    for _ in 0..100 {
        ann.send(json!({"type": "ping"})).await?;
    }
    let scrape = || async { values(&server.call("GET", "/metrics", None).await?.body) };
    eventually(|| async {
        let values = scrape().await?;
        let ends = values.iter().filter(|(name, _)| name.starts_with("chat_session_ends_total")).count();
        let limited = values.get("chat_limit_hits_total{limit=\"command_rate\"}");
        let is_alone = values.get("chat_connections{mechanism=\"hijack\"}") == Some(&1.0);
        // One of them is that of panics.
        Ok(is_alone && ends == 3 && limited.is_some_and(|count| *count > 0.0))
    })
    .await?;
    scrape().await
}

/// Makes four changes, repeats one of them, and places a reaction that is there.
async fn change_messages(ann: &mut Client) -> Result<()> {
    let react = json!({"type": "react", "room": "lobby", "seq": 1, "reaction": "+1", "on": true});
    let mut remove = react.clone();
    remove["on"] = json!(false);
    let delete = json!({"type": "delete", "room": "lobby", "seq": 2});
    let edit = json!({"type": "edit", "room": "lobby", "seq": 1, "body": {"text": "a-secret-text"}});
    for change in [edit, react.clone(), react, remove, delete.clone(), delete] {
        let done = ann.ask(change).await?;
        ensure!(done["type"] == "done", "{done}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_binary_counts_its_sessions_by_mechanism() -> Result<()> {
    for binary in BINARIES {
        let server = Server::start(binary, &[]).await?;
        let _ann = Client::member(server.daemon.address(), "ann").await?;
        let values = values(&server.call("GET", "/metrics", None).await?.body)?;
        for mechanism in ["hijack", "framework", "other"] {
            let expected = if mechanism == binary.upgrade { 1.0 } else { 0.0 };
            let sessions = values.get(&format!("chat_sessions{{mechanism=\"{mechanism}\"}}"));
            ensure!(sessions == Some(&expected), "{binary:?}: {mechanism}: {sessions:?}");
        }
        let info = values.keys().find(|name| name.starts_with("chat_build_info")).context("no build info")?;
        ensure!(info.contains(binary.name), "{info}");
    }
    Ok(())
}
