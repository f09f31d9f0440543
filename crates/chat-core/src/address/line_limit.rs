//! Limits on the log lines that the clients of each address can cause. Events without a line are counted, and their
//! number is logged once a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chat_proto::{Bucket, Rate};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::info;

use super::CountedAddress;

/// The time after which the number of events without a line is logged.
const PERIOD: Duration = Duration::from_secs(60);

/// Refused requests, and refused connections, of one address that have a line in a minute.
const REFUSALS_PER_ADDRESS: u32 = 10;

/// Refused requests, and refused connections, of all addresses that have a line in a minute.
const REFUSALS: u32 = 100;

/// The tokens of a line. A rate of tokens per second is then a rate of lines per minute.
const TOKENS_PER_LINE: u32 = 60;

/// Addresses that are counted by themselves.
const MAX_ADDRESSES: usize = 1_024;

/// Addresses that are named at the end of a period, those with the most events first.
const NAMED_ADDRESSES: usize = 10;

/// The time between two searches for addresses that can be forgotten.
const PRUNE_INTERVAL: Duration = Duration::from_secs(1);

/// The limits of a chat.
#[derive(Debug)]
pub(crate) struct LineLimits {
    /// Requests that were refused.
    pub(crate) refusals: Arc<LineLimit>,
    /// Connections that were closed at once.
    pub(crate) closed: Arc<LineLimit>,
    /// Connections that were upgraded.
    pub(crate) upgraded: Arc<LineLimit>,
}

impl LineLimits {
    /// Returns the limits, with this number of lines per minute about the upgraded connections of one address. 0 is no
    /// limit.
    pub(crate) fn new(log_lines: u32) -> Self {
        let refusals = |log| LineLimit::new(REFUSALS_PER_ADDRESS, REFUSALS, log);
        Self {
            refusals: refusals(|address, refusals| {
                info!(address = address.map(tracing::field::display), refusals, "further upgrades refused");
            }),
            closed: refusals(|address, connections| {
                info!(
                    address = address.map(tracing::field::display),
                    connections, "further connections refused"
                );
            }),
            upgraded: LineLimit::new(log_lines, 0, |address, connections| {
                info!(
                    address = address.map(tracing::field::display),
                    connections, "further connections not logged"
                );
            }),
        }
    }

    /// Sets the lines per minute about the upgraded connections of one address.
    pub(crate) fn set_log_lines(&self, log_lines: u32) {
        self.upgraded.counts.lock().per_address = lines_per_minute(log_lines);
    }

    /// Logs the numbers of events that had no line.
    pub(crate) fn log_counts(&self) {
        for limit in [&self.refusals, &self.closed, &self.upgraded] {
            limit.log_counts();
        }
    }
}

/// A limit on the lines about one kind of event.
#[derive(Debug)]
pub(crate) struct LineLimit {
    started: Instant,
    counts: Mutex<Counts>,
    /// Logs the number of an address's events without a line. `None` stands for all other addresses.
    log: fn(Option<CountedAddress>, u64),
}

async fn log_counts_later(limit: Weak<LineLimit>) {
    tokio::time::sleep(PERIOD).await;
    if let Some(limit) = limit.upgrade() {
        limit.log_counts();
    }
}

impl LineLimit {
    /// Returns a limit of lines per minute for each address, and for all. 0 is no limit.
    fn new(per_address: u32, all: u32, log: fn(Option<CountedAddress>, u64)) -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), counts: Mutex::new(Counts::new(per_address, all)), log })
    }

    /// Counts an event that has this number of lines. Returns true if they must be written.
    pub(crate) fn record(self: &Arc<Self>, address: Option<IpAddr>, lines: u32) -> bool {
        let now = self.started.elapsed();
        let (has_lines, is_first) = self.counts.lock().record(address.map(CountedAddress::of), lines, now);
        if is_first && let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(log_counts_later(Arc::downgrade(self))));
        }
        has_lines
    }

    /// Logs the numbers of events that had no line.
    fn log_counts(&self) {
        let (named, others) = self.counts.lock().take_suppressed();
        for (address, events) in named {
            (self.log)(address, events);
        }
        if others > 0 {
            (self.log)(None, others);
        }
    }
}

impl Drop for LineLimit {
    fn drop(&mut self) {
        self.log_counts();
    }
}

fn lines_per_minute(lines: u32) -> Rate {
    Rate::new(lines, lines.saturating_mul(TOKENS_PER_LINE))
}

#[derive(Debug)]
struct Counts {
    per_address: Rate,
    all: Rate,
    /// The lines of all addresses.
    lines: Bucket,
    addresses: HashMap<Option<CountedAddress>, Events>,
    /// The events of the addresses for which `addresses` has no place.
    others: Events,
    pruned_at: Duration,
    /// True if an event had no line since the last time that their number was taken.
    has_suppressed: bool,
}

/// The events of one address.
#[derive(Debug, Default)]
struct Events {
    lines: Bucket,
    /// The events without a line, since the last time that their number was taken.
    suppressed: u64,
}

impl Counts {
    fn new(per_address: u32, all: u32) -> Self {
        Self {
            per_address: lines_per_minute(per_address),
            all: lines_per_minute(all),
            lines: Bucket::default(),
            addresses: HashMap::new(),
            others: Events::default(),
            pruned_at: Duration::ZERO,
            has_suppressed: false,
        }
    }

    /// Counts an event. Returns true if it has lines, and true if it is the first one without.
    fn record(&mut self, address: Option<CountedAddress>, lines: u32, now: Duration) -> (bool, bool) {
        if self.per_address.is_unlimited() {
            return (true, false);
        }
        if self.addresses.len() >= MAX_ADDRESSES && now >= self.pruned_at + PRUNE_INTERVAL {
            self.pruned_at = now;
            self.prune(now);
        }
        let has_place = self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(&address);
        let events = if has_place { self.addresses.entry(address).or_default() } else { &mut self.others };
        let cost = lines.saturating_mul(TOKENS_PER_LINE);
        let is_permitted = events.lines.check(self.per_address, now, cost).is_ok();
        if is_permitted && self.lines.take(self.all, now, cost).is_ok() {
            events.lines.charge(self.per_address, now, cost);
            return (true, false);
        }
        events.suppressed += 1;
        (false, !std::mem::replace(&mut self.has_suppressed, true))
    }

    /// Forgets the addresses without a recent event.
    fn prune(&mut self, now: Duration) {
        self.addresses.retain(|_, events| events.suppressed > 0 || !events.lines.is_full(now));
    }

    /// Returns the addresses with the most events without a line, and the number of those of all other addresses.
    fn take_suppressed(&mut self) -> (Vec<(Option<CountedAddress>, u64)>, u64) {
        self.has_suppressed = false;
        let take = |events: &mut Events| std::mem::take(&mut events.suppressed);
        let others = take(&mut self.others);
        let mut named: Vec<_> =
            self.addresses.iter_mut().map(|(address, events)| (*address, take(events))).collect();
        named.retain(|(_, count)| *count > 0);
        named.sort_unstable_by_key(|(address, count)| (u64::MAX - count, *address));
        let unnamed: u64 = named.iter().skip(NAMED_ADDRESSES).map(|(_, count)| count).sum();
        named.truncate(NAMED_ADDRESSES);
        (named, unnamed + others)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn address(number: u32) -> Option<CountedAddress> {
        Some(CountedAddress::of(Ipv4Addr::from_bits(number).into()))
    }

    /// Counts events of one address. Returns the number of those with lines.
    fn record(counts: &mut Counts, events: usize, lines: u32, now: Duration) -> usize {
        (0..events).filter(|_| counts.record(address(1), lines, now).0).count()
    }

    #[test]
    fn events_of_one_address_beyond_its_lines_are_counted() {
        let mut counts = Counts::new(10, 100);
        assert_eq!(record(&mut counts, 10, 1, NOW), 10);
        assert_eq!(counts.record(address(1), 1, NOW), (false, true));
        assert_eq!(record(&mut counts, 89, 1, NOW), 0);
        assert_eq!(counts.record(address(2), 1, NOW), (true, false));
        assert_eq!(counts.take_suppressed(), (vec![(address(1), 90)], 0));
        assert_eq!(counts.take_suppressed(), (vec![], 0));
    }

    #[test]
    fn an_address_has_its_lines_again_after_a_minute() {
        let mut counts = Counts::new(10, 0);
        assert_eq!(record(&mut counts, 100, 2, NOW), 5);
        assert_eq!(record(&mut counts, 100, 2, NOW + PERIOD / 2), 2);
        assert_eq!(record(&mut counts, 100, 2, NOW + PERIOD * 3), 5);
    }

    #[test]
    fn events_of_many_addresses_have_a_limited_number_of_lines_and_counts() {
        let mut counts = Counts::new(10, 100);
        let lines = (0..10_000).filter(|number| counts.record(address(*number), 1, NOW).0).count();
        assert_eq!((lines, counts.addresses.len()), (100, 1_024));
        let (named, others) = counts.take_suppressed();
        assert_eq!((named.len(), others), (10, 10_000 - 100 - 10));
    }

    #[test]
    fn addresses_without_a_recent_event_make_place_for_others() {
        let mut counts = Counts::new(200, 0);
        for number in 0..2_000 {
            counts.record(address(number), 2, NOW);
        }
        assert!(counts.record(address(9_000), 2, NOW + PERIOD).0);
        assert_eq!((counts.addresses.len(), counts.take_suppressed()), (1, (vec![], 2_000 - 1_024 - 100)));
    }

    #[test]
    fn without_a_limit_every_event_has_lines_and_none_is_kept() {
        let mut counts = Counts::new(0, 0);
        assert_eq!((record(&mut counts, 1_000, 2, NOW), counts.addresses.len()), (1_000, 0));
    }
}
