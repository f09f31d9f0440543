use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use tokio::time::interval;
use tracing::debug;

use super::variable;

/// A state of this service that systemd shows and waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// Connections are served.
    Ready,
    /// The drain has begun.
    Stopping,
    /// The runtime works.
    Alive,
}

/// Tells systemd a state, if it is the one that has started this process.
pub(crate) fn notify(state: State) {
    let Some(path) = variable("NOTIFY_SOCKET") else { return };
    let text = match state {
        State::Ready => "READY=1",
        State::Stopping => "STOPPING=1",
        State::Alive => "WATCHDOG=1",
    };
    if let Err(error) = send(&path, text) {
        debug!(%error, text, "systemd not notified");
    }
}

/// Tells systemd again and again that the runtime works, if the unit has `WatchdogSec=`.
pub(crate) async fn watchdog() {
    let is_for_this = variable("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(process::id()));
    let time = variable("WATCHDOG_USEC").and_then(|micros| micros.parse().ok()).map(Duration::from_micros);
    let Some(time) = time.filter(|time| is_for_this && !time.is_zero()) else { return };
    let mut ticks = interval(time / 2);
    loop {
        ticks.tick().await;
        notify(State::Alive);
    }
}

fn send(path: &str, text: &str) -> io::Result<()> {
    let address = address(path)?;
    let socket = UnixDatagram::unbound()?;
    // systemd that does not read must not hold up the server.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

/// Returns the address of a socket. A name that begins with `@` is in the abstract namespace of Linux.
fn address(path: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = path.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(path)
}
