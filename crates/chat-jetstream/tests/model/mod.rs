//! A model of NATS servers with one stream, on which the crate runs with faults.
//!
//! The model takes the place of the connection ([`Client`](crate::link::Client)), so that all code of the crate above
//! it runs. It knows what the crate knows: the core of NATS, and the requests of JetStream that the crate sends. Time
//! is the paused clock of tokio, and all random numbers come from one seed, so that a seed repeats a run exactly.

mod ages;
mod broken;
mod client;
mod comparison;
mod connections;
mod copy;
mod damaged;
mod epochs;
mod faults;
mod history;
mod keys;
mod late;
mod names;
mod network;
mod nodes;
mod pages;
mod purges;
mod quiet;
mod removals;
mod requests;
mod rounds;
mod schedule;
mod stream;
mod tests;
mod unfinished;
mod world;

#[path = "../support/servers.rs"]
#[expect(dead_code, reason = "the tests with servers use the rest")]
pub(crate) mod servers;

use std::cell::RefCell;

use tokio::time::Instant;

/// The time at which each run begins, in milliseconds since the Unix epoch.
const START: u64 = 1_767_225_600_000;

thread_local! {
    /// The random numbers and the clock of the crate in a run. All of it is on one thread.
    static AMBIENT: RefCell<Option<(Rng, Instant)>> = const { RefCell::new(None) };
}

/// Random numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from `from` to `to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    /// Returns an index of a list of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.next() % length as u64).expect("a small number")
    }

    /// Returns true in this many of 100 cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// Gives the crate random numbers from this seed, and the clock of tokio, on this thread.
pub(crate) fn begin(seed: u64) {
    AMBIENT.set(Some((Rng::new(seed), Instant::now())));
}

/// Gives the crate the random numbers and the clock of the operating system again.
pub(crate) fn end() {
    AMBIENT.set(None);
}

/// Prints a step of a run that is repeated with `CHAT_SEED`.
pub(crate) fn trace(step: impl FnOnce() -> String) {
    if std::env::var_os("CHAT_SEED").is_some() {
        let millis = unix_millis().unwrap_or(START) - START;
        eprintln!("{:>3}.{:03} s  {}", millis / 1_000, millis % 1_000, step());
    }
}

/// Returns a random number of the run, or `None` without one.
pub(crate) fn random_number() -> Option<u64> {
    AMBIENT.with_borrow_mut(|ambient| Some(ambient.as_mut()?.0.next()))
}

/// Returns the time of the run, or `None` without one.
pub(crate) fn unix_millis() -> Option<u64> {
    AMBIENT.with_borrow(|ambient| {
        let elapsed = ambient.as_ref()?.1.elapsed();
        Some(START + u64::try_from(elapsed.as_millis()).expect("a short run"))
    })
}
