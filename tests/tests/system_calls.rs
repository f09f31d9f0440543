//! The system calls of a delivery and of an idle connection, counted by strace. `docs/performance.md` has the measured
//! values.
//!
//! The clients wait for all deliveries of a message before they send the next one. So the counts do not depend on the
//! speed of the machine.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context, Result, ensure};
use chat_core::UpgradeMode;
use chat_tests::{Adapter, Binary, Daemon, SocketRooms, program};
use tempfile::TempDir;

/// The members of the large room.
const MEMBERS: usize = 200;

/// The messages that are counted in the large room.
const MESSAGES: usize = 40;

/// The small rooms.
const ROOMS: usize = 20;

/// The members of a small room.
const SMALL: usize = 3;

/// The connections that are idle.
const IDLE: usize = 500;

/// The members of each of their rooms.
const IDLE_ROOM: usize = 10;

/// The pings of each idle connection that are counted.
const PINGS: usize = 3;

/// System calls of a server, by purpose.
#[derive(Clone, Copy, Debug)]
struct Calls {
    /// Writes to sockets.
    sends: f64,
    /// The writes of these that are vectored, which cost more.
    vectored: f64,
    /// Reads from sockets.
    reads: f64,
    /// Waits for sockets and timers.
    waits: f64,
    /// Calls that wake a thread, or let it sleep.
    wakes: f64,
    /// All other calls.
    others: f64,
}

impl Calls {
    fn zero() -> Self {
        Self { sends: 0.0, vectored: 0.0, reads: 0.0, waits: 0.0, wakes: 0.0, others: 0.0 }
    }

    /// Reads a summary of strace, which has the number and the name of each call.
    fn of(summary: &str) -> Self {
        let mut calls = Self::zero();
        for line in summary.lines() {
            let [count, name] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
            let Ok(count) = count.parse::<f64>() else { continue };
            calls.vectored += if matches!(name, "sendmsg" | "writev") { count } else { 0.0 };
            *match name {
                "sendto" | "sendmsg" | "writev" => &mut calls.sends,
                "recvfrom" | "recvmsg" | "readv" => &mut calls.reads,
                "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => &mut calls.waits,
                // A runtime wakes a thread that waits for sockets with a write to an eventfd.
                "futex" | "write" | "read" => &mut calls.wakes,
                "total" => continue,
                _ => &mut calls.others,
            } += count;
        }
        calls
    }

    /// Returns the calls for one of these units.
    fn per(self, units: usize) -> Self {
        let units = units as f64;
        Self {
            sends: self.sends / units,
            vectored: self.vectored / units,
            reads: self.reads / units,
            waits: self.waits / units,
            wakes: self.wakes / units,
            others: self.others / units,
        }
    }

    /// Returns true if something was counted, and no number is greater than that of a bound.
    fn is_within(&self, bound: &Self) -> bool {
        // Each unit needs a send, so without sends nothing was counted.
        self.sends > 0.5
            && self.sends <= bound.sends
            && self.vectored <= bound.vectored
            && self.reads <= bound.reads
            && self.waits <= bound.waits
            && self.wakes <= bound.wakes
            && self.others <= bound.others
    }
}

/// A tracer of all threads of a process.
struct Tracer {
    strace: Child,
    // This must stay open while strace runs.
    _errors: BufReader<ChildStderr>,
    summary: PathBuf,
    _dir: TempDir,
}

impl Tracer {
    /// Starts to count the calls of a process.
    fn attach(process: u32) -> Result<Self> {
        let dir = TempDir::new()?;
        let summary = dir.path().join("summary");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&summary);
        strace.arg("-p").arg(process.to_string());
        let mut strace = strace.stderr(Stdio::piped()).spawn().context("strace is missing")?;
        let mut errors = BufReader::new(strace.stderr.take().context("no standard error")?);
        let mut line = String::new();
        errors.read_line(&mut line)?;
        ensure!(line.contains(" attached"), "strace: {line}");
        Ok(Self { strace, _errors: errors, summary, _dir: dir })
    }

    /// Stops the tracer. Returns the calls since it was attached.
    fn detach(mut self) -> Result<Calls> {
        let sent = Command::new("kill").arg("-INT").arg(self.strace.id().to_string()).status()?;
        ensure!(sent.success(), "strace has exited already");
        self.strace.wait()?;
        Ok(Calls::of(&fs::read_to_string(&self.summary)?))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // The tracer may have exited already.
        let _exited = self.strace.kill().and_then(|()| self.strace.wait());
    }
}

/// Traces a server while messages are delivered in rooms of this size. Returns the calls for one delivery.
fn count_deliveries(binary: Binary, rooms: usize, members: usize, messages: usize) -> Result<Calls> {
    let daemon = Daemon::start_lifted(binary, &["--data", ":memory:"])?;
    let mut rooms = SocketRooms::join(daemon.address(), rooms, members)?;
    let warm_up = rooms.prepare(1);
    rooms.deliver(&warm_up)?;
    let messages = rooms.prepare(messages);
    let tracer = Tracer::attach(daemon.id())?;
    rooms.deliver(&messages)?;
    let calls = tracer.detach()?;
    Ok(calls.per(rooms.deliveries(&messages)))
}

/// Traces a server while its connections are idle. Returns the calls for one ping of one connection.
fn count_pings(adapter: Adapter) -> Result<Calls> {
    let mut host =
        program("idle_host")?.arg(adapter.name()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(host.stdout.take().context("no standard output")?).read_line(&mut address)?;
    let mut rooms = SocketRooms::join(address.trim().parse()?, IDLE / IDLE_ROOM, IDLE_ROOM)?;
    rooms.answer_pings(1)?;
    let tracer = Tracer::attach(host.id())?;
    rooms.answer_pings(PINGS)?;
    let calls = tracer.detach()?;
    drop(rooms);
    drop(host.stdin.take());
    host.wait()?;
    Ok(calls.per(IDLE * PINGS))
}

/// The bounds for a delivery in a large room, for a delivery in a small room, and for a ping.
const BOUNDS: [Calls; 3] = [
    Calls { sends: 1.01, vectored: 0.01, reads: 0.01, waits: 0.03, wakes: 0.03, others: 0.01 },
    Calls { sends: 1.05, vectored: 0.01, reads: 0.35, waits: 1.0, wakes: 1.0, others: 0.1 },
    Calls { sends: 1.05, vectored: 0.01, reads: 1.1, waits: 2.2, wakes: 1.0, others: 0.1 },
];

#[test]
fn tungstenite_needs_few_system_calls() -> Result<()> {
    check("chatd-tungstenite", Adapter::Tungstenite)
}

#[test]
fn axum_needs_few_system_calls() -> Result<()> {
    check("chatd-axum", Adapter::Axum(UpgradeMode::Hijack))
}

#[test]
fn actix_needs_few_system_calls() -> Result<()> {
    check("chatd-actix", Adapter::Actix(UpgradeMode::Hijack))
}

#[test]
fn the_websockets_of_frameworks_need_the_calls_of_the_hijack() -> Result<()> {
    for name in ["chatd-axum", "chatd-warp", "chatd-actix"] {
        let calls = count_deliveries(Binary { name, upgrade: "framework" }, ROOMS, SMALL, MESSAGES)?;
        let [_, bound, _] = BOUNDS;
        ensure!(calls.is_within(&bound), "{name}, small rooms: {calls:#.3?}, bound {bound:#.3?}");
    }
    Ok(())
}

/// Checks the calls for one delivery in a large room and in small rooms, and for one ping of an idle connection.
fn check(name: &'static str, adapter: Adapter) -> Result<()> {
    let binary = Binary { name, upgrade: "hijack" };
    let calls = [
        count_deliveries(binary, 1, MEMBERS, MESSAGES)?,
        count_deliveries(binary, ROOMS, SMALL, MESSAGES)?,
        count_pings(adapter)?,
    ];
    let are_within = calls.iter().zip(&BOUNDS).all(|(calls, bound)| calls.is_within(bound));
    ensure!(are_within, "large room, small rooms, pings: {calls:#.3?}, bounds {BOUNDS:#.3?}");
    Ok(())
}
