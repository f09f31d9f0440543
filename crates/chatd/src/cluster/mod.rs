//! A cluster: several servers that share the rooms of one chat over servers of NATS. It is behind the feature
//! `cluster`, because it needs 56 more crates.

#[cfg(feature = "cluster")]
mod credentials;
#[cfg(not(feature = "cluster"))]
mod disabled;
#[cfg(feature = "cluster")]
mod joined;
mod parse;
#[cfg(feature = "cluster")]
mod tasks;

use std::path::PathBuf;

use chat_core::NodeId;
use clap::{ArgAction, Args};

use crate::config::{Config, Durability, StoreTask, Task};
use crate::size::memory_bytes;
use crate::storage::OpenError;
use parse::{address, name, node_of, replicas, streams};

#[cfg(not(feature = "cluster"))]
pub(crate) use disabled::{Cluster, ClusterTasks};
#[cfg(feature = "cluster")]
pub(crate) use joined::Cluster;
#[cfg(feature = "cluster")]
pub(crate) use tasks::ClusterTasks;

/// The copies of a stream that is created, without `--replicas`.
const DEFAULT_REPLICAS: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct ClusterOptions {
    /// Share rooms with other servers over these servers of NATS, instead of --data: nats://n1:4222, or tls://n1:4222;
    /// repeatable, in the variable separated by commas; needs --durability, and a binary that was built with --features
    /// cluster
    #[arg(long, env = "CHATD_CLUSTER", value_name = "URL", action = ArgAction::Append, value_delimiter = ',',
          value_parser = address, global = true)]
    cluster: Vec<String>,

    /// Set the name of the stream with the rooms of the cluster; each chat has its own [default: chat]
    #[arg(long, env = "CHATD_CLUSTER_NAME", value_name = "NAME", value_parser = name, global = true)]
    cluster_name: Option<String>,

    /// Distribute the rooms over this number of streams, 1 to 64; the same on all servers of the chat, and it cannot
    /// change [default: 1]
    #[arg(long, env = "CHATD_CLUSTER_STREAMS", value_name = "NUMBER", value_parser = streams, global = true)]
    cluster_streams: Option<usize>,

    /// Identify to the servers of NATS with this file: one line is a token, two lines are a user and a password
    #[arg(long, env = "CHATD_CLUSTER_CREDENTIALS", value_name = "FILE", global = true)]
    cluster_credentials: Option<PathBuf>,

    /// Trust the certificates in this PEM file for tls:// addresses [default: those of the operating system]
    #[arg(long, env = "CHATD_CLUSTER_CA", value_name = "FILE", global = true)]
    cluster_ca: Option<PathBuf>,

    /// Remember the ends of the streams in this directory, so that a loss of messages is noticed after a restart; each
    /// server has its own [default: none]
    #[arg(long, env = "CHATD_CLUSTER_STATE", value_name = "DIR")]
    cluster_state: Option<PathBuf>,

    /// Keep a search index of all rooms of the cluster in this directory, for all servers; each server has its own
    /// [default: none; without one, a search looks at the newest 20,000 messages]
    #[arg(long, env = "CHATD_SEARCH_INDEX", value_name = "DIR")]
    search_index: Option<PathBuf>,

    /// Set the name of this server in the cluster: 1 to 12 letters, digits and - [default: the end of the host name]
    #[arg(long, env = "CHATD_NODE", value_name = "NAME")]
    node: Option<NodeId>,

    /// Create the stream with this number of copies, 1, 3 or 5, each on another server of NATS [default: 3]
    #[arg(long, env = "CHATD_REPLICAS", value_name = "NUMBER", value_parser = replicas, global = true)]
    replicas: Option<usize>,

    /// Use at most this much memory for the idempotency keys of the rooms of a cluster (64M, 1G); 0 is no limit
    /// [default: 256M]
    #[arg(long, env = "CHATD_CLUSTER_KEY_MEMORY", value_name = "BYTES", value_parser = memory_bytes)]
    cluster_key_memory: Option<usize>,
}

impl ClusterOptions {
    /// Returns true if the server is one of a cluster.
    pub(crate) fn is_on(&self) -> bool {
        !self.cluster.is_empty()
    }

    /// Returns the errors of options that exclude each other, each with the ids of those options.
    pub(crate) fn contradictions(&self, config: &Config) -> Vec<(&'static [&'static str], String)> {
        let mut found: Vec<(&'static [&'static str], String)> = Vec::new();
        let mut add = |options: &'static [&'static str], text: &str| found.push((options, text.to_owned()));
        if !self.is_on() {
            let is_named = self.cluster_name.is_some() || self.node.is_some() || self.replicas.is_some();
            let has_files = self.cluster_credentials.is_some()
                || self.cluster_ca.is_some()
                || self.cluster_state.is_some();
            let is_sized = self.cluster_streams.is_some() || self.cluster_key_memory.is_some();
            if self.search_index.is_some() {
                add(&["search_index"], "--search-index: it is for --cluster; --data has an index of its own");
            }
            if is_named || has_files || is_sized {
                let text = "--cluster: name the servers of NATS; --cluster-name, --cluster-streams, \
                            --cluster-credentials, --cluster-ca, --cluster-state, --cluster-key-memory, --node and \
                            --replicas need it";
                let options = &[
                    "cluster_name",
                    "cluster_streams",
                    "cluster_credentials",
                    "cluster_ca",
                    "cluster_state",
                    "cluster_key_memory",
                    "node",
                    "replicas",
                ];
                add(options, text);
            }
            if config.durability == Some(Durability::Replicated) {
                add(&["durability"], "--durability: replicated is for a cluster: see --cluster");
            }
            return found;
        }
        if config.data.is_some() {
            add(
                &["data", "cluster"],
                "--data and --cluster: set one of them; an empty CHATD_DATA counts as not set",
            );
        }
        if matches!(config.task, Some(Task::Store(StoreTask::Compact))) {
            add(&["cluster"], "--cluster: compact is for the directory of --data; NATS frees space itself");
        }
        if config.max_disk.is_some() {
            add(
                &["max_disk"],
                "--max-disk: it is for --data; limit the data of a cluster in NATS (max_file_store)",
            );
        }
        match (config.durability, self.replicas()) {
            (None, _) if matches!(config.task, Some(Task::Store(_))) => {}
            (None, _) => add(
                &["cluster"],
                "--durability: say if each server of NATS has sync_interval: always (disk) or not (replicated, or \
                 process with one copy), because NATS does not tell",
            ),
            (Some(Durability::Replicated), 1) => {
                add(&["durability", "replicas"], "--durability: replicated needs more than one copy");
            }
            (Some(Durability::Process), 2..) => {
                add(
                    &["durability", "replicas"],
                    "--durability: process is for --replicas 1; otherwise replicated",
                );
            }
            _ => {}
        }
        if self.cluster.iter().any(|address| address.contains('@')) {
            let text = "--cluster: put the user and the password into a file, and name it with --cluster-credentials";
            add(&["cluster"], text);
        }
        let with_tls = self.cluster.iter().filter(|address| is_tls(address)).count();
        if with_tls != 0 && with_tls != self.cluster.len() {
            add(&["cluster"], "--cluster: begin all addresses with tls://, or none");
        }
        if self.cluster_ca.is_some() && with_tls == 0 {
            add(&["cluster_ca"], "--cluster-ca: begin the addresses of --cluster with tls://");
        }
        found
    }

    /// Returns the mistakes in the files of the connection, and in the name of the host, each with the ids of its
    /// options.
    pub(crate) fn mistakes_in_files(&self) -> Vec<(&'static [&'static str], String)> {
        if !self.is_on() {
            return Vec::new();
        }
        let mut found: Vec<(&'static [&'static str], String)> = Vec::new();
        let files = &["cluster_credentials", "cluster_ca"][..];
        found.extend(Cluster::check_files(self).err().map(|error| (files, error)));
        found.extend(self.node().err().map(|error| (&["node"][..], error)));
        found
    }

    /// Joins the cluster, and logs the state in which it is.
    pub(crate) async fn open(&self, config: &Config) -> Result<Cluster, OpenError> {
        Cluster::join(self, config).await
    }

    /// Returns the tasks on the streams of the cluster, or `None` without one. The error is one line.
    pub(crate) fn tasks(&self) -> Result<Option<ClusterTasks>, String> {
        self.is_on().then(|| ClusterTasks::new(self)).transpose()
    }

    fn replicas(&self) -> usize {
        self.replicas.unwrap_or(DEFAULT_REPLICAS)
    }

    fn node(&self) -> Result<NodeId, String> {
        if let Some(node) = &self.node {
            return Ok(node.clone());
        }
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        node_of(&host).ok_or_else(|| {
            format!("--node: name this server; the host name {host:?} has no letter and digit")
        })
    }
}

fn is_tls(address: &str) -> bool {
    address.starts_with("tls://")
}
