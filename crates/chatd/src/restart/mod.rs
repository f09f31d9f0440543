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

    /// Returns the listening socket of this process. `bind` makes one if there is none. A previous process serves on
    /// until [`Received::confirm`].
    pub(crate) async fn receive(
        &self,
        inherited: Option<net::TcpListener>,
        bind: impl Future<Output = io::Result<TcpListener>>,
    ) -> Result<Received, String> {
        let failed = |error: io::Error| match &self.handover {
            Some(file) => format!("--handover {}: {error}", file.display()),
            None => error.to_string(),
        };
        let (listener, origin, previous) = match (inherited, &self.handover) {
            (Some(listener), _) => (listener, Origin::Systemd, None),
            (None, Some(file)) => match handover::receive(file).map_err(failed)? {
                Some((listener, previous)) => (listener, Origin::Handover, Some(previous)),
                None => return self.own(bind).await,
            },
            (None, None) => return self.own(bind).await,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let from = if origin == Origin::Systemd { "systemd" } else { "the previous server" };
        info!(%address, from, "listening socket received; --listen has no effect");
        Ok(Received { handover: self.offer(&listener)?, listener, origin, previous })
    }

    async fn own(&self, bind: impl Future<Output = io::Result<TcpListener>>) -> Result<Received, String> {
        let listener = bind.await.map_err(|error| error.to_string())?;
        Ok(Received { handover: self.offer(&listener)?, listener, origin: Origin::Own, previous: None })
    }

    /// Prepares the file through which the next process gets the socket.
    fn offer(&self, listener: &TcpListener) -> Result<Handover, String> {
        let Some(file) = &self.handover else { return Ok(Handover::none()) };
        Handover::prepare(file, listener).map_err(|error| format!("--handover {}: {error}", file.display()))
    }
}

/// A listening socket, before a previous process stops to accept.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) listener: TcpListener,
    pub(crate) origin: Origin,
    handover: Handover,
    previous: Option<handover::Previous>,
}

impl Received {
    /// Takes the socket over, after all checks. A previous process drains from then on. Returns the socket, its origin
    /// and the offer to the next process.
    pub(crate) fn confirm(self) -> io::Result<(TcpListener, Origin, Handover)> {
        self.previous.map_or(Ok(()), handover::Previous::confirm)?;
        Ok((self.listener, self.origin, self.handover))
    }
}

/// Returns the value of a variable, if it is not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
