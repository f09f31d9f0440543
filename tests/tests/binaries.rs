//! The binaries as their users meet them: flags, signals, a drain, and an environment that fails them.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_conformance::client::Frame;
use chat_tests::{BINARIES, Binary, Client, Daemon, Heard, RawClient, exchange, within};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

fn programs() -> impl Iterator<Item = Binary> {
    BINARIES.into_iter().filter(|binary| binary.upgrade == "hijack")
}

#[test]
fn help_tells_a_newcomer_what_to_do() -> Result<()> {
    for binary in programs() {
        let output = binary.run(&["--help"])?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && output.stderr.is_empty());
        for word in [
            "--listen",
            "--data",
            "--durability",
            "--retain",
            "--upgrade",
            "--log-format",
            "--allow-origin",
            "--max-connections",
            "--drain-timeout",
            "--echo",
            "CHATD_LISTEN",
            "CHATD_DATA",
            "CHATD_DURABILITY",
            "CHATD_RETAIN",
            "CHATD_UPGRADE",
            "CHATD_LOG_FORMAT",
            "CHATD_ALLOW_ORIGIN",
            "CHATD_MAX_CONNECTIONS",
            "CHATD_DRAIN_TIMEOUT",
            "CHATD_ECHO",
            "127.0.0.1:8080",
            "./chat-data",
            "export",
            "check",
            "join",
        ] {
            ensure!(text.contains(word), "{word} is missing in {text}");
        }
    }
    Ok(())
}

#[test]
fn a_bad_configuration_is_one_line_and_exit_code_2() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let bad: [&[&str]; 27] = [
        &["--listen", "nowhere"],
        &["--listen", "127.0.0.1:70000"],
        &["--listen", &taken],
        &["--listen", "192.0.2.1:1"],
        &["--frobnicate"],
        &["stray"],
        &["--log-format", "xml"],
        &["--upgrade", "magic"],
        &["--max-connections", "0"],
        &["--max-connections", "-1"],
        &["--max-connections", "99999999999999999999"],
        &["--drain-timeout", "soon"],
        &["--allow-origin", "https://chat.example/path"],
        &["--data", ""],
        &["--durability", "eternal"],
        &["--retain", "30"],
        &["--retain", "0d"],
        &["--retain", "0msgs"],
        &["--retain", "for a while"],
        &["--retain", "1d", "--retain", "2d"],
        &["--retain", "1msgs,2msgs"],
        &["--data", ":memory:", "--durability", "disk"],
        &["--data", ":memory:", "--retain", "1d"],
        &["check", "--data", ":memory:"],
        &["check", "--data", "/nowhere"],
        &["export", "--data", "/nowhere"],
        &["export", "--data", "/nowhere", "Lobby"],
    ];
    for binary in programs() {
        for arguments in bad {
            let output = binary.run(arguments)?;
            let text = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(2), "{arguments:?}: {}", output.status);
            ensure!(text.lines().count() == 1 && text.starts_with("error: "), "{arguments:?}: {text}");
            ensure!(output.stdout.is_empty(), "{arguments:?}");
        }
    }
    Ok(())
}

#[test]
fn a_bad_or_misspelt_variable_is_one_line_and_exit_code_2() -> Result<()> {
    for binary in programs() {
        for (name, value) in [("CHATD_MAX_CONNECTIONS", "0"), ("CHATD_LISTN", "127.0.0.1:0")] {
            let output = binary.command()?.env(name, value).stdin(Stdio::null()).output()?;
            let text = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(2) && text.lines().count() == 1, "{name}: {text}");
        }
    }
    Ok(())
}

#[test]
fn a_mechanism_that_a_binary_has_not_is_neither_offered_nor_taken() -> Result<()> {
    for binary in programs() {
        let has_context = binary.name != "chatd-tungstenite";
        let help = String::from_utf8(binary.run(&["--help"])?.stdout)?;
        ensure!(help.contains("- hijack:") && help.contains("- context:") == has_context, "{help}");
        let refused = binary.run(&["--upgrade", "context", "--listen", "nowhere"])?;
        let line = String::from_utf8(refused.stderr)?;
        ensure!(line.contains("--upgrade") != has_context, "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_configure_and_flags_win() -> Result<()> {
    for binary in programs() {
        let mut command = binary.command()?;
        command.env("CHATD_LISTEN", "127.0.0.1:1").env("CHATD_MAX_CONNECTIONS", "1");
        command.env("CHATD_PORT", "tcp://10.0.0.1:80").env("CHATD_SERVICE_HOST", "10.0.0.1");
        command.env("CHATD_ALLOW_ORIGIN", "https://a.example,https://b.example");
        let daemon = Daemon::spawn(command, binary, &[])?;
        for (origin, status) in [("https://b.example", "101"), ("https://c.example", "403")] {
            ensure!(
                status_of(daemon.address(), &format!("Origin: {origin}\r\n")).await? == status,
                "{origin}"
            );
        }
        daemon.sessions(0).await?;
        let _one = Client::connect(daemon.address(), "one").await?;
        ensure!(status_of(daemon.address(), "").await? == "503");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_loses_nothing_that_was_acknowledged() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--drain-timeout", "8"])?;
        let mut witness = Client::connect(daemon.address(), "witness").await?;
        witness.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
        let writers: Vec<_> =
            (0..10).map(|n| tokio::spawn(write_until_closed(daemon.address(), n))).collect();
        let mut stored = 0;
        while stored < 500 {
            stored = witness.until("message").await?["seq"].as_u64().context("no seq")?;
        }
        daemon.signal("TERM")?;
        let mut seqs = Vec::new();
        let mut closing = Value::Null;
        while let Ok(event) = witness.next().await {
            match event["type"].as_str() {
                Some("message") => seqs.extend(event["seq"].as_u64()),
                Some("closing") => closing = event,
                _ => {}
            }
        }
        ensure!(closing["code"] == 1012 && closing["reconnect_in_ms"].as_u64() > Some(0), "{closing}");
        ensure!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{binary:?}: a hole in {seqs:?}");
        for writer in writers {
            let (acknowledged, code) = within(writer).await???;
            ensure!(code == Some(1012), "{binary:?} closed a writer with {code:?}");
            ensure!(acknowledged > 0, "nothing acknowledged");
        }
        let (status, log) = daemon.wait()?;
        ensure!(status.success(), "{binary:?}: {status}");
        let ended: Vec<_> = log.iter().filter(|line| line["message"] == "session ended").collect();
        ensure!(ended.len() == 11 && ended.iter().all(|line| line["close"] == 1012), "{ended:#?}");
        ensure!(log.iter().all(|line| line["level"] == "INFO"), "{log:#?}");
    }
    Ok(())
}

/// Sends one message after the other; the number of those acknowledged, and the code of the server's close.
async fn write_until_closed(address: SocketAddr, number: usize) -> Result<(u64, Option<u16>)> {
    let mut client = Client::connect(address, &format!("writer-{number}")).await?;
    client.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    let mut acknowledged = 0;
    loop {
        let command = json!({"type": "send", "room": "lobby", "ref": "s", "body": {"text": "x"}});
        if client.send(command).await.is_err() {
            break;
        }
        loop {
            let event = client.next().await?;
            if event["type"] == "closing" {
                return Ok((acknowledged, client.closed().await?));
            }
            if event["type"] == "sent" {
                acknowledged += 1;
                break;
            }
        }
    }
    Ok((acknowledged, client.closed().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_refuses_upgrades_and_says_it_is_not_ready() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--drain-timeout", "30"])?;
        // A peer that does not answer the close holds the drain for the second that it has.
        let _silent = silent(daemon.address()).await?;
        daemon.signal("TERM")?;
        within(async {
            while daemon.ready().await?["ready"] != false {
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        })
        .await??;
        ensure!(status_of(daemon.address(), "").await? == "503", "{binary:?}");
        let (status, _) = daemon.wait()?;
        ensure!(status.success(), "{binary:?}: {status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--drain-timeout", "3600"])?;
        let _silent = silent(daemon.address()).await?;
        daemon.signal("TERM")?;
        daemon.signal("INT")?;
        let (status, log) = daemon.wait()?;
        let draining = log.iter().any(|line| line["message"] == "draining");
        ensure!(status.code() == Some(1) || (status.success() && draining), "{binary:?}: {status}");
    }
    Ok(())
}

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

/// A peer that upgrades and then neither reads nor answers.
async fn silent(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(handshake("").as_bytes())?;
    let mut byte = [0];
    std::io::Read::read_exact(&mut stream, &mut byte)?;
    Ok(stream)
}

async fn status_of(address: SocketAddr, headers: &str) -> Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    tokio::io::AsyncWriteExt::write_all(&mut stream, handshake(headers).as_bytes()).await?;
    let mut answer = [0; 12];
    within(stream.read_exact(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer[9..]).into_owned())
}

fn handshake(headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}
