//! The nodes of a chat, on servers of NATS. Each node reaches each server over a link that can be cut.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use chat_tests::{Binary, Daemon, lifted};
use tempfile::NamedTempFile;
use tokio::task::block_in_place;

use crate::link::Link;
use crate::servers::{COUNT, Servers};

const BINARIES: [Binary; 2] =
    [Binary { name: "chatd-axum", upgrade: "hijack" }, Binary { name: "chatd-actix", upgrade: "framework" }];

pub(crate) struct Cluster {
    pub(crate) servers: Servers,
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    links: Vec<Link>,
    /// `None` while it does not run.
    daemon: Option<Daemon>,
    clock: Option<Clock>,
}

impl Cluster {
    pub(crate) fn new(servers: Servers) -> Self {
        Self { servers, nodes: Vec::new() }
    }

    /// Adds a node and starts it. Returns its number.
    pub(crate) async fn add_node(&mut self, clock: Option<Clock>) -> Result<usize> {
        let mut links = Vec::new();
        for number in 0..COUNT {
            links.push(Link::start(self.servers.port(number)).await?);
        }
        let number = self.nodes.len();
        self.nodes.push(Node { name: format!("node-{number}"), links, daemon: None, clock });
        self.start_node(number)?;
        Ok(number)
    }

    /// Starts a node that does not run.
    pub(crate) fn start_node(&mut self, number: usize) -> Result<()> {
        let node = &mut self.nodes[number];
        let addresses: Vec<_> = node.links.iter().map(|link| format!("nats://{}", link.address())).collect();
        let (addresses, copies) = (addresses.join(","), COUNT.to_string());
        let cluster = ["--cluster", &addresses, "--node", &node.name, "--replicas", &copies];
        let arguments = [&lifted()[..], &cluster, &["--durability", "disk"]].concat();
        let binary = BINARIES[number % BINARIES.len()];
        let daemon = block_in_place(|| {
            let mut command = binary.command()?;
            if let Some(clock) = &node.clock {
                clock.set(&mut command);
            }
            Daemon::spawn(command, binary, &arguments)
        });
        node.daemon = Some(daemon.with_context(|| format!("{} does not start", node.name))?);
        Ok(())
    }

    /// Kills a node without a warning.
    pub(crate) fn kill_node(&mut self, number: usize) -> Result<()> {
        let daemon = self.nodes[number].daemon.take().context("it does not run")?;
        block_in_place(|| daemon.crash())?;
        Ok(())
    }

    /// Lets nothing pass between a node and the servers.
    pub(crate) fn cut_off_node(&self, number: usize) {
        self.nodes[number].links.iter().for_each(Link::silence);
    }

    /// Ends the partition of a node.
    pub(crate) fn reconnect_node(&self, number: usize) {
        self.nodes[number].links.iter().for_each(Link::open);
    }

    /// Moves the clock of a node.
    pub(crate) fn move_clock(&self, number: usize, seconds: i64) -> Result<()> {
        self.nodes[number].clock.as_ref().context("it has no clock of its own")?.shift(seconds)
    }

    /// Returns the addresses of the nodes, or `None` for one that does not run.
    pub(crate) fn addresses(&self) -> Vec<Option<SocketAddr>> {
        self.nodes.iter().map(|node| node.daemon.as_ref().map(Daemon::address)).collect()
    }
}

/// A clock for one process, which can be moved.
pub(crate) struct Clock {
    /// The library replaces the functions of the system that read the time.
    library: PathBuf,
    offset: NamedTempFile,
}

impl Clock {
    /// Returns a clock with the time of the system.
    ///
    /// # Errors
    ///
    /// Fails if `faketime` is not installed.
    pub(crate) fn new() -> Result<Self> {
        let folders = fs::read_dir("/usr/lib")?.filter_map(Result::ok);
        let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let library = libraries.find(|path| path.exists()).context("faketime is not installed")?;
        let clock = Self { library, offset: NamedTempFile::new()? };
        clock.shift(0)?;
        Ok(clock)
    }

    fn shift(&self, seconds: i64) -> Result<()> {
        Ok(fs::write(self.offset.path(), format!("{seconds:+}\n"))?)
    }

    /// Lets a command run with this clock. Timers keep the time of the system.
    fn set(&self, command: &mut std::process::Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.offset.path())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}
