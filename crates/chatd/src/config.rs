use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chat_core::{Mechanism, RoomName};
use chat_sqlite::Options;
use clap::builder::{BoolishValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, value_parser};
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::refuse;
use crate::retain::Retain;

/// Connections that the kernel holds while the accept loop is busy.
const BACKLOG: u32 = 4096;

/// What `--data` is given if nothing is to be kept.
const MEMORY: &str = ":memory:";

/// A chat server: rooms with history, over WebSocket (subprotocol chat.v1).
///
/// Open the page whose address it prints or, with any WebSocket client, connect to /ws and send
/// {"type":"join","ref":"1","room":"lobby","last":20}. Everything is kept in ./chat-data, and what is acknowledged is
/// on the disk. Everybody is a guest: there is no authentication. Every option is also read from the environment
/// variable named with it; other CHATD_ variables are refused.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    subcommand_value_name = "TASK",
    subcommand_help_heading = "Tasks, in place of serving"
)]
pub(crate) struct Config {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub(crate) task: Option<Task>,

    /// Address and port to listen on; port 0 takes a free one and prints it
    #[arg(long, env = "CHATD_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,

    /// Directory that keeps the rooms, made in one that is there; :memory: for rooms that end with the server
    #[arg(long, env = "CHATD_DATA", value_name = "DIR", default_value = "./chat-data", global = true)]
    data: PathBuf,

    /// What an acknowledged message survives; if not said, disk
    #[arg(long, env = "CHATD_DURABILITY", value_name = "LEVEL")]
    durability: Option<Durability>,

    /// Forget messages of a room that are older than an age (30d, 12h, 90m, 45s) or more than a number
    /// (100000msgs); kept are all if neither is said. May be repeated (in the variable: separated by commas)
    #[arg(long, env = "CHATD_RETAIN", value_name = "LIMIT", action = ArgAction::Append, value_delimiter = ',')]
    retain: Vec<Retain>,

    /// How connections are had
    #[arg(long, env = "CHATD_UPGRADE", value_name = "MECHANISM", default_value = "hijack")]
    upgrade: Upgrade,

    /// How log lines on standard error look
    #[arg(long, env = "CHATD_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// Let web pages of this origin connect, like https://chat.example, besides those of the server's own; *
    /// for all. May be repeated (in the variable: separated by commas)
    #[arg(long, env = "CHATD_ALLOW_ORIGIN", value_name = "ORIGIN", action = ArgAction::Append,
          value_delimiter = ',', value_parser = origin)]
    pub(crate) allow_origin: Vec<String>,

    /// Answer 503 to connections beyond this many
    #[arg(long, env = "CHATD_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "100000",
          value_parser = value_parser!(u32).range(1..=10_000_000))]
    max_connections: u32,

    /// Seconds that sessions have to end after SIGTERM or SIGINT; a second signal ends at once
    #[arg(long, env = "CHATD_DRAIN_TIMEOUT", value_name = "SECONDS", default_value = "10",
          value_parser = value_parser!(u32).range(1..=3_600))]
    drain_timeout: u32,

    /// Serve an echo in the chat's place, to examine or measure the server
    #[arg(long, env = "CHATD_ECHO", value_parser = BoolishValueParser::new())]
    pub(crate) echo: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Upgrade {
    /// The socket is taken over from the web framework.
    Hijack,
    /// The web framework's own WebSocket is used.
    Context,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Durability {
    /// The end of the machine.
    Disk,
    /// The end of the server, kill -9 too; many times faster on slow disks.
    Process,
}

/// What can be done with rooms besides serving them, also while a server does.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Write a room's messages to standard output, oldest first, each as a line of JSON
    Export {
        /// The room's name
        room: RoomName,
    },
    /// Look at everything that is kept; exit code 0 if it is sound, 1 if not, 2 if it cannot be looked at
    Check,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads flags and environment; otherwise the exit code with which to stop, after saying why.
    pub(crate) fn read(name: &'static str, mechanisms: &[Mechanism]) -> Result<Self, ExitCode> {
        let parsed = command(name, mechanisms).try_get_matches().and_then(|m| Self::from_arg_matches(&m));
        let config = parsed.map_err(|error| {
            if error.use_stderr() {
                refuse(&first_paragraph(&error.to_string()))
            } else {
                show(&error.to_string())
            }
        })?;
        if let Some(unknown) = unknown_variable() {
            return Err(refuse(&format!("no option is read from {unknown}")));
        }
        if let Some(problem) = config.contradiction() {
            return Err(refuse(problem));
        }
        Ok(config)
    }

    /// What cannot be had together.
    fn contradiction(&self) -> Option<&'static str> {
        let ages = self.retain.iter().filter(|retain| matches!(retain, Retain::Age(_))).count();
        if ages > 1 || self.retain.len() - ages > 1 {
            return Some("--retain: one age and one number of messages at most");
        }
        if self.data().is_some() {
            return None;
        }
        if self.task.is_some() {
            return Some("--data: nothing is kept in memory that could be looked at");
        }
        (self.durability.is_some() || !self.retain.is_empty())
            .then_some("--data: in memory nothing is kept, so --durability and --retain say nothing")
    }

    pub(crate) async fn bind(&self) -> io::Result<TcpListener> {
        let mut problem = io::Error::new(io::ErrorKind::NotFound, "no such address");
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

    pub(crate) fn mechanism(&self) -> Mechanism {
        self.upgrade.mechanism()
    }

    /// The directory that keeps the rooms; none if nothing does.
    pub(crate) fn data(&self) -> Option<&Path> {
        (self.data.as_os_str() != MEMORY).then_some(&self.data)
    }

    /// How it keeps them.
    pub(crate) fn options(&self) -> Options {
        let durability = match self.durability.unwrap_or(Durability::Disk) {
            Durability::Disk => chat_sqlite::Durability::Disk,
            Durability::Process => chat_sqlite::Durability::Process,
        };
        Retain::apply(&self.retain, Options::default().with(|options| options.durability = durability))
    }

    pub(crate) fn max_connections(&self) -> usize {
        usize::try_from(self.max_connections).unwrap_or(usize::MAX)
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout.into())
    }
}

impl Upgrade {
    fn mechanism(self) -> Mechanism {
        match self {
            Self::Hijack => Mechanism::Hijack,
            Self::Context => Mechanism::Context,
        }
    }
}

/// The command line of a binary that has these mechanisms.
fn command(name: &'static str, mechanisms: &[Mechanism]) -> Command {
    let had: Vec<PossibleValue> = Upgrade::value_variants()
        .iter()
        .filter(|upgrade| mechanisms.contains(&upgrade.mechanism()))
        .filter_map(Upgrade::to_possible_value)
        .collect();
    let upgrade = PossibleValuesParser::new(had).try_map(|value| Upgrade::from_str(&value, false));
    Config::command().name(name).mut_arg("upgrade", |argument| argument.value_parser(upgrade))
}

/// An origin as browsers send it: scheme, host, and the port if it is not the scheme's own.
fn origin(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let is_origin = text.split_once("://").is_some_and(|(scheme, authority)| {
        let scheme_fits =
            !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        scheme_fits && !authority.is_empty() && authority.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
    });
    if is_origin || text == "*" {
        Ok(text.to_owned())
    } else {
        Err("an origin is a scheme and a host, like https://chat.example, without a path")
    }
}

/// A variable that looks like one of ours and is none: a misspelt one would otherwise do nothing, silently.
fn unknown_variable() -> Option<String> {
    let command = Config::command();
    let known: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_env()).collect();
    env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| !known.contains(&name.as_os_str()))
        .map(|name| name.to_string_lossy().escape_debug().to_string())
        .find(|name| name.starts_with("CHATD_") && !is_service_link(name))
}

/// Kubernetes tells every container of a service named `chatd` where that is, in variables that are none of ours.
fn is_service_link(name: &str) -> bool {
    name.starts_with("CHATD_PORT") || name.starts_with("CHATD_SERVICE_")
}

/// What clap says is wrong, without the usage that follows it.
fn first_paragraph(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let lines: Vec<_> = message.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ")
}

fn show(text: &str) -> ExitCode {
    // Nobody may be reading.
    let _unread = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
