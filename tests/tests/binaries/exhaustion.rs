use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_conformance::client::Frame;
use chat_tests::{BINARIES, Client, Daemon, Incoming, check_levels, exchange};
use serde_json::json;
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread")]
async fn descriptor_exhaustion_delays_new_connections_and_keeps_open_ones() -> Result<()> {
    for binary in BINARIES {
        let mut command = Command::new("prlimit");
        command.arg("--nofile=64").arg(binary.command()?.get_program());
        let daemon = Daemon::spawn(command, binary, &[])?;
        let mut first = Client::connect(daemon.address(), "first").await?;
        let idle: Vec<_> = (0..100).filter_map(|_| TcpStream::connect(daemon.address()).ok()).collect();
        ensure!(idle.len() > 64, "only {} connections", idle.len());
        ensure!(first.ask(json!({"type": "ping"})).await?["type"] == "pong");
        drop(idle);
        let mut second = Client::connect(daemon.address(), "second").await?;
        ensure!(second.ask(json!({"type": "ping"})).await?["type"] == "pong");
        first.close(1000).await?;
        second.close(1000).await?;
        let log = daemon.stop()?;
        let failures = log.iter().filter(|line| line["message"] == "accept failed").count();
        ensure!(failures == 1, "{binary:?}: {failures} lines about failures to accept");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_stops_no_session() -> Result<()> {
    for binary in BINARIES {
        for target in ["/dev/full", "a full pipe"] {
            let mut command = binary.command()?;
            command.args(["--listen", "127.0.0.1:0", "--data", ":memory:", "--upgrade", binary.upgrade]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).env("RUST_LOG", "trace");
            let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
            command.stderr(if target == "/dev/full" { Stdio::from(full) } else { Stdio::piped() });
            let mut child = command.spawn()?;
            let address = first_address(&mut child)?;
            for n in 0..50 {
                let mut client = Client::member(address, &format!("user-{n}")).await?;
                client.say("x").await?;
                client.close(1000).await?;
            }
            child.kill()?;
            child.wait()?;
        }
    }
    Ok(())
}

fn first_address(child: &mut std::process::Child) -> Result<SocketAddr> {
    use std::io::BufRead;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next());
    Ok(address.context("no address")?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_request_head_times_out() -> Result<()> {
    let (mut waiting, mut daemons) = (Vec::new(), Vec::new());
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        for part in ["", "GET /ws HTTP/1.1\r\nHost: a\r\n"] {
            let mut stream = tokio::net::TcpStream::connect(daemon.address()).await?;
            tokio::io::AsyncWriteExt::write_all(&mut stream, part.as_bytes()).await?;
            waiting.push((binary, part, stream));
        }
        // The two incomplete requests do not delay other clients.
        Client::connect(daemon.address(), "good").await?.close(1000).await?;
        daemons.push(daemon);
    }
    for (binary, part, mut stream) in waiting {
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
            .await
            .with_context(|| format!("{binary:?} still waits after {part:?}"))??;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{binary:?}: {answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_of_a_peer_are_not_logged_as_errors() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        for request in ["\0\r\n\r\n", "GET /ws HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"] {
            exchange(daemon.address(), request.as_bytes()).await?;
        }
        for frame in
            [Frame::ping("").unfinished(), Frame::new(3, ""), Frame::text(b"\xff"), Frame::close(5_000, "")]
        {
            let mut client = Client::open(daemon.address(), "ann").await?;
            client.write(&frame.encode()).await?;
            while let Incoming::Event(_) = client.receive().await? {}
        }
        daemon.sessions(0).await?;
        check_levels(&daemon.stop()?).with_context(|| format!("{binary:?}"))?;
    }
    Ok(())
}
