use std::fs;
use std::future::pending;
use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a server, and SIGHUP, which reloads its configuration.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` if the process was started to ignore this signal, as `nohup` does.
    hangup: Option<Signal>,
    /// True if standard input is a terminal. SIGHUP then may mean that the terminal was closed.
    has_terminal: bool,
}

/// A request of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Read the configuration again.
    Reload,
    /// End the server, because of the signal with this name.
    End(&'static str),
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
            has_terminal: io::stdin().is_terminal(),
        })
    }

    /// Waits for the next signal. SIGHUP ends a server whose terminal was closed, and otherwise reloads it.
    pub(crate) async fn next(&mut self) -> Request {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Request::End("SIGTERM"),
            _ = self.interrupt.recv() => Request::End("SIGINT"),
            _ = hangup => if self.has_terminal && !io::stdin().is_terminal() {
                Request::End("SIGHUP")
            } else {
                Request::Reload
            },
        }
    }

    /// Waits for the next signal that ends a drain at once, and returns its name. SIGHUP does not: a terminal that
    /// closes can send it twice.
    pub(crate) async fn next_urgent(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Returns true if SIGHUP is ignored. Only Linux says so; elsewhere, the signal reloads the configuration.
fn ignores_hangup() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_first_signal(&status))
}

/// Returns true if signal 1, SIGHUP, is in the set of ignored signals.
fn ignores_first_signal(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hangup_is_recognized() {
        assert!(ignores_first_signal("Name:\tchatd\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_first_signal("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!ignores_first_signal(""));
    }
}
