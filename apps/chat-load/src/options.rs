//! The command line options.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_client::Roots;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// Put load on a chat server and check every delivery.
///
/// Messages are sent when they are due, even if the server is not ready (open loop). Latencies count from the due time.
/// The exit code is 0 if every check passes, 1 if a check fails (lost, repeated or reordered messages, errors), and 2
/// if the options are invalid.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Options {
    /// Command to run
    #[command(subcommand)]
    pub command: Command,
    /// Options of all scenarios
    #[command(flatten)]
    pub common: Common,
}

/// Options of all scenarios.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Common {
    /// Server address. wss:// uses TLS
    #[arg(long, global = true, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: String,

    /// Trust only the root certificates in this PEM file. By default, those of the system are trusted
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Allow a server on another machine. Ask its operator first
    #[arg(long, global = true)]
    pub allow_remote: bool,

    /// Number of connections
    #[arg(long, global = true, value_name = "NUMBER", default_value = "100",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,

    /// Protocol of the server
    #[arg(long, global = true, value_enum, default_value = "chat")]
    pub protocol: Protocol,

    /// Messages per second in total (storm: connections per second)
    #[arg(long, global = true, value_name = "NUMBER", default_value = "100", value_parser = rate)]
    pub rate: f64,

    /// Duration of the load in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub duration: Duration,

    /// Text size of a message in bytes
    #[arg(long, global = true, value_name = "BYTES", default_value = "64",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub size: u32,

    /// Process id of the server, to report its CPU time and memory
    #[arg(long, global = true)]
    pub pid: Option<u32>,

    /// Write the report to a file as JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write the report to a file as a page for a browser
    #[arg(long, global = true, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Number of threads of this tool
    #[arg(long, global = true, value_name = "NUMBER", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,

    /// Number of source addresses (127.0.0.1, 127.0.0.2, ...). One address has about 28,000 ports
    #[arg(long, global = true, value_name = "NUMBER", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=65_000))]
    pub sources: u32,

    /// Time limit in seconds for the last deliveries after the load
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub patience: Duration,
}

/// The protocol of the server. Only `fanout`, `spike` and `rooms` support others than `chat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// The protocol chat.v1. Each send has a `ref` and a `key`, and its reply acknowledges it
    Chat,
    /// The protocol chat.v1 without `ref` and `key`. The delivery to the writer acknowledges a send, and replies are
    /// ignored
    ChatBare,
    /// A server that sends each text to all members of the room, whose name follows the path of --url. Its first text
    /// is `joined`
    Plain,
    /// Socket.IO over WebSocket: the events `join` and `message` have a string, and the reply to `join` is `joined`
    Socketio,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A scenario
    #[command(flatten)]
    Run(Scenario),
    /// Write a page that shows the reports of earlier runs side by side
    Report(Files),
}

/// Options of [`Command::Report`].
#[derive(Args, Clone, Debug)]
#[command(help_template = REPORT_HELP, override_usage = "chat-load report <FILE>... --html <FILE>")]
pub struct Files {
    /// Reports that --json has written. The name of a file is the name of its run
    #[arg(value_name = "FILE", required = true)]
    pub reports: Vec<PathBuf>,
}

/// The help of [`Command::Report`], without the options of a load.
const REPORT_HELP: &str = "\
{about-with-newline}
{usage-heading} {usage}

Arguments:
{positionals}

Options:
      --html <FILE>  Write the page to this file
";

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// One room with a few writers and many readers
    Fanout(Fanout),
    /// Many small rooms with one writer each
    Rooms(Rooms),
    /// Like fanout, with ten times the rate in the middle third
    Spike(Spike),
    /// New connections at a rate. Each stays open until the end
    Storm,
    /// Like fanout, with other members that read the history in turns. Shows whether they delay deliveries
    Pages(Pages),
    /// One room whose readers lose their connections repeatedly and must receive complete streams
    Resume(Resume),
    /// One room with some slow readers. The other readers are measured
    Slow(Slow),
    /// Idle connections. Measures the memory of each
    Idle,
    /// Round trips on each connection
    Echo(Echo),
    /// One room whose messages are edited, reacted to and deleted. Measures each against a send. Ignores --rate
    Changes(Changes),
}

/// Options of [`Scenario::Fanout`].
#[derive(Args, Clone, Debug)]
pub struct Fanout {
    /// Number of connections that write
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub senders: u32,
    /// Number of messages that a writer sends at the same time. The rate stays the same
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub burst: u32,
    /// Send the next message when an earlier one is acknowledged (closed loop), with --burst messages in flight for
    /// each writer. Ignores --rate
    #[arg(long)]
    pub closed: bool,
}

/// Options of [`Scenario::Spike`].
#[derive(Args, Clone, Debug)]
pub struct Spike {
    /// Number of connections that write
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub senders: u32,
}

/// Options of [`Scenario::Rooms`].
#[derive(Args, Clone, Debug)]
pub struct Rooms {
    /// Number of connections in each room
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub members: u32,
    /// Send the next message when the last one is acknowledged (closed loop). Ignores --rate
    #[arg(long)]
    pub closed: bool,
}

/// Options of [`Scenario::Pages`].
#[derive(Args, Clone, Debug)]
pub struct Pages {
    /// Number of connections that write
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub senders: u32,
    /// Number of connections that read the history
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pagers: u32,
    /// Number of messages in the room before the load
    #[arg(long, value_name = "NUMBER", default_value = "5000",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub history: u32,
    /// Number of turns. Each turn measures deliveries without and with history reads
    #[arg(long, value_name = "NUMBER", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub turns: u32,
}

/// Options of [`Scenario::Resume`].
#[derive(Args, Clone, Debug)]
pub struct Resume {
    /// Average time in seconds between two cuts of a connection
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub every: Duration,
}

/// Options of [`Scenario::Slow`].
#[derive(Args, Clone, Debug)]
pub struct Slow {
    /// Share of slow readers, from 0 to 0.9
    #[arg(long, default_value = "0.2", value_parser = share)]
    pub share: f64,
    /// Speed of slow readers
    #[arg(long, value_enum, default_value = "stop")]
    pub pace: Pace,
}

/// The speed of slow readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// Read nothing until the load has ended, then everything
    Stop,
    /// Read one byte per second
    Trickle,
}

/// Options of [`Scenario::Echo`].
#[derive(Args, Clone, Debug)]
pub struct Echo {
    /// Kind of round trip
    #[arg(long, value_enum, default_value = "ping")]
    pub what: RoundTrip,
}

/// Options of [`Scenario::Changes`].
#[derive(Args, Clone, Debug)]
pub struct Changes {
    /// Number of connections that write. Each has one command in flight
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u32).range(3..=1_000))]
    pub senders: u32,
    /// Number of commands of each kind in a turn, of all writers together
    #[arg(long, value_name = "NUMBER", default_value = "800", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub entries: u32,
    /// Number of pages of each kind in a turn
    #[arg(long, value_name = "NUMBER", default_value = "200", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub pages: u32,
    /// Number of turns. Each turn measures all kinds
    #[arg(long, value_name = "NUMBER", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub turns: u32,
}

/// The kind of round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoundTrip {
    /// Send `ping` commands and expect `pong` events
    Ping,
    /// Send texts and expect them back. The server needs --echo
    Text,
}

impl Options {
    /// Checks the options that depend on others.
    ///
    /// # Errors
    ///
    /// Fails if the server is on another machine, or the scenario does not support the protocol.
    pub fn check(&self) -> Result<()> {
        let Command::Run(scenario) = &self.command else { return Ok(()) };
        self.common.check()?;
        let supports_all = matches!(scenario, Scenario::Fanout(_) | Scenario::Spike(_) | Scenario::Rooms(_));
        ensure!(
            supports_all || self.common.protocol == Protocol::Chat,
            "--protocol: only fanout, spike and rooms support others than chat"
        );
        Ok(())
    }
}

impl Common {
    /// Checks that the server is on this machine, unless `--allow-remote` is given.
    ///
    /// # Errors
    ///
    /// Fails if the address is invalid, or on another machine, or if the file of `--ca` cannot be used.
    pub fn check(&self) -> Result<()> {
        let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
        let port = match scheme {
            "ws" => 80,
            "wss" => 443,
            _ => bail!("--url: expected an address such as ws://127.0.0.1:8080/ws"),
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let with_port = if authority.rsplit(']').next().is_some_and(|rest| rest.contains(':')) {
            authority.to_owned()
        } else {
            format!("{authority}:{port}")
        };
        let addresses: Vec<SocketAddr> =
            with_port.to_socket_addrs().with_context(|| format!("--url: {authority}"))?.collect();
        ensure!(
            self.allow_remote || addresses.iter().all(|address| address.ip().is_loopback()),
            "--url: {authority} is not this machine; use --allow-remote if its operator agrees"
        );
        self.roots().map(drop)
    }

    /// Reads the root certificates of `--ca`.
    pub(crate) fn roots(&self) -> Result<Option<Roots>> {
        let read =
            |file: &PathBuf| Roots::from_file(file).with_context(|| format!("--ca {}", file.display()));
        self.ca.as_ref().map(read).transpose()
    }

    /// Returns the source address of connection `n`.
    pub(crate) fn source(&self, n: usize) -> Option<IpAddr> {
        let [a, b, ..] = (u32::try_from(n).unwrap_or(0) % self.sources + 1).to_le_bytes();
        (self.sources > 1).then_some(IpAddr::V4(Ipv4Addr::new(127, 0, b, a)))
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections as usize
    }
}

pub(crate) fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().ok().filter(|rate| (0.001..=10_000_000.0).contains(rate));
    rate.ok_or("expected a number from 0.001 to 10000000")
}

fn share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok().filter(|share| (0.0..=0.9).contains(share));
    share.ok_or("expected a number from 0 to 0.9")
}

pub(crate) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=1_000_000.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("expected seconds from 0.1 to 1000000")
}
