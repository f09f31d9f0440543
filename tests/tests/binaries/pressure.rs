use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_conformance::client::Frame;
use chat_tests::{BINARIES, Client, Daemon, Heard, RawClient, exchange};
use serde_json::json;
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_descriptors_costs_only_the_connections_there_are_none_for() -> Result<()> {
    for binary in BINARIES {
        let mut command = Command::new("prlimit");
        command.arg("--nofile=64").arg(binary.command()?.get_program());
        let daemon = Daemon::spawn(command, binary, &[])?;
        let mut first = Client::connect(daemon.address(), "first").await?;
        let crowd: Vec<_> = (0..100).filter_map(|_| TcpStream::connect(daemon.address()).ok()).collect();
        ensure!(crowd.len() > 64, "the crowd is too small");
        let pong = first.ask(json!({"type": "ping"}), "p").await?;
        ensure!(pong["type"] == "pong");
        drop(crowd);
        let mut second = Client::connect(daemon.address(), "second").await?;
        ensure!(second.ask(json!({"type": "ping"}), "p").await?["type"] == "pong");
        first.close(1000).await?;
        second.close(1000).await?;
        daemon.stop()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_takes_stops_no_session() -> Result<()> {
    for binary in BINARIES {
        for target in ["/dev/full", "a pipe that is full"] {
            let mut command = binary.command()?;
            command.args(["--listen", "127.0.0.1:0", "--data", ":memory:", "--upgrade", binary.upgrade]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).env("RUST_LOG", "trace");
            let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
            command.stderr(if target == "/dev/full" { Stdio::from(full) } else { Stdio::piped() });
            let mut child = command.spawn()?;
            let address = first_address(&mut child)?;
            for n in 0..50 {
                let mut client = Client::connect(address, &format!("user-{n}")).await?;
                client.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
                client.ask(json!({"type": "send", "room": "lobby", "body": {"text": "x"}}), "s").await?;
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
async fn a_head_that_does_not_come_is_not_waited_for() -> Result<()> {
    let (mut waiting, mut daemons) = (Vec::new(), Vec::new());
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        for part in ["", "GET /ws HTTP/1.1\r\nHost: a\r\n"] {
            let mut stream = tokio::net::TcpStream::connect(daemon.address()).await?;
            tokio::io::AsyncWriteExt::write_all(&mut stream, part.as_bytes()).await?;
            waiting.push((binary, part, stream));
        }
        // They hold up nobody.
        Client::connect(daemon.address(), "good").await?.close(1000).await?;
        daemons.push(daemon);
    }
    for (binary, part, mut stream) in waiting {
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
            .await
            .with_context(|| format!("{binary:?} still waits for the rest of {part:?}"))??;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{binary:?}: {answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_does_wrong_is_no_error_of_the_server() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        for request in ["\0\r\n\r\n", "GET /ws HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"] {
            exchange(daemon.address(), request.as_bytes()).await?;
        }
        for frame in
            [Frame::ping("").unfinished(), Frame::new(3, ""), Frame::text(b"\xff"), Frame::close(5_000, "")]
        {
            let mut client = RawClient::connect(daemon.address(), "ann", false).await?;
            client.write(&frame.encode()).await?;
            while let Heard::Event(_) = client.next().await? {}
        }
        daemon.sessions(0).await?;
        let log = daemon.stop()?;
        ensure!(log.iter().all(|line| line["level"] == "INFO"), "{binary:?}: {log:#?}");
    }
    Ok(())
}
