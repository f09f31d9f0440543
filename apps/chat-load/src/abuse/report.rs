use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::attacker::Attacker;
use super::attacks::Attack;
use super::innocent::{FLOOR, InnocentCounts, Times};
use super::options::Options;
use super::{Measured, RECOVERY};

/// Replies that no attack may cause, with the reason.
const FORBIDDEN: [(&str, &str); 3] = [
    ("500", "an internal error"),
    ("1011", "an internal error"),
    ("no event", "a frame that is not an event"),
];

/// Memory for connections, caches and the allocator, which is not in the budget of the server, in MiB.
const BESIDE_BUDGET: u64 = 64;

/// The report of all attacks on one server.
#[derive(Debug, Serialize)]
pub struct AbuseReport {
    /// The program of the server.
    pub server: String,
    /// Frames or requests per second of each connection of an attack.
    pub rate: f64,
    /// One row for each attack.
    pub rows: Vec<Row>,
}

/// The result of one attack.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The name of the attack.
    pub attack: &'static str,
    /// The description of the attack.
    pub about: &'static str,
    /// The number of connections.
    pub connections: usize,
    /// The number of addresses.
    pub addresses: usize,
    /// The duration of the attack, in seconds.
    pub seconds: f64,
    /// Times from send to sent in microseconds, in the idle phase.
    pub idle: Times,
    /// The same during the attack.
    pub attacked: Times,
    /// Times from send to delivery in microseconds, in the idle phase.
    pub idle_delivery: Times,
    /// The same during the attack.
    pub attacked_delivery: Times,
    /// The median during the attack, divided by the one of the idle phase or by 1 ms.
    pub p50_ratio: f64,
    /// The same for the 99th percentile.
    pub p99_ratio: f64,
    /// Cores that the server used in the idle phase.
    pub idle_cores: f64,
    /// The same during the attack.
    pub attacked_cores: f64,
    /// Resident memory at the end of the idle phase, in KiB.
    pub idle_rss_kib: u64,
    /// The peak of the resident memory during the attack, in KiB.
    pub peak_rss_kib: u64,
    /// Bytes by which the store was larger at the end of the attack.
    pub disk_growth: u64,
    /// The largest size of the store, in bytes.
    pub disk_peak: u64,
    /// Bytes of the log of the attack.
    pub log_bytes: u64,
    /// Bytes that the attack received.
    pub received_bytes: u64,
    /// Bytes that the attack sent.
    pub sent_bytes: u64,
    /// Replies to the attack: statuses, types of events, codes of errors and closes.
    pub replies: BTreeMap<String, u64>,
    /// Milliseconds from the end of the attack until the members were served as before, or `None` after 5 s.
    pub recovery_ms: Option<u64>,
    /// The messages of the members in all phases.
    pub members: InnocentCounts,
    /// Failed checks of counts.
    pub problems: Vec<String>,
    /// Bounds of times that were broken.
    pub broken_bounds: Vec<String>,
}

impl Row {
    pub(super) fn new(
        options: &Options,
        attack: &Attack,
        attacker: &Attacker,
        measured: &Measured,
        [(idle, idle_delivery), (attacked, attacked_delivery)]: [(Times, Times); 2],
        members: InnocentCounts,
        problems: Vec<String>,
    ) -> Self {
        let [idle_begin, idle_end, begin, end] = measured.phases;
        let [before_idle, after_idle, at_begin, at_end] = measured.resources;
        let seconds = |from: u64, to: u64| (to.saturating_sub(from) as f64 / 1e6).max(0.001);
        let ratio = |attacked: u64, idle: u64| attacked.max(FLOOR) as f64 / idle.max(FLOOR) as f64;
        let (received_bytes, sent_bytes) = attacker.traffic();
        let mut row = Self {
            attack: attack.name,
            about: attack.about,
            connections: attack.connections,
            addresses: attack.addresses,
            seconds: seconds(begin, end),
            p50_ratio: ratio(attacked.p50, idle.p50),
            p99_ratio: ratio(attacked.p99, idle.p99),
            idle,
            attacked,
            idle_delivery,
            attacked_delivery,
            idle_cores: (after_idle.cpu_seconds - before_idle.cpu_seconds) / seconds(idle_begin, idle_end),
            attacked_cores: (at_end.cpu_seconds - at_begin.cpu_seconds) / seconds(begin, end),
            idle_rss_kib: after_idle.rss_kib,
            peak_rss_kib: at_end.peak_kib,
            disk_growth: at_end.disk_bytes.saturating_sub(at_begin.disk_bytes),
            disk_peak: measured.disk_peak,
            log_bytes: at_end.log_bytes - at_begin.log_bytes,
            received_bytes,
            sent_bytes,
            replies: attacker.replies(),
            recovery_ms: measured.recovery.map(|us| us / 1_000),
            members,
            problems,
            broken_bounds: Vec::new(),
        };
        row.check_counts(options, attack);
        if !options.counts_only {
            row.check_times(attack);
        }
        row
    }

    fn check_counts(&mut self, options: &Options, attack: &Attack) {
        self.problems.extend(check_replies(&self.replies, &attack.expected(options.counts_only)));
        for (code, count) in &self.members.refused {
            // A slow server does not commit in time. Nothing is lost by it.
            let is_slow = options.counts_only && code == "unavailable";
            if !is_slow && !attack.refusals.contains(&&**code) {
                self.problems.push(format!("{count} messages of the members were refused: {code}"));
            }
        }
        if self.members.sent == 0 {
            self.problems.push("no message of the members was acknowledged".to_owned());
        }
        let grown = self.peak_rss_kib.saturating_sub(self.idle_rss_kib) / 1_024;
        let limit = 2 * options.memory + BESIDE_BUDGET;
        if grown > limit {
            self.problems.push(format!("{grown} MiB of memory, more than {limit}"));
        }
        let disk = self.disk_peak / (1 << 20);
        if let Some(limit) = attack.disk_mib.filter(|limit| disk > *limit) {
            self.problems.push(format!("{disk} MiB of disk, more than {limit}"));
        }
    }

    fn check_times(&mut self, attack: &Attack) {
        let (p50, p99) = attack.bounds;
        for (name, ratio, bound) in [("p50", self.p50_ratio, p50), ("p99", self.p99_ratio, p99)] {
            if ratio > bound {
                self.broken_bounds.push(format!("{name} {ratio:.1} times, more than {bound}"));
            }
        }
        // A full store refuses messages until some expire.
        let recovers = p50.is_finite() && attack.refusals.is_empty();
        if recovers && self.recovery_ms.is_none() {
            self.broken_bounds.push(format!("no recovery within {} s", RECOVERY.as_secs()));
        }
    }
}

impl AbuseReport {
    pub(super) fn new(options: &Options) -> Self {
        Self { server: options.server.display().to_string(), rate: options.rate, rows: Vec::new() }
    }

    /// Returns true if every check passed.
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.problems.is_empty() && row.broken_bounds.is_empty())
    }

    /// Returns the report as text: a table, the replies to each attack, and the failed checks.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{}, {} frames per second and connection\n\n\
             attack      conns   p50 idle ms, attack, ratio   p99 idle ms, attack, ratio   cores idle, attack  \
             RSS MiB idle, peak  disk MiB  log KiB  recovery ms\n",
            self.server, self.rate
        );
        let ms = |us: u64| us as f64 / 1e3;
        for row in &self.rows {
            let recovery = row.recovery_ms.map_or("none".to_owned(), |time| time.to_string());
            let _written = writeln!(
                text,
                "{:<11} {:>5}   {:>9.2} {:>9.2} {:>6.1}   {:>9.2} {:>9.2} {:>6.1}       {:>5.2} {:>5.2}        \
                 {:>5} {:>5}    {:>8.1} {:>8.1}  {recovery:>8}",
                row.attack,
                row.connections,
                ms(row.idle.p50),
                ms(row.attacked.p50),
                row.p50_ratio,
                ms(row.idle.p99),
                ms(row.attacked.p99),
                row.p99_ratio,
                row.idle_cores,
                row.attacked_cores,
                row.idle_rss_kib / 1_024,
                row.peak_rss_kib / 1_024,
                row.disk_growth as f64 / f64::from(1 << 20),
                row.log_bytes as f64 / 1_024.0,
            );
        }
        text.push('\n');
        for row in &self.rows {
            let replies: Vec<_> = row.replies.iter().map(|(name, count)| format!("{name} {count}")).collect();
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let _written = writeln!(
                text,
                "{:<11} {:.1} s, sent {:.1} MiB, received {:.1} MiB: {}",
                row.attack,
                row.seconds,
                mib(row.sent_bytes),
                mib(row.received_bytes),
                replies.join(", ")
            );
        }
        text.push('\n');
        for row in &self.rows {
            for problem in row.problems.iter().chain(&row.broken_bounds) {
                let _written = writeln!(text, "FAILED {}: {problem}", row.attack);
            }
        }
        text.push_str(if self.is_good() { "good: every check passed\n" } else { "bad: see above\n" });
        text
    }
}

/// Returns a problem for each expected reply that is missing, and for each reply that no attack may cause.
fn check_replies(replies: &BTreeMap<String, u64>, expected: &[&str]) -> Vec<String> {
    let missing = expected.iter().filter(|reply| !replies.contains_key(**reply));
    let forbidden = FORBIDDEN.iter().filter(|(reply, _)| replies.contains_key(*reply));
    let missing = missing.map(|reply| format!("the attack got no {reply}"));
    missing.chain(forbidden.map(|(reply, reason)| format!("the attack caused {reason} ({reply})"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_reply_and_an_internal_error_are_problems() {
        let replies = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 1)).collect();
        let expected = ["sent", "rate_limited"];
        assert_eq!(check_replies(&replies(&["sent", "rate_limited", "pong"]), &expected), [""; 0]);
        assert_eq!(
            check_replies(&replies(&["sent", "1011"]), &expected),
            ["the attack got no rate_limited", "the attack caused an internal error (1011)"]
        );
    }
}
