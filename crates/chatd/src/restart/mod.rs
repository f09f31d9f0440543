//! Restarts that refuse no connection: the listening socket outlives the process.
//!
//! systemd holds the socket, or the old process hands it over to the new one. Connections that come while no process
//! accepts wait in the socket.

mod handover;
mod notify;
mod store;

use std::env;
use std::io;
use std::net;
use std::path::PathBuf;

use clap::Args;
use listenfd::ListenFd;
use tokio::net::TcpListener;
use tracing::info;

pub(crate) use handover::Handover;
pub(crate) use notify::{State, notify, watchdog};
pub(crate) use store::wait_for_store;

#[derive(Debug, Args)]
pub(crate) struct RestartOptions {
    /// Take the listening socket over from the server that runs with the same FILE, a Unix socket, and give it to the
    /// next one that starts with it; then a restart refuses no connection
    #[arg(long, env = "CHATD_HANDOVER", value_name = "FILE")]
    handover: Option<PathBuf>,
}

/// The origin of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A socket that this process has made, and that ends with it.
    Own,
    /// The socket of systemd, which keeps it.
    Systemd,
    /// The socket of the previous process.
    Handover,
}

/// Returns the socket that systemd has passed to this process, if any. It must be called before other threads run,
/// because it removes variables of the environment.
///
/// # Errors
///
/// Several sockets, or a socket that is no TCP socket.
pub(crate) fn inherited() -> io::Result<Option<net::TcpListener>> {
    let mut passed = ListenFd::from_env();
    if passed.len() > 1 {
        return Err(io::Error::other("systemd has passed more than one socket; one is needed"));
    }
    passed.take_tcp_listener(0)
}

impl RestartOptions {
    /// Returns true if this process may run beside the previous one for a while.
    pub(crate) fn overlaps(&self) -> bool {
        self.handover.is_some()
    }

    /// Returns the listening socket of this process and its origin. `bind` makes one if there is none.
    pub(crate) async fn listen(
        &self,
        inherited: Option<net::TcpListener>,
        bind: impl Future<Output = io::Result<TcpListener>>,
    ) -> io::Result<(TcpListener, Origin)> {
        let (listener, origin) = match (inherited, &self.handover) {
            (Some(listener), _) => (listener, Origin::Systemd),
            (None, Some(file)) => match handover::take(file)? {
                Some(listener) => (listener, Origin::Handover),
                None => return Ok((bind.await?, Origin::Own)),
            },
            (None, None) => return Ok((bind.await?, Origin::Own)),
        };
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let from = if origin == Origin::Systemd { "systemd" } else { "the previous server" };
        info!(address = %listener.local_addr()?, from, "listening socket received; --listen has no effect");
        Ok((listener, origin))
    }

    /// Opens the file through which the next process gets the socket.
    pub(crate) fn offer(&self, listener: &TcpListener) -> io::Result<Handover> {
        match &self.handover {
            Some(file) => Handover::offer(file, listener),
            None => Ok(Handover::none()),
        }
    }
}

/// Returns the value of a variable, if it is not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
