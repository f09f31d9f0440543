use anyhow::{Result, ensure};
use chat_tests::{BINARIES, Daemon, check_levels, exchange, request_upgrade};

/// The requests of each kind: the page, a probe, the chat, and a path without a route.
const PATHS: [&str; 4] = ["/", "/readyz", "/ws", "/nowhere"];

async fn status(daemon: &Daemon, path: &str, host: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = exchange(daemon.address(), request.as_bytes()).await?;
    Ok(String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loopback_server_answers_only_for_its_own_names() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--allow-host", "chat.test,other.test"])?;
        let port = daemon.address().port();
        for path in PATHS {
            for host in ["evil.example".to_owned(), format!("127.0.0.1.evil.example:{port}")] {
                ensure!(status(&daemon, path, &host).await? == "421", "{binary:?}: {path} at {host}");
            }
            for host in ["a@localhost", "localhost, evil", "localhost\r\nHost: evil.example"] {
                ensure!(status(&daemon, path, host).await? == "400", "{binary:?}: {path} at {host:?}");
            }
            for host in
                [format!("127.0.0.1:{port}"), "[::1]".into(), "localhost".into(), "Chat.Test:1".into()]
            {
                ensure!(status(&daemon, path, &host).await? != "421", "{binary:?}: {path} at {host}");
            }
        }
        let log = daemon.stop()?;
        check_levels(&log)?;
        let refused = log.iter().find(|line| line["code"] == "host_forbidden");
        ensure!(refused.is_some_and(|line| line["host"] == "evil.example"), "{log:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_http_parser_refuses_is_logged() -> Result<()> {
    let request = "GET /ws?name=\u{d64d} HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for binary in BINARIES {
        for (request, codes) in [(request, &["bad_handshake"][..]), ("\0\r\n\r\n", &[])] {
            let daemon = Daemon::start(binary, &[])?;
            let answer = exchange(daemon.address(), request.as_bytes()).await?;
            ensure!(answer.starts_with(b"HTTP/1.1 400"), "{binary:?}: {}", answer.escape_ascii());
            let log = daemon.stop()?;
            check_levels(&log)?;
            let refused = log.iter().any(|line| {
                let by_parser = line["message"] == "malformed request refused" && line["cause"].is_string();
                by_parser || codes.iter().any(|code| line["code"] == *code)
            });
            ensure!(refused, "{binary:?}: {log:#?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_logged_with_its_origin_host_and_address() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        let origin = "Origin: https://other.example/\"\té\r\n";
        let (_, status) = request_upgrade(daemon.address(), origin).await?;
        ensure!(status == 403, "{binary:?}: {status}");
        let log = daemon.stop()?;
        let line = log.iter().find(|line| line["message"] == "upgrade refused");
        let line = line.ok_or_else(|| anyhow::anyhow!("{binary:?}: {log:#?}"))?;
        ensure!(line["code"] == "origin_forbidden" && line["status"] == 403, "{binary:?}: {line}");
        ensure!(
            line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")),
            "{binary:?}: {line}"
        );
        ensure!(line["origin"] == "https://other.example/\\\"\\té", "{binary:?}: {line}");
        ensure!(line["host"].as_str().is_some_and(|host| !host.is_empty()), "{binary:?}: {line}");
        check_levels(&log)?;
    }
    Ok(())
}

/// actix provides no connection for a list: see the deviations of its adapter.
#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_actix_cannot_upgrade_is_refused_as_no_upgrade() -> Result<()> {
    for binary in BINARIES.into_iter().filter(|binary| binary.adapter() == "actix") {
        let daemon = Daemon::start(binary, &[])?;
        let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let answer = exchange(daemon.address(), request.as_bytes()).await?;
        ensure!(answer.starts_with(b"HTTP/1.1 426"), "{binary:?}: {}", answer.escape_ascii());
        let log = daemon.stop()?;
        ensure!(log.iter().any(|line| line["code"] == "upgrade_required"), "{binary:?}: {log:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refusals_of_one_address_are_counted() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        for _ in 0..100 {
            let (_, status) = request_upgrade(daemon.address(), "Origin: null\r\n").await?;
            ensure!(status == 403, "{binary:?}: {status}");
        }
        let log = daemon.stop()?;
        let lines = log.iter().filter(|line| line["message"] == "upgrade refused").count();
        ensure!(lines == 10, "{binary:?}: {lines} lines");
        let counted = log.iter().find(|line| line["message"] == "further upgrades refused");
        let fits = counted.is_some_and(|line| line["refusals"] == 90 && line["address"] == "127.0.0.1");
        ensure!(fits, "{binary:?}: {counted:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_address_are_limited() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--max-per-address", "2"])?;
        let mut held = Vec::new();
        for (number, header) in ["", "", "", "X-Forwarded-For: 203.0.113.9\r\n"].into_iter().enumerate() {
            let (connection, status) = request_upgrade(daemon.address(), header).await?;
            let expected = if number < 2 { 101 } else { 429 };
            ensure!(status == expected, "{binary:?}: connection {number}: {status}");
            held.push(connection);
        }
        drop(held);
        let log = daemon.stop()?;
        check_levels(&log)?;
        let refused = log.iter().filter(|line| line["code"] == "too_many_connections").count();
        ensure!(refused == 2, "{binary:?}: {log:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_behind_a_trusted_proxy_count_for_the_forwarded_address() -> Result<()> {
    for binary in BINARIES {
        let daemon =
            Daemon::start(binary, &["--max-per-address", "1", "--trust-proxy", "127.0.0.1,10.0.0.0/8"])?;
        let mut held = Vec::new();
        for (header, expected) in [
            ("X-Forwarded-For: 203.0.113.9", 101),
            ("X-Forwarded-For: 198.51.100.1, 203.0.113.9, 10.0.0.7", 429),
            ("Forwarded: for=198.51.100.1, for=203.0.113.9", 429),
            ("X-Forwarded-For: 198.51.100.1, 203.0.113.10", 101),
            ("Forwarded: for=\"[2001:db8::9]:80\"", 101),
            ("X-Forwarded-For: 2001:db8::a", 429),
        ] {
            let (connection, status) = request_upgrade(daemon.address(), &format!("{header}\r\n")).await?;
            ensure!(status == expected, "{binary:?}: {header}: {status}");
            held.push(connection);
        }
        drop(held);
        let log = daemon.stop()?;
        check_levels(&log)?;
        let refused = log.iter().find(|line| line["code"] == "too_many_connections");
        ensure!(refused.is_some_and(|line| line["peer"] == "203.0.113.9:0"), "{binary:?}: {log:#?}");
    }
    Ok(())
}
