//! The attacks. Each is a program for one connection, which is repeated until the attack ends.

mod connections;
mod crowd;
mod floods;
mod heads;
mod memory;
mod messages;
mod reads;
mod rooms;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::attacker::Attacker;

/// A program for connection `n`.
type Program = fn(Arc<Attacker>, usize) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// The number of connections of an attack by one address.
pub(super) const CONNECTIONS: usize = 16;

/// One attack.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// The description, for the report.
    pub(super) about: &'static str,
    pub(super) connections: usize,
    /// The number of addresses of the connections.
    pub(super) addresses: usize,
    /// Replies of which each must come.
    expects: &'static [&'static str],
    /// Further options of the server.
    pub(super) options: &'static [&'static str],
    /// True if the server has no limits of one client.
    pub(super) lifts_limits: bool,
    /// Error replies to the members that are part of the attack.
    pub(super) refusals: &'static [&'static str],
    /// The beginnings of error lines in the log that are part of the attack.
    pub(super) errors: &'static [&'static str],
    /// The shortest duration.
    pub(super) shortest: Duration,
    /// The bound of the median, as a multiple of the idle phase, and that of the 99th percentile.
    pub(super) bounds: (f64, f64),
    /// The bound of the store on disk, in MiB.
    pub(super) disk_mib: Option<u64>,
    /// The program that prepares a connection before the idle phase.
    pub(super) prepare: Option<Program>,
    pub(super) run: Program,
}

impl Attack {
    /// Creates an attack by one address.
    const fn new(
        name: &'static str,
        about: &'static str,
        expects: &'static [&'static str],
        run: Program,
    ) -> Self {
        Self {
            name,
            about,
            connections: CONNECTIONS,
            addresses: 1,
            expects,
            options: &[],
            lifts_limits: false,
            refusals: &[],
            errors: &[],
            shortest: Duration::ZERO,
            bounds: (3.0, 10.0),
            disk_mib: None,
            prepare: None,
            run,
        }
    }

    /// Returns the replies of which each must come. A slow server reads commands too rarely for 4002, so that a check
    /// of counts alone does not wait for it.
    pub(super) fn expected(&self, counts_only: bool) -> Vec<&'static str> {
        self.expects.iter().copied().filter(|reply| !counts_only || *reply != "4002").collect()
    }
}

/// Every attack.
pub(super) const ATTACKS: &[Attack] = &[
    heads::TARGETS,
    heads::REFUSALS,
    heads::MALFORMED,
    heads::UNFINISHED,
    connections::CONNECTS,
    connections::UPGRADES,
    rooms::ROOMS,
    rooms::TAILS,
    rooms::PRESENCE,
    messages::FOLDING,
    messages::KEYS,
    messages::DISK,
    reads::SEARCHES,
    reads::PAGES,
    reads::STALLED,
    floods::PINGS,
    floods::COMMANDS,
    floods::ERRORS,
    crowd::CROWD,
    memory::MEMORY_BUDGET,
];

/// Returns the text of a `send` command.
fn send(room: &str, body: &str) -> String {
    format!(r#"{{"type":"send","room":"{room}","body":{body}}}"#)
}

/// Returns the text of a `join` command.
fn join(room: &str) -> String {
    format!(r#"{{"type":"join","room":"{room}"}}"#)
}

/// Returns a body whose text has this many letters.
fn letters(count: usize) -> String {
    format!(r#"{{"text":"{}"}}"#, "x".repeat(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attack_has_another_name() {
        let mut names: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ATTACKS.len());
    }
}
