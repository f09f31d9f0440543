//! The counts of refused upgrades in the log. One client can cause any number of refusals, so most of them have no
//! line.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::info;

/// The period in which lines are limited, and after which the counts are logged.
const PERIOD: Duration = Duration::from_secs(60);

/// Lines for one address in a period.
const LINES_PER_ADDRESS: u64 = 10;

/// Lines for all addresses in a period.
const LINES: u64 = 100;

/// Addresses that are counted by themselves in a period.
const MAX_ADDRESSES: usize = 1_024;

/// Addresses that are named at the end of a period, those with the most refusals first.
const NAMED_ADDRESSES: usize = 10;

/// The log of a chat's refusals.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog(Mutex<Counts>);

async fn log_counts_later(log: Weak<RefusalLog>) {
    tokio::time::sleep(PERIOD).await;
    if let Some(log) = log.upgrade() {
        log.log_counts();
    }
}

impl RefusalLog {
    /// Counts a refusal. Returns true if it has a line.
    pub(crate) fn record(self: &Arc<Self>, address: Option<IpAddr>) -> bool {
        let (is_first, has_line) = self.0.lock().record(address);
        if is_first && let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(log_counts_later(Arc::downgrade(self))));
        }
        has_line
    }

    /// Logs the refusals that had no line, and begins another period.
    pub(crate) fn log_counts(&self) {
        let (named, others) = std::mem::take(&mut *self.0.lock()).into_suppressed();
        for (address, refusals) in named {
            info!(address = address.map(tracing::field::display), refusals, "further upgrades refused");
        }
        if others > 0 {
            info!(refusals = others, "further upgrades refused");
        }
    }
}

impl Drop for RefusalLog {
    fn drop(&mut self) {
        self.log_counts();
    }
}

/// The refusals of one period.
#[derive(Debug, Default)]
struct Counts {
    lines: u64,
    /// Refusals of each address, and those of them that had no line.
    addresses: HashMap<Option<IpAddr>, (u64, u64)>,
    /// Refusals without a line, of addresses beyond the limit.
    others: u64,
}

impl Counts {
    /// Counts a refusal. Returns true if it is the first of the period, and true if it has a line.
    fn record(&mut self, address: Option<IpAddr>) -> (bool, bool) {
        let is_first = self.addresses.is_empty();
        let has_room = self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(&address);
        if !has_room {
            self.others += 1;
            return (is_first, false);
        }
        let (refusals, suppressed) = self.addresses.entry(address).or_default();
        *refusals += 1;
        let has_line = *refusals <= LINES_PER_ADDRESS && self.lines < LINES;
        if has_line {
            self.lines += 1;
        } else {
            *suppressed += 1;
        }
        (is_first, has_line)
    }

    /// Returns the addresses with the most refusals without a line, and the number of those of all other addresses.
    fn into_suppressed(self) -> (Vec<(Option<IpAddr>, u64)>, u64) {
        let mut named: Vec<_> =
            self.addresses.into_iter().map(|(address, (_, count))| (address, count)).collect();
        named.retain(|(_, count)| *count > 0);
        named.sort_unstable_by_key(|(address, count)| (u64::MAX - count, *address));
        let others: u64 = named.iter().skip(NAMED_ADDRESSES).map(|(_, count)| count).sum();
        named.truncate(NAMED_ADDRESSES);
        (named, self.others + others)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn refusals_of_one_address_beyond_ten_are_counted() {
        let mut counts = Counts::default();
        assert_eq!(counts.record(address(1)), (true, true));
        let lines = (0..99).filter(|_| counts.record(address(1)).1).count();
        assert_eq!(lines, 9);
        assert_eq!(counts.record(address(2)), (false, true));
        assert_eq!(counts.into_suppressed(), (vec![(address(1), 90)], 0));
    }

    #[test]
    fn refusals_of_many_addresses_have_a_limited_number_of_lines_and_counts() {
        let mut counts = Counts::default();
        let lines = (0..10_000).filter(|number| counts.record(address(*number)).1).count();
        assert_eq!((lines, counts.addresses.len()), (100, 1_024));
        let (named, others) = counts.into_suppressed();
        assert_eq!((named.len(), others), (10, 10_000 - 100 - 10));
    }
}
