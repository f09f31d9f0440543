//! The story: a chat server that passed all its tests logged, under k6, status 200 together with "connection has been
//! hijacked". A Rust host can spoil an upgrade in more ways than that one; whatever it does that compiles, under
//! k6's `ws.connect`, there is a right status on the wire, the same one in the log, and no session that nobody has.
//! What does not compile is in `tests/ui`.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Daemon, Fault, k6, program, within};
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

macro_rules! for_each_way {
    ($($name:ident: $adapter:literal $upgrade:literal)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() -> Result<()> {
            the_story($adapter, $upgrade).await
        }
    )*};
}

for_each_way! {
    tungstenite_by_hijack: "tungstenite" "hijack"
    warp_by_hijack: "warp" "hijack"
    warp_by_context: "warp" "context"
    actix_by_hijack: "actix" "hijack"
    actix_by_context: "actix" "context"
    axum_by_hijack: "axum" "hijack"
    axum_by_context: "axum" "context"
}

async fn the_story(adapter: &str, upgrade: &str) -> Result<()> {
    let fits = |binary: &&chat_tests::Binary| (binary.adapter(), binary.upgrade) == (adapter, upgrade);
    let binary = *BINARIES.iter().find(fits).context("no such binary")?;
    let mut host = program("story")?;
    host.env("ADAPTER", adapter);
    let daemon = Daemon::spawn(host, binary, &[])?;
    let mut statuses = Statuses::default();
    let mut served = 0;

    // Side by side: those who wait in the handler do so for as long as an upgrade may take.
    let half_closing = try_join_all(ways().map(|fault| half_closed(&daemon, fault)));
    let (lines, half_closed) = tokio::try_join!(under_k6(&daemon), half_closing)?;

    for line in lines {
        let fault = Fault::named(line["fault"].as_str().unwrap_or_default().as_bytes());
        let status = line["status"].as_u64().context("no status")?;
        let is_served = line["events"].as_u64() > Some(0);
        ensure!((status, is_served) == expected(adapter, fault), "{fault:?} under k6: {line}");
        statuses.saw(status);
        served += usize::from(is_served);
    }
    for (fault, status) in ways().zip(half_closed) {
        let (right, is_served) = expected(adapter, fault);
        ensure!(status == right, "{fault:?}, half-closed: {status}");
        statuses.saw(status);
        served += usize::from(is_served);
    }
    daemon.sessions(0).await?;

    let log = daemon.stop()?;
    ensure!(statuses == Statuses::logged(&log), "clients saw {statuses:?}, but: {log:#?}");
    let sessions = log.iter().filter(|line| line["message"] == "session ended").count();
    ensure!(sessions == served, "{served} were served, but: {log:#?}");
    Ok(())
}

/// Every fault, and none.
fn ways() -> impl Iterator<Item = Option<Fault>> {
    Fault::ALL.into_iter().map(Some).chain([None])
}

/// The status that is right on the wire, and whether the client has a chat then.
fn expected(adapter: &str, fault: Option<Fault>) -> (u64, bool) {
    match fault {
        None => (101, true),
        // hyper sends no body with a 101. To actix the body is the connection.
        Some(Fault::Embodied) if adapter != "actix" => (101, true),
        Some(_) => (500, false),
    }
}

/// How often each status was the answer to an upgrade.
#[derive(Debug, Default, PartialEq, Eq)]
struct Statuses(BTreeMap<u64, usize>);

impl Statuses {
    fn saw(&mut self, status: u64) {
        *self.0.entry(status).or_default() += 1;
    }

    fn logged(log: &[Value]) -> Self {
        let mut statuses = Self::default();
        log.iter().filter_map(|line| line["status"].as_u64()).for_each(|status| statuses.saw(status));
        statuses
    }
}

/// What each way comes to under k6, one line each.
async fn under_k6(daemon: &Daemon) -> Result<Vec<Value>> {
    let faults: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    let mut command = k6("story", daemon)?;
    command.args(["--log-format", "raw", "-e", &format!("FAULTS={}", faults.join(","))]);
    let output = tokio::process::Command::from(command).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = within(output).await??;
    let log = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{log}");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    ensure!(lines.len() == ways().count(), "{log}");
    Ok(lines)
}

/// A client that ends its side once it has its answer: what hyper takes for an upgrade that came about.
async fn half_closed(daemon: &Daemon, fault: Option<Fault>) -> Result<u64> {
    let header = fault.map(|fault| format!("X-Fault: {}\r\n", fault.name())).unwrap_or_default();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
    );
    let mut stream = TcpStream::connect(daemon.address()).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 12];
    within(stream.read_exact(&mut answer)).await??;
    stream.shutdown().await?;
    within(stream.read_to_end(&mut Vec::new())).await??;
    Ok(std::str::from_utf8(&answer[9..])?.parse()?)
}
