use std::fs;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Client, eventually, within};
use serde_json::{Value, json};

use super::{Server, TOKEN};

/// The calls that need the token.
const CALLS: [(&str, &str); 14] = [
    ("GET", "/metrics"),
    ("GET", "/v1/rooms"),
    ("GET", "/v1/rooms/lobby/messages"),
    ("POST", "/v1/rooms/lobby/messages"),
    ("GET", "/v1/rooms/lobby/members"),
    ("POST", "/v1/rooms/lobby/roles"),
    ("POST", "/v1/rooms/lobby/restrictions"),
    ("POST", "/v1/rooms/lobby/purges"),
    ("GET", "/v1/rooms/lobby/audit"),
    ("POST", "/v1/tickets"),
    ("POST", "/v1/kick"),
    ("POST", "/v1/drain"),
    ("PUT", "/v1/log"),
    ("GET", "/nowhere"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_the_token_is_refused_and_logged_with_its_address() -> Result<()> {
    let server = Server::start(BINARIES[0], &[]).await?;
    let wrong = format!("Authorization: Bearer {TOKEN}x\r\n");
    let twice = format!("Authorization: Bearer {TOKEN}\r\n").repeat(2);
    for headers in ["", &*wrong, &*twice] {
        for (method, path) in CALLS {
            let reply = server.request(method, path, headers, "").await?;
            ensure!(reply.status == 401, "{method} {path} {headers}: {reply:?}");
            ensure!(reply.head.contains("www-authenticate: bearer"), "{reply:?}");
            ensure!(reply.json()?["error"]["code"] == "unauthorized", "{reply:?}");
        }
    }
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/openapi.json", 200)] {
        let reply = server.request("GET", path, "", "").await?;
        ensure!(reply.status == status, "{path}: {reply:?}");
        ensure!((path == "/readyz") == reply.body.contains("\"sessions\":0"), "{path}: {reply:?}");
    }
    let log = server.daemon.stop()?;
    let refused = log
        .iter()
        .find(|line| line["message"].as_str().is_some_and(|text| text.starts_with("admin request refused")));
    let peer = refused.and_then(|line| line["peer"].as_str()).context("no line about the refusal")?;
    ensure!(peer.starts_with("127.0.0.1:"), "{peer}");
    ensure!(!format!("{log:?}").contains(TOKEN), "the log has the token");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_posts_reads_kicks_changes_the_log_and_drains() -> Result<()> {
    let server = Server::start(BINARIES[0], &[]).await?;
    let mut ann = Client::member(server.daemon.address(), "ann").await?;
    let post = json!({"user": {"id": "service:ops", "name": "Ops"}, "body": {"text": "at noon"}, "key": "k"});

    let posted = server.call("POST", "/v1/rooms/lobby/messages", Some(post.clone())).await?;
    ensure!(posted.status == 200 && posted.json()?["seq"] == 1, "{posted:?}");
    let again = server.call("POST", "/v1/rooms/lobby/messages", Some(post)).await?;
    ensure!(again.json()?["duplicate"] == true, "{again:?}");
    let message = ann.until("message").await?;
    ensure!(message["body"]["text"] == "at noon" && message["user"]["id"] == "service:ops", "{message}");

    let page = server.call("GET", "/v1/rooms/lobby/messages?limit=1", None).await?.json()?;
    ensure!(page["messages"] == json!([message]) && page["more"] == false, "{page}");
    let rooms = server.call("GET", "/v1/rooms?after=la", None).await?.json()?;
    ensure!(rooms == json!({"rooms": ["lobby"], "more": false}), "{rooms}");
    let members = server.call("GET", "/v1/rooms/lobby/members", None).await?.json()?;
    ensure!(
        members == json!({"users": [{"id": "ann", "name": "ann", "guest": true}], "total": 1}),
        "{members}"
    );

    let kicked = server.call("POST", "/v1/kick", Some(json!({"id": "ann", "guest": true}))).await?.json()?;
    ensure!(kicked == json!({"closed": 1}), "{kicked}");
    ensure!(ann.closed().await? == Some(4503));

    let log = |filter: &str| server.call("PUT", "/v1/log", Some(json!({"filter": filter})));
    ensure!(log("verbose").await?.status == 400);
    ensure!(log("chat_core=debug,info").await?.status == 200);
    Client::member(server.daemon.address(), "bob").await?.say("hi").await?;
    let has_debug = |line: &Value| line["level"] == "DEBUG" && line["target"] == "chat_core::chat::builder";
    eventually(|| async { Ok(server.daemon.log_lines(0)?.iter().any(has_debug)) }).await?;

    let drained = server.call("POST", "/v1/drain", None).await?;
    ensure!(drained.status == 202, "{drained:?}");
    let (status, log) = within(tokio::task::spawn_blocking(|| server.daemon.wait())).await???;
    ensure!(status.success(), "{status}");
    let signals: Vec<_> =
        log.iter().filter(|line| line["message"] == "drain started").map(|line| &line["signal"]).collect();
    ensure!(signals == [&json!("admin call")], "{signals:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_bans_a_user_and_reads_the_record() -> Result<()> {
    let server = Server::start(BINARIES[0], &[]).await?;
    let mut ann = Client::member(server.daemon.address(), "ann").await?;
    let by = json!({"id": "service:ops", "name": "Ops"});
    let ban = json!({"by": by, "id": "ann", "what": "ban", "reason": "spam"});
    let banned = server.call("POST", "/v1/rooms/lobby/restrictions", Some(ban.clone())).await?;
    ensure!(banned.status == 200 && banned.json()?["seq"] == 1, "{banned:?}");
    let again = server.call("POST", "/v1/rooms/lobby/restrictions", Some(ban)).await?;
    ensure!(again.json()?["seq"].is_null(), "{again:?}");
    ann.until("role").await?;
    let left = ann.until("left").await?;
    ensure!(left["ref"].is_null(), "{left}");
    let role = json!({"by": by, "id": "7", "role": "owner"});
    let given = server.call("POST", "/v1/rooms/lobby/roles", Some(role)).await?;
    ensure!(given.json()?["seq"] == 2, "{given:?}");
    let audit = server.call("GET", "/v1/rooms/lobby/audit?limit=1", None).await?.json()?;
    ensure!(audit["messages"][0]["reason"] == "spam" && audit["more"] == true, "{audit}");
    let audit = server.call("GET", "/v1/rooms/lobby/audit?after=1", None).await?.json()?;
    ensure!(audit["messages"][0]["by"] == by && audit["messages"][0]["role"] == "owner", "{audit}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_purges_a_user() -> Result<()> {
    let server = Server::start(BINARIES[0], &[]).await?;
    let mut ann = Client::member(server.daemon.address(), "ann").await?;
    let by = json!({"id": "service:ops", "name": "Ops"});
    let post = json!({"user": {"id": "7", "name": "Eve"}, "body": {"text": "secret"}});
    let posted = server.call("POST", "/v1/rooms/lobby/messages", Some(post)).await?;
    ensure!(posted.status == 200, "{posted:?}");
    let purge = json!({"by": by, "id": "7"});
    let purged = server.call("POST", "/v1/rooms/lobby/purges", Some(purge.clone())).await?;
    ensure!(purged.status == 200 && purged.json()?["seq"] == 2, "{purged:?}");
    let again = server.call("POST", "/v1/rooms/lobby/purges", Some(purge)).await?;
    ensure!(again.json()?["seq"].is_null(), "{again:?}");
    let entry = ann.until("purged").await?;
    ensure!(entry["by"] == by && entry["user"]["id"] == "7" && entry["to"] == 1, "{entry}");
    let history = server.call("GET", "/v1/rooms/lobby/messages", None).await?.json()?;
    let message = &history["messages"][0];
    ensure!(message["deleted"]["by"] == by && message["body"].is_null(), "{history}");
    let audit = server.call("GET", "/v1/rooms/lobby/audit", None).await?.json()?;
    ensure!(audit["messages"][0] == entry, "{audit}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_bad_input_changes_nothing_and_names_the_error() -> Result<()> {
    let server = Server::start(BINARIES[0], &[]).await?;
    let ops = json!({"id": "service:ops", "name": "Ops"});
    let post = "/v1/rooms/lobby/messages";
    for (method, path, body, status, code) in [
        ("POST", post, Some(json!({"user": ops, "body": {"text": " "}})), 400, "bad_body"),
        ("POST", post, Some(json!({"user": ops, "body": "hi"})), 400, "bad_request"),
        ("POST", post, Some(json!({"user": ops, "body": {"text": "hi"}, "room": "x"})), 400, "bad_request"),
        (
            "POST",
            post,
            Some(json!({"user": {"id": "", "name": "Ops"}, "body": {"text": "hi"}})),
            400,
            "bad_request",
        ),
        ("POST", post, Some(json!({"user": ops, "body": {"text": "x".repeat(15_000)}})), 413, "too_large"),
        ("POST", post, Some(json!("x".repeat(22_000))), 413, "too_large"),
        (
            "POST",
            "/v1/rooms/Lobby/messages",
            Some(json!({"user": ops, "body": {"text": "hi"}})),
            400,
            "bad_request",
        ),
        ("GET", "/v1/rooms/%ff/messages", None, 400, "bad_request"),
        ("GET", "/v1/rooms/lobby/messages?after=1&before=2", None, 400, "bad_request"),
        ("GET", "/v1/rooms/lobby/messages?limit=0", None, 400, "bad_request"),
        ("GET", "/v1/rooms/lobby/messages?limit=1&limit=1", None, 400, "bad_request"),
        ("GET", "/v1/rooms?page=1", None, 400, "bad_request"),
        (
            "POST",
            "/v1/rooms/lobby/roles",
            Some(json!({"by": ops, "id": "", "role": "member"})),
            400,
            "bad_request",
        ),
        (
            "POST",
            "/v1/rooms/lobby/roles",
            Some(json!({"by": ops, "id": "7", "role": "boss"})),
            400,
            "bad_request",
        ),
        (
            "POST",
            "/v1/rooms/lobby/restrictions",
            Some(json!({"by": ops, "id": "7", "what": "none", "until": 1})),
            400,
            "bad_request",
        ),
        ("GET", "/v1/rooms/lobby/audit?limit=201", None, 400, "bad_request"),
        ("POST", "/v1/kick", Some(json!({"id": ""})), 400, "bad_request"),
        ("DELETE", post, None, 405, "method_not_allowed"),
        ("GET", "/v2/rooms", None, 404, "not_found"),
    ] {
        let reply = server.call(method, path, body).await?;
        ensure!(
            reply.status == status && reply.json()?["error"]["code"] == code,
            "{method} {path}: {reply:?}"
        );
    }
    let page = server.call("GET", post, None).await?.json()?;
    ensure!(page["messages"] == json!([]), "{page}");

    let head = format!("Authorization: Bearer {TOKEN}\r\n");
    for (body, message) in [
        (r#"{"guest":true}"#, "missing field `id` at line 1 column 14"),
        (
            "{\"id\":\"7\",\n\"other\":1}",
            "`other`: unknown field `other`, expected `id` or `guest` at line 2 column 8",
        ),
        (r#"{"id":7}"#, "`id`: invalid type: integer `7`, expected a string at line 1 column 8"),
        (r#"{"id":"7"}x"#, "trailing characters at line 1 column 11"),
    ] {
        let reply = server.request("POST", "/v1/kick", &head, body).await?;
        let shown = reply.json()?["error"]["message"].clone();
        ensure!(reply.status == 400 && shown == message, "{body}: {shown}");
    }
    Ok(())
}

#[test]
fn the_admin_listener_needs_a_good_token_and_does_not_show_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (short, missing) = (folder.path().join("short"), folder.path().join("missing"));
    fs::write(&short, "fifteen-letters")?;
    let (short, missing) = (short.display().to_string(), missing.display().to_string());
    let good = folder.path().join("good");
    fs::write(&good, TOKEN)?;
    let good = good.display().to_string();
    for arguments in [
        &["--admin", "127.0.0.1:0"][..],
        &["--admin", "127.0.0.1:0", "--admin-token", &short],
        &["--admin", "127.0.0.1:0", "--admin-token", &missing],
        &["--admin", "nowhere", "--admin-token", &good],
    ] {
        let output =
            BINARIES[0].run(&[arguments, &["--data", ":memory:", "--listen", "127.0.0.1:0"]].concat())?;
        let error = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2), "{arguments:?}: {}: {error}", output.status);
        ensure!(error.starts_with("error: ") && error.lines().count() == 1, "{arguments:?}: {error}");
        ensure!(error.contains("--admin") && !error.contains("fifteen") && !error.contains(TOKEN), "{error}");
    }
    Ok(())
}
