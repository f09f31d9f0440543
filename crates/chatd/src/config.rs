use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use chat_core::Mechanism;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum, value_parser};
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::refuse;

/// Connections that the kernel holds while the accept loop is busy.
const BACKLOG: u32 = 4096;

/// A chat server: rooms with history, over WebSocket (subprotocol chat.v1).
///
/// Open the page whose address it prints or, with any WebSocket client, connect to /ws and send
/// {"type":"join","ref":"1","room":"lobby","last":20}. Everybody is a guest: there is no authentication. Every
/// option is also read from the environment variable named with it; other CHATD_ variables are refused.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Config {
    /// Address and port to listen on; port 0 takes a free one and prints it
    #[arg(long, env = "CHATD_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,

    /// How connections are had: hijack takes the socket over, context leaves it to the web framework
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
    Hijack,
    Context,
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
        let parsed = Self::command().name(name).try_get_matches().and_then(|m| Self::from_arg_matches(&m));
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
        if !mechanisms.contains(&config.mechanism()) {
            return Err(refuse(&format!(
                "--upgrade: {name} has no framework whose context it could use, only hijack"
            )));
        }
        Ok(config)
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
        match self.upgrade {
            Upgrade::Hijack => Mechanism::Hijack,
            Upgrade::Context => Mechanism::Context,
        }
    }

    pub(crate) fn max_connections(&self) -> usize {
        usize::try_from(self.max_connections).unwrap_or(usize::MAX)
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout.into())
    }
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
