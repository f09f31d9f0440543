//! What the program is asked for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Puts load on a chat server and checks every delivery.
///
/// Messages are sent when they are due, whether or not the server is ready (an open model), and latencies count
/// from then. Ends with 0 if all is well, with 1 if anything was lost, doubled, out of order or otherwise not as
/// expected, with 2 if it was asked for what it cannot do.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Options {
    /// What to do
    #[command(subcommand)]
    pub scenario: Scenario,
    /// What holds for all scenarios
    #[command(flatten)]
    pub common: Common,
}

/// What holds for all scenarios.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Common {
    /// The server
    #[arg(long, global = true, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: String,

    /// Let the server be on another machine. Ask whoever runs it first
    #[arg(long, global = true)]
    pub allow_remote: bool,

    /// Connections: receivers, users or clients, by scenario
    #[arg(long, global = true, value_name = "NUMBER", default_value = "100",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,

    /// Messages (storm: connections) a second in all
    #[arg(long, global = true, value_name = "NUMBER", default_value = "100", value_parser = rate)]
    pub rate: f64,

    /// Seconds of load
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub duration: Duration,

    /// Bytes of text in a message
    #[arg(long, global = true, value_name = "BYTES", default_value = "64",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub size: u32,

    /// The server's process: what it costs is told, too
    #[arg(long, global = true)]
    pub pid: Option<u32>,

    /// Write the report here as JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Threads of this tool
    #[arg(long, global = true, value_name = "NUMBER", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,

    /// Addresses 127.0.0.1, 127.0.0.2 and so on to connect from; one has about 28,000 ports
    #[arg(long, global = true, value_name = "NUMBER", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=65_000))]
    pub sources: u32,

    /// Seconds that the last deliveries may take after the load has ended
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub patience: Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// One room: a few write, all read
    Fanout(Fanout),
    /// Many small rooms, one writer in each
    Rooms(Rooms),
    /// Like fanout, with ten times the rate in the middle third
    Spike(Fanout),
    /// New connections at a rate, from many addresses; each stays until the end
    Storm,
    /// Like fanout, while others read the room's history, now and then: do the deliveries wait for them?
    Pages(Pages),
    /// One room whose readers lose their connections again and again, and must find their streams whole
    Resume(Resume),
    /// One room some of whose readers stop to read, while the others are measured
    Slow(Slow),
    /// Connections that say nothing: memory of each
    Idle,
    /// Round trips on each connection, one after another from each one's view
    Echo(Echo),
}

/// See [`Scenario::Fanout`].
#[derive(Args, Clone, Debug)]
pub struct Fanout {
    /// Connections that write
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub senders: u32,
}

/// See [`Scenario::Rooms`].
#[derive(Args, Clone, Debug)]
pub struct Rooms {
    /// Connections in each room
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub members: u32,
    /// Each writer sends its next message as soon as its last is acknowledged, whatever the rate
    #[arg(long)]
    pub closed: bool,
}

/// See [`Scenario::Pages`].
#[derive(Args, Clone, Debug)]
pub struct Pages {
    /// Connections that write
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub senders: u32,
    /// Connections that read the history, a page as soon as the last has come
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pagers: u32,
    /// Messages that the room has before the load begins
    #[arg(long, value_name = "NUMBER", default_value = "5000",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub history: u32,
    /// How often both are measured, by turns: deliveries without pages, and with
    #[arg(long, value_name = "NUMBER", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub turns: u32,
}

/// See [`Scenario::Resume`].
#[derive(Args, Clone, Debug)]
pub struct Resume {
    /// Seconds between two cuts of a connection, on average
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub every: Duration,
}

/// See [`Scenario::Slow`].
#[derive(Args, Clone, Debug)]
pub struct Slow {
    /// The share of the readers that is slow
    #[arg(long, default_value = "0.2", value_parser = share)]
    pub share: f64,
    /// How slow
    #[arg(long, value_enum, default_value = "stop")]
    pub pace: Pace,
}

/// How slow a slow reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// Reads nothing until the load has ended, then everything
    Stop,
    /// Reads one byte a second
    Trickle,
}

/// See [`Scenario::Echo`].
#[derive(Args, Clone, Debug)]
pub struct Echo {
    /// What comes back
    #[arg(long, value_enum, default_value = "ping")]
    pub what: What,
}

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// A `pong` for each `ping` command, from any chat server
    Ping,
    /// The text as it was sent, from a server started with --echo
    Text,
}

impl Common {
    /// Refuses a server elsewhere.
    ///
    /// # Errors
    ///
    /// If the address cannot be used, or may not.
    pub fn check(&self) -> Result<()> {
        let rest =
            self.url.strip_prefix("ws://").context("--url: an address is like ws://127.0.0.1:8080/ws")?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let with_port = if authority.rsplit(']').next().is_some_and(|rest| rest.contains(':')) {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let addresses: Vec<SocketAddr> =
            with_port.to_socket_addrs().with_context(|| format!("--url: {authority}"))?.collect();
        ensure!(
            self.allow_remote || addresses.iter().all(|address| address.ip().is_loopback()),
            "--url: {authority} is not this machine; --allow-remote if its owner agrees"
        );
        Ok(())
    }

    /// The address that connection `n` comes from.
    pub(crate) fn source(&self, n: usize) -> Option<IpAddr> {
        let [a, b, ..] = (u32::try_from(n).unwrap_or(0) % self.sources + 1).to_le_bytes();
        (self.sources > 1).then_some(IpAddr::V4(Ipv4Addr::new(127, 0, b, a)))
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections as usize
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().ok().filter(|rate| (0.001..=10_000_000.0).contains(rate));
    rate.ok_or("a rate is a number from 0.001 to 10000000")
}

fn share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok().filter(|share| (0.0..=0.9).contains(share));
    share.ok_or("a share is a number from 0 to 0.9")
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=1_000_000.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("a time is a number of seconds from 0.1 to 1000000")
}
