use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_core::{
    HostPolicy, InvalidOrigin, Network, OriginPattern, RoomName, TrustedProxies, UpgradeMode, host_name,
};
use chat_sqlite::Options;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Parser, Subcommand, ValueEnum, value_parser};
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::admin::AdminOptions;
use crate::cluster::ClusterOptions;
use crate::directives::{Directives, log_level};
use crate::limit_options::LimitOptions;
use crate::otlp::OtlpOptions;
use crate::restart::RestartOptions;
use crate::retain::Retain;
use crate::size::disk_bytes;
use crate::tls::TlsOptions;
use crate::token::TokenOptions;
use crate::users::UserOptions;

/// Connections that the kernel holds while the accept loop is busy.
const BACKLOG: u32 = 4096;

/// The directory of the rooms without `--data` and `--cluster`.
const DEFAULT_DATA: &str = "./chat-data";

/// The value of `--data` for rooms in memory.
const MEMORY: &str = ":memory:";

/// Serve a chat over WebSocket: rooms with history, subprotocol chat.v1.
///
/// Connect to /ws with any WebSocket client and send {"type":"join","ref":"1","room":"lobby","last":20}. Rooms are
/// stored in ./chat-data, and an acknowledged message is on the disk. Each client is a guest, unless an option names
/// the credentials of users. Each option can also be set by the environment variable that is named with it; an empty
/// one counts as not set. The server refuses to start with an unknown CHATD_ variable. A file can set options, too:
/// see --config.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    subcommand_value_name = "TASK",
    subcommand_help_heading = "Tasks, instead of serving"
)]
pub(crate) struct Config {
    /// The task to run instead of serving.
    #[command(subcommand)]
    pub(crate) task: Option<Task>,

    /// Read options from this TOML file, in which max-connections = 100 means --max-connections 100; flags and
    /// variables override it
    #[arg(long, env = "CHATD_CONFIG", value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// Listen on this address and port, like 0.0.0.0:8080; port 0 takes a free port and prints it
    #[arg(long, env = "CHATD_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080",
          value_parser = listen)]
    pub(crate) listen: String,

    /// Store rooms in this directory, which is created if its parent exists; :memory: stores nothing [default:
    /// ./chat-data]
    #[arg(long, env = "CHATD_DATA", value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,

    /// Set the failures that an acknowledged message survives; with --cluster, it says what the servers of NATS do
    /// [default: disk, or none with --cluster]
    #[arg(long, env = "CHATD_DURABILITY", value_name = "LEVEL")]
    pub(crate) durability: Option<Durability>,

    /// Delete messages that are older than an age (30d, 12h, 90m, 45s), or that exceed a number in a room
    /// (100000msgs); repeatable, in the variable separated by commas [default: keep all]
    #[arg(long, env = "CHATD_RETAIN", value_name = "LIMIT", action = ArgAction::Append, value_delimiter = ',')]
    pub(crate) retain: Vec<Retain>,

    /// Refuse messages above this number of bytes of data (500M, 20G, at least 32M), but still serve history
    /// [default: no limit]
    #[arg(long, env = "CHATD_MAX_DISK", value_name = "BYTES", value_parser = disk_bytes)]
    pub(crate) max_disk: Option<u64>,

    /// Set how a connection becomes a WebSocket
    #[arg(long, env = "CHATD_UPGRADE", value_name = "MODE", default_value = "hijack")]
    upgrade: Upgrade,

    /// Set the level of log lines (error, warn, info, debug, trace, off), or directives like info,chat_core=debug
    /// [default: info]
    #[arg(long, env = "RUST_LOG", value_name = "LEVEL", value_parser = log_level)]
    log_level: Option<Directives>,

    /// Set the format of log lines on standard error
    #[arg(long, env = "CHATD_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// Admit web pages of this origin, like https://chat.example, besides the server's own origin;
    /// https://*.example.com admits its subdomains of one level, * admits all; repeatable, in the variable separated by
    /// commas
    #[arg(long, env = "CHATD_ALLOW_ORIGIN", value_name = "ORIGIN", action = ArgAction::Append,
          value_delimiter = ',', value_parser = origin)]
    pub(crate) allow_origin: Vec<String>,

    /// Answer requests for this host name, besides IP addresses and localhost, on a loopback address; other
    /// addresses answer for every host; repeatable, in the variable separated by commas
    #[arg(long, env = "CHATD_ALLOW_HOST", value_name = "NAME", action = ArgAction::Append,
          value_delimiter = ',', value_parser = host)]
    allow_host: Vec<String>,

    /// Answer 503 to further connections beyond this number, which the hard limit of file descriptors can lower
    /// [default: 100000]
    #[arg(long, env = "CHATD_MAX_CONNECTIONS", value_name = "NUMBER",
          value_parser = value_parser!(u32).range(1..=10_000_000))]
    max_connections: Option<u32>,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,

    #[command(flatten)]
    pub(crate) users: UserOptions,

    #[command(flatten)]
    pub(crate) admin: AdminOptions,

    #[command(flatten)]
    pub(crate) otlp: OtlpOptions,

    /// Trust proxies in this network (10.0.0.0/8, ::1) to report the address of a client in X-Forwarded-For or
    /// Forwarded; repeatable, separated by commas
    #[arg(long, env = "CHATD_TRUST_PROXY", value_name = "NETWORK", action = ArgAction::Append, value_delimiter = ',')]
    trust_proxy: Vec<Network>,

    /// Read the address of a client from the PROXY header, version 1 or 2, with which each connection of a trusted
    /// proxy begins; needs --trust-proxy
    #[arg(long, env = "CHATD_PROXY_PROTOCOL", value_parser = BoolishValueParser::new())]
    pub(crate) proxy_protocol: bool,

    #[command(flatten)]
    pub(crate) tls: TlsOptions,

    #[command(flatten)]
    pub(crate) restart: RestartOptions,

    /// Give sessions this number of seconds, like 30, to end after SIGTERM or SIGINT; a second one ends them at
    /// once
    #[arg(long, env = "CHATD_DRAIN_TIMEOUT", value_name = "SECONDS", default_value = "10",
          value_parser = value_parser!(u32).range(1..=3_600))]
    drain_timeout: u32,

    /// Serve an echo instead of the chat, to test or measure the WebSocket layer
    #[arg(long, env = "CHATD_ECHO", value_parser = BoolishValueParser::new())]
    pub(crate) echo: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Upgrade {
    /// Take the socket over from the web framework.
    Hijack,
    /// Use the web framework's own WebSocket.
    #[value(alias = "context")]
    Framework,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// Survives a crash of the machine: the message is on the disk.
    Disk,
    /// Survives a crash of one machine of a cluster: the message is in the memory of most servers of NATS.
    Replicated,
    /// Survives a crash of the server, including kill -9; many times faster on slow disks.
    Process,
}

/// A task instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    #[command(flatten)]
    Store(StoreTask),
    /// Print a token for development, or make a secret that signs tokens
    Token(TokenOptions),
    /// Ask the server with the same options whether it is ready; exit code 0 if it is, 1 if not
    Health,
    /// Check or print the configuration
    #[command(subcommand_required = true, arg_required_else_help = false)]
    Config {
        /// The part to do
        #[command(subcommand)]
        task: ConfigTask,
    },
}

/// A task on stored rooms. `export`, `rooms` and `check` may run while a server serves them.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreTask {
    /// Write the whole chat to standard output, or the messages of a room, oldest first; one JSON object per line
    Export {
        /// Name of the room whose messages are written; without it, everything that `import` needs
        room: Option<RoomName>,
    },
    /// Make the data from an export of a whole chat, in a new directory, or in the stream of a new cluster, while no
    /// server uses it
    Import {
        /// File of the export, or - for standard input
        file: PathBuf,
    },
    /// Write the names of all stored rooms to standard output, one on each line
    Rooms,
    /// Verify everything that is stored; exit code 0 if it is sound, 1 if not, 2 if it cannot be read
    Check,
    /// Make the files smaller after messages have expired, while no server uses them
    Compact,
}

/// A task on the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigTask {
    /// Verify the options, the file of --config, and the key files; exit code 0 if they are right, 2 if not
    Check,
    /// Print the value of each option, and its source, as a configuration file
    Print,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Returns the errors of options that exclude each other, each with the ids of those options.
    pub(crate) fn contradictions(&self) -> Vec<(&'static [&'static str], String)> {
        let mut found: Vec<(&'static [&'static str], String)> = self.users.contradictions();
        let mut add = |options: &'static [&'static str], text: &str| found.push((options, text.to_owned()));
        let ages = self.retain.iter().filter(|retain| matches!(retain, Retain::Age(_))).count();
        if ages > 1 || self.retain.len() - ages > 1 {
            add(&["retain"], "--retain: give at most one age and one number of messages");
        }
        if self.proxy_protocol && self.trust_proxy.is_empty() {
            add(&["proxy_protocol"], "--proxy-protocol: name the proxies with --trust-proxy");
        }
        if let Some(text) = self.tls.contradiction() {
            add(&["tls_cert", "tls_key"], text);
        }
        if let Some(text) = self.admin.contradiction() {
            add(&["admin"], text);
        }
        if self.users.tickets && !self.admin.is_on() {
            add(
                &["tickets"],
                "--tickets: a call of the admin listener issues tickets; set --admin and --admin-token",
            );
        }
        let is_stored = self.durability.is_some() || !self.retain.is_empty() || self.max_disk.is_some();
        let is_in_memory = self.data().is_none() && !self.cluster.is_on();
        if is_in_memory && matches!(self.task, Some(Task::Store(_))) {
            add(&["data"], "--data: a task needs a directory, not :memory:");
        } else if is_in_memory && is_stored {
            let text = "--data: --durability, --retain and --max-disk need a directory, not :memory:";
            add(&["data", "durability", "retain", "max_disk"], text);
        }
        // A name is looked up later.
        let is_about_serving = matches!(self.task, None | Some(Task::Config { .. }));
        let address = self.listen.parse().ok().filter(|_| is_about_serving);
        if let Some(text) = address.and_then(|address| self.exposure(address)) {
            add(&["listen"], &text);
        }
        found.extend(self.cluster.contradictions(self));
        found
    }

    /// Returns the mistakes in the files of keys, each with the ids of its options. It loads nothing from a URL.
    pub(crate) fn mistakes_in_files(&self) -> Vec<(&'static [&'static str], String)> {
        let mut found = self.users.mistakes_in_files();
        found.extend(self.tls.mistakes_in_files());
        found.extend(self.admin.mistake_in_file());
        found.extend(self.cluster.mistakes_in_files());
        found
    }

    /// Returns an error if everyone who can reach this address could use the chat, and the operator has not said so.
    pub(crate) fn exposure(&self, address: SocketAddr) -> Option<String> {
        if address.ip().to_canonical().is_loopback() || self.users.are_known() || self.users.guests {
            return None;
        }
        Some(format!(
            "--listen: everyone who can reach {address} could use the chat: require tokens (--token-secret, \
             --token-public-key or --token-jwks), or admit guests with --guests"
        ))
    }

    pub(crate) async fn bind(&self) -> io::Result<TcpListener> {
        let mut problem = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host(&self.listen).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
                Ok(listener) => return Ok(listener),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    /// Returns the hosts for which the server answers. A web page can point a name of its own at a loopback address, so
    /// there the names must be known.
    pub(crate) fn hosts(&self, listener: &TcpListener) -> HostPolicy {
        let is_loopback =
            listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
        if is_loopback { HostPolicy::LocalOr(self.allow_host.clone()) } else { HostPolicy::Any }
    }

    pub(crate) fn log_level(&self) -> Directives {
        self.log_level.clone().unwrap_or_default()
    }

    pub(crate) fn upgrade_mode(&self) -> UpgradeMode {
        self.upgrade.mode()
    }

    /// Returns the directory of the rooms; `None` for rooms in memory or in a cluster.
    pub(crate) fn data(&self) -> Option<&Path> {
        let data = self.data.as_deref().unwrap_or(Path::new(DEFAULT_DATA));
        (data.as_os_str() != MEMORY && !self.cluster.is_on()).then_some(data)
    }

    /// Returns the options of the store.
    pub(crate) fn options(&self) -> Options {
        let durability = match self.durability.unwrap_or(Durability::Disk) {
            Durability::Disk | Durability::Replicated => chat_sqlite::Durability::Disk,
            Durability::Process => chat_sqlite::Durability::Process,
        };
        let options = Options::default().with(|options| {
            options.durability = durability;
            options.max_disk_bytes = self.max_disk;
        });
        Retain::apply(&self.retain, options)
    }

    pub(crate) fn max_connections(&self) -> Option<usize> {
        self.max_connections.map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    pub(crate) fn trusted_proxies(&self) -> TrustedProxies {
        TrustedProxies::new(self.trust_proxy.iter().copied())
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout.into())
    }
}

impl Durability {
    /// Returns the value of the option.
    #[cfg(feature = "cluster")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Replicated => "replicated",
            Self::Process => "process",
        }
    }
}

impl Upgrade {
    pub(crate) fn mode(self) -> UpgradeMode {
        match self {
            Self::Hijack => UpgradeMode::Hijack,
            Self::Framework => UpgradeMode::Framework,
        }
    }
}

/// Parses an origin, and returns it as browsers send it.
fn origin(text: &str) -> Result<String, InvalidOrigin> {
    Ok(text.parse::<OriginPattern>()?.to_string())
}

/// Parses an address and a port. The address may be a name, which is looked up later.
fn listen(text: &str) -> Result<String, &'static str> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("give an address and a port, like 127.0.0.1:8080, or 0.0.0.0:8080 for all addresses"),
    }
}

/// Parses a host name, without a port.
fn host(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    match host_name(text) {
        Some(name) if name == text => Ok(text.to_owned()),
        _ => Err("a host is a name like chat.example, without a scheme and a port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_host_or_a_port_is_refused() {
        for text in ["127.0.0.1:8080", "[::1]:0", "localhost:80"] {
            assert_eq!(listen(text).as_deref(), Ok(text));
        }
        for text in [":8080", "8080", "127.0.0.1", "localhost:http", "[::1]:70000"] {
            assert!(listen(text).is_err_and(|error| error.contains("127.0.0.1:8080")), "{text}");
        }
    }

    #[tokio::test]
    async fn only_a_loopback_address_has_a_list_of_hosts() {
        let local = HostPolicy::LocalOr(vec!["chat.test".to_owned()]);
        for (address, hosts) in [
            ("127.0.0.1:0", &local),
            ("[::1]:0", &local),
            ("0.0.0.0:0", &HostPolicy::Any),
            ("[::]:0", &HostPolicy::Any),
        ] {
            let config = Config::parse_from(["chatd", "--listen", address, "--allow-host", "chat.test"]);
            let listener = config.bind().await.expect("a free port");
            assert_eq!(config.hosts(&listener), *hosts, "{address}");
        }
    }
}
