//! The admin listener: metrics, health, and calls of an operator. It is the same for all adapters.

mod calls;
mod input;
mod listener;
mod moderation;
mod reply;
mod router;
mod token;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use chat_auth::Tickets;
use chat_core::{Endpoint, LogThrottle};
use clap::Args;
use tokio::net::{TcpSocket, lookup_host};
use tokio::sync::Notify;
use tracing::{error, info};

use crate::log_filter::LogFilter;
use crate::metrics_recorder::Metrics;
use token::Token;

/// Connections of the admin listener at the same time. Further ones wait in the queue of the kernel.
pub(crate) const MAX_CONNECTIONS: usize = 16;

/// Connections of the admin listener that the kernel holds until they are accepted.
const BACKLOG: u32 = 128;

#[derive(Debug, Args)]
pub(crate) struct AdminOptions {
    /// Serve metrics and calls of an operator over HTTP on this address and port, like 127.0.0.1:9090; needs
    /// --admin-token [default: off]
    #[arg(long, env = "CHATD_ADMIN", value_name = "ADDR")]
    admin: Option<String>,

    /// Read the bearer token of the admin listener from this file: one line of 16 to 1024 visible ASCII characters
    #[arg(long, env = "CHATD_ADMIN_TOKEN", value_name = "FILE")]
    admin_token: Option<PathBuf>,
}

/// A socket that does not listen yet, and the token of its callers. So the kernel gives it no connection while the
/// previous server still serves them.
#[derive(Debug)]
pub(crate) struct Opened {
    socket: TcpSocket,
    token: Token,
}

/// The parts of the server that the calls use.
struct Admin {
    token: Token,
    endpoint: Endpoint,
    metrics: Metrics,
    controls: Controls,
    refusals: LogThrottle,
}

/// The parts of the process that calls change.
pub(crate) struct Controls {
    pub(crate) filter: LogFilter,
    /// Notified by a call that wants the server to drain.
    pub(crate) drain: Arc<Notify>,
    /// `None` without `--tickets`.
    pub(crate) tickets: Option<Tickets>,
}

impl AdminOptions {
    /// Reads the token and opens the listener. `None` without `--admin`. With `is_shared`, the previous server and the
    /// next one can have the same address. The error is one line for standard error.
    pub(crate) async fn open(&self, is_shared: bool) -> Result<Option<Opened>, String> {
        let (Some(address), Some(file)) = (&self.admin, &self.admin_token) else { return Ok(None) };
        let token = Token::read(file)?;
        let socket = bind(address, is_shared).await;
        let socket = socket.map_err(|error| format!("--admin: cannot listen on {address}: {error}"))?;
        Ok(Some(Opened { socket, token }))
    }

    /// Returns true if there is a listener.
    pub(crate) fn is_on(&self) -> bool {
        self.admin.is_some()
    }

    /// Returns the error of an option without the other.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let is_incomplete = self.admin.is_some() && self.admin_token.is_none();
        is_incomplete.then_some("--admin: name the file of the bearer token with --admin-token")
    }

    /// Returns the mistake in the file of the token, with the id of its option.
    pub(crate) fn mistake_in_file(&self) -> Option<(&'static [&'static str], String)> {
        let problem = Token::read(self.admin_token.as_deref()?).err()?;
        Some((&["admin_token"], problem))
    }
}

async fn bind(address: &str, is_shared: bool) -> io::Result<TcpSocket> {
    let mut problem = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(is_shared)?;
        match socket.bind(address) {
            Ok(()) => return Ok(socket),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

impl Opened {
    /// Starts to serve, until the process ends.
    pub(crate) fn start(self, endpoint: Endpoint, metrics: Metrics, controls: Controls) {
        let Self { socket, token } = self;
        let listener = match socket.listen(BACKLOG) {
            Ok(listener) => listener,
            Err(error) => return error!(%error, "admin listener cannot listen"),
        };
        if let Ok(address) = listener.local_addr() {
            info!(%address, "admin listening");
        }
        let refusals = LogThrottle::default();
        let admin = Arc::new(Admin { token, endpoint, metrics, controls, refusals });
        drop(tokio::spawn(listener::serve(listener, admin)));
    }
}
