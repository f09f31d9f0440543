use std::fs;

use anyhow::{Context, Result, ensure};
use chat_adapter_tests::tls::{CertificateFiles, connect, connector, tunnel};
use chat_tests::{BINARIES, Binary, Client, Daemon, check_levels, eventually, exchange, within};
use serde_json::json;
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn members_with_tls_chat_and_a_plain_request_is_refused() -> Result<()> {
    let files = CertificateFiles::new();
    let (certificate, key) = (files.certificate(), files.key());
    let arguments =
        ["--tls-cert", certificate.to_str().context("a path")?, "--tls-key", key.to_str().context("a path")?];
    let connector = connector(&files.certificate());
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &arguments)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let tunnel = tokio::spawn(tunnel(listener, daemon.address(), connector.clone()));

        let stream = within(connect(daemon.address(), &connector)).await??;
        ensure!(stream.get_ref().1.alpn_protocol() == Some(b"http/1.1"), "{binary:?}");
        drop(stream);
        let (mut ann, mut bob) =
            (Client::member(address, "ann").await?, Client::member(address, "bob").await?);
        // More than one record of TLS.
        for text in ["hi".to_owned(), "x".repeat(4_000)] {
            let sent = ann.ask(json!({"type": "send", "room": "lobby", "body": {"text": text}})).await?;
            ensure!(sent["type"] == "sent", "{binary:?}: {sent}");
            loop {
                let event = bob.event().await?;
                if event["type"] == "message" {
                    ensure!(event["body"]["text"] == text.as_str(), "{binary:?}: {event}");
                    break;
                }
            }
        }
        let page = ann.ask(json!({"type": "history", "room": "lobby"})).await?;
        ensure!(
            page["messages"].as_array().is_some_and(|messages| messages.len() == 2),
            "{binary:?}: {page}"
        );

        let plain = exchange(daemon.address(), b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        let plain = String::from_utf8(plain)?;
        ensure!(plain.starts_with("HTTP/1.1 400 ") && plain.contains("tls_required"), "{binary:?}: {plain}");
        drop((ann, bob));
        tunnel.abort();
        let log = daemon.stop()?;
        check_levels(&log)?;
        let failed: Vec<_> = log.iter().filter(|line| line["message"] == "TLS handshake failed").collect();
        ensure!(failed.len() == 1, "{binary:?}: {failed:#?}");
        ensure!(failed[0]["cause"].as_str().is_some_and(|cause| cause.contains("https://")), "{failed:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reloads_the_certificate_and_a_broken_one_is_not_taken() -> Result<()> {
    let (files, renewed) = (CertificateFiles::new(), CertificateFiles::new());
    let (certificate, key) = (files.certificate(), files.key());
    let arguments =
        ["--tls-cert", certificate.to_str().context("a path")?, "--tls-key", key.to_str().context("a path")?];
    let (old, new) = (connector(&certificate), connector(&renewed.certificate()));
    let binary = Binary::one_per_adapter().next().context("a binary")?;
    let daemon = Daemon::start(binary, &arguments)?;
    let is_served = async |connector| within(connect(daemon.address(), connector)).await.map(|c| c.is_ok());
    let reload = async |message: &'static str| {
        let first = daemon.log_lines(0)?.len();
        daemon.signal("HUP")?;
        eventually(|| async { Ok(daemon.log_lines(first)?.iter().any(|line| line["message"] == message)) })
            .await
    };
    ensure!(is_served(&old).await? && !is_served(&new).await?);
    fs::write(&certificate, "no certificate")?;
    reload("certificate not reloaded, the previous one stays").await?;
    ensure!(is_served(&old).await?);
    fs::copy(renewed.certificate(), &certificate)?;
    fs::copy(renewed.key(), &key)?;
    reload("certificate reloaded").await?;
    ensure!(is_served(&new).await? && !is_served(&old).await?);
    Ok(())
}

#[test]
fn a_server_without_a_usable_certificate_does_not_start() -> Result<()> {
    let files = CertificateFiles::new();
    let (certificate, key) = (files.certificate(), files.key());
    let (certificate, key) = (certificate.to_str().context("a path")?, key.to_str().context("a path")?);
    for (arguments, expected) in [
        (&["--tls-cert", certificate][..], "--tls-cert: name the file of the private key with --tls-key"),
        (&["--tls-key", key], "--tls-key: name the file of the certificate with --tls-cert"),
        (&["--tls-cert", key, "--tls-key", certificate], "has no certificate in the PEM format"),
        (&["--tls-cert", certificate, "--tls-key", certificate], "has no private key in the PEM format"),
        (&["--tls-cert", "/none.pem", "--tls-key", key], "cannot read /none.pem"),
    ] {
        let binary = Binary::one_per_adapter().next().context("a binary")?;
        let output = binary.run(&[&["--data", ":memory:", "--listen", "127.0.0.1:0"], arguments].concat())?;
        let error = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2) && error.lines().count() == 1, "{arguments:?}: {error}");
        ensure!(error.starts_with("error: ") && error.contains(expected), "{arguments:?}: {error}");
    }
    Ok(())
}
