use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::changes::Cost;
use crate::check::Tally;
use crate::environment::Environment;
use crate::load::Load;
use crate::measure::Percentiles;
use crate::options::Protocol;
use crate::phases::PagingReport;
use crate::scenarios::Outcome;
use crate::timeline::Point;

/// The share of its threads above which the tool counts as saturated.
const SATURATION: f64 = 0.9;

/// The report of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// The name of the scenario.
    pub scenario: String,
    /// See [`crate::options::Common`].
    pub url: String,
    /// See [`crate::options::Common`].
    pub protocol: Protocol,
    /// See [`crate::options::Common`].
    pub connections: u32,
    /// See [`crate::options::Common`]. `None` in a closed loop.
    pub rate: Option<f64>,
    /// See [`crate::options::Common`].
    pub size: u32,
    /// The duration of the load, in seconds.
    pub seconds: f64,
    /// The number of messages, connections or round trips sent.
    pub sent: u64,
    /// The number of acknowledged ones.
    pub acknowledged: u64,
    /// Acknowledged ones per second.
    pub acknowledged_per_second: f64,
    /// Deliveries per second during the load.
    pub deliveries_per_second: f64,
    /// The result of checking all deliveries.
    pub deliveries: Tally,
    /// The number of reconnects.
    pub reconnects: u64,
    /// The number of each kind of connection end and refusal.
    pub endings: BTreeMap<String, u64>,
    /// Latencies in microseconds, by name.
    pub latencies: BTreeMap<String, Percentiles>,
    /// The effect of history reads on deliveries.
    pub paged: Option<PagingReport>,
    /// The costs of changes of messages.
    #[serde(default)]
    pub costs: Vec<Cost>,
    /// The resources of the server process.
    pub server: Option<Server>,
    /// The number of cores that this tool used.
    pub own_cores: f64,
    /// CPU time of this tool for each delivery, round trip or connection, in microseconds.
    pub own_cpu_us_per_delivery: f64,
    /// See [`crate::options::Common`].
    pub own_threads: u32,
    /// True if this tool was saturated, so that the latencies are its own.
    pub saturated: bool,
    /// True if the run was stopped early.
    pub interrupted: bool,
    /// Remarks.
    pub notes: Vec<String>,
    /// Failed checks.
    pub failures: Vec<String>,
    /// The number of members with a failed check.
    #[serde(default)]
    pub faulty_members: usize,
    /// The members with the most failed checks, at most 50.
    #[serde(default)]
    pub most_faulty_members: Vec<FaultyMember>,
    /// The programs and the machine.
    #[serde(default)]
    pub environment: Environment,
    /// Latencies and resources over time, at most 600 points.
    #[serde(default)]
    pub timeline: Vec<Point>,
}

/// A member whose deliveries failed a check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultyMember {
    /// The name of the room.
    pub room: String,
    /// The number of the connection.
    pub member: usize,
    /// The result of checking its deliveries.
    pub deliveries: Tally,
}

/// The resources of the server process.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// The average number of cores.
    pub cores: f64,
    /// CPU time for each delivery, round trip or connection, in microseconds.
    pub cpu_us_per_delivery: f64,
    /// Resident memory in KiB: before the connections, with all of them, and at the end.
    pub rss_kib: [u64; 3],
    /// Memory of a connection, in KiB.
    pub rss_kib_per_connection: f64,
    /// CPU time to connect and to join, for each connection, in microseconds.
    pub cpu_us_per_connection: f64,
    /// The number of open file descriptors at the end.
    pub descriptors: u64,
}

impl Report {
    pub(crate) fn new(scenario: String, load: &Load, outcome: Outcome, timeline: Vec<Point>) -> Self {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let common = &load.common;
        let usages = load.usages.lock();
        let (mut seconds, mut own_cores, mut own_each, mut rate, mut server) = (0.0, 0.0, 0.0, 0.0, None);
        if let (Some(began), Some(ended)) = (usages.began, usages.ended) {
            seconds = (ended.at.saturating_sub(began.at) as f64 / 1e6).max(0.001);
            let own = ended.own.cpu_seconds - began.own.cpu_seconds;
            let delivered = ended.delivered.saturating_sub(began.delivered);
            let units = if delivered > 0 { delivered } else { count(&load.acknowledged) };
            let each = |cpu: f64| if units > 0 { cpu * 1e6 / units as f64 } else { 0.0 };
            own_cores = own / seconds;
            own_each = each(own);
            rate = delivered as f64 / seconds;
            if let (Some(before), Some(connected), Some(first), Some(last)) =
                (usages.before, usages.connected, began.server, ended.server)
            {
                let cpu = last.cpu_seconds - first.cpu_seconds;
                // A storm has all its connections only at the end.
                let (all, connections) = match &*scenario {
                    "storm" => (last.rss_kib, count(&load.acknowledged).max(1) as f64),
                    _ => (connected.rss_kib, f64::from(common.connections)),
                };
                server = Some(Server {
                    cores: cpu / seconds,
                    cpu_us_per_delivery: each(cpu),
                    rss_kib: [before.rss_kib, connected.rss_kib, last.rss_kib],
                    rss_kib_per_connection: all.saturating_sub(before.rss_kib) as f64 / connections,
                    cpu_us_per_connection: (connected.cpu_seconds - before.cpu_seconds) * 1e6 / connections,
                    descriptors: last.descriptors,
                });
            }
        }
        drop(usages);
        let latencies = [
            ("acknowledgement", &load.acknowledge),
            ("delivery", &load.delivery),
            ("connection", &load.connect),
            ("round trip", &load.round_trip),
        ];
        let latencies = latencies
            .into_iter()
            .filter_map(|(name, of)| Some((name.to_owned(), of.percentiles()?)))
            .collect();
        let busiest = outcome.paged.map_or(own_cores, |paged| paged.with.own_cores.max(own_cores));
        let mut report = Self {
            scenario,
            url: common.url.clone(),
            protocol: common.protocol,
            connections: common.connections,
            rate: (!outcome.closed).then_some(common.rate),
            size: common.size,
            seconds,
            sent: count(&load.sent),
            acknowledged: count(&load.acknowledged),
            acknowledged_per_second: if seconds > 0.0 {
                count(&load.acknowledged) as f64 / seconds
            } else {
                0.0
            },
            deliveries_per_second: rate,
            deliveries: outcome.tally,
            reconnects: count(&load.reconnects),
            endings: load.endings.lock().clone(),
            latencies,
            paged: outcome.paged,
            costs: outcome.costs,
            server,
            own_cores,
            own_cpu_us_per_delivery: own_each,
            own_threads: common.threads,
            saturated: busiest > SATURATION * f64::from(common.threads),
            interrupted: load.is_stopped(),
            notes: outcome.notes,
            failures: outcome.failures,
            faulty_members: outcome.faulty_members.0,
            most_faulty_members: outcome.faulty_members.1,
            environment: Environment::of_this_program(
                concat!("chat-load ", env!("CARGO_PKG_VERSION")).to_owned(),
                common.pid,
            ),
            timeline,
        };
        report.check(&outcome.expected_endings, outcome.expects_gaps);
        report
    }

    fn check(&mut self, expected_endings: &[&str], expects_gaps: bool) {
        let Tally { lost, duplicated, out_of_order, altered, gaps, .. } = self.deliveries;
        let faults = [
            (lost, "messages were lost"),
            (duplicated, "messages were repeated"),
            (out_of_order, "messages came out of order"),
            (altered, "messages differ from the acknowledged ones"),
            (if expects_gaps { 0 } else { gaps }, "gaps were announced"),
            (self.sent.saturating_sub(self.acknowledged), "were never acknowledged"),
        ];
        for (count, what) in faults.into_iter().filter(|(count, _)| *count > 0) {
            self.failures.push(format!("{count} {what}"));
        }
        for (ending, count) in &self.endings {
            if !expected_endings.iter().any(|expected| ending.starts_with(expected)) {
                self.failures.push(format!("{count} x {ending}"));
            }
        }
        if self.sent == 0 && self.scenario != "idle" && !self.interrupted {
            self.failures.push("nothing was sent".to_owned());
        }
    }

    /// Returns the name of the scenario and of the server program.
    pub(crate) fn title(&self) -> String {
        let server = self.environment.server.as_deref().unwrap_or(&self.url);
        format!("{} on {server}", self.scenario)
    }

    /// Returns true if every check passed.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// Returns the report as a table.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String, meaning: &str| {
            // Writing to a string cannot fail.
            let _written = writeln!(text, "{name:<24} {value:>14}  {meaning}");
        };
        // The names of the counted units.
        let (units, unit) = match &*self.scenario {
            "storm" => ("connections", "connection"),
            "echo" => ("round trips", "round trip"),
            _ => ("messages", "delivery"),
        };
        row("scenario", self.scenario.clone(), &format!("on {}", self.url));
        if self.scenario != "storm" {
            row("connections", self.connections.to_string(), "as requested");
        }
        row("time", format!("{:.1} s", self.seconds), "until the last acknowledgement");
        if self.sent > 0 {
            row("sent", self.sent.to_string(), &format!("{units}, each when it was due"));
            let speed = format!("by the server; {:.0} per second", self.acknowledged_per_second);
            row("acknowledged", self.acknowledged.to_string(), &speed);
        }
        let tally = self.deliveries;
        if tally.delivered > 0 {
            let speed = format!("{:.0} per second during the load", self.deliveries_per_second);
            row("delivered", tally.delivered.to_string(), &speed);
            row("lost", tally.lost.to_string(), "never came, and not in a gap");
            row("duplicated", tally.duplicated.to_string(), "came more than once");
            row("out of order", tally.out_of_order.to_string(), "came after a later one");
            row("altered", tally.altered.to_string(), "differ from the acknowledged message");
            let skipped = format!("announced by the server, {} messages in total", tally.skipped);
            row("gaps", tally.gaps.to_string(), &skipped);
        }
        if self.reconnects > 0 {
            row("reconnects", self.reconnects.to_string(), "lost connections that were replaced");
        }
        for (ending, count) in &self.endings {
            row("ending", count.to_string(), ending);
        }
        for (name, p) in &self.latencies {
            let ms = |us: u64| format!("{:.2} ms", us as f64 / 1e3);
            let meaning = format!(
                "p50; p90 {}, p99 {}, p99.9 {}, max {}; from the due time, {} samples",
                ms(p.p90),
                ms(p.p99),
                ms(p.p99_9),
                ms(p.max),
                p.count
            );
            row(name, ms(p.p50), &meaning);
        }
        for (name, value, meaning) in self.paged.iter().flat_map(PagingReport::rows) {
            row(name, value, &meaning);
        }
        for (name, value, meaning) in self.costs.iter().map(Cost::row) {
            row(name, value, &meaning);
        }
        if let Some(server) = self.server {
            row("server CPU", format!("{:.2} cores", server.cores), "all threads of its process");
            if self.sent > 0 {
                let each = format!("{:.2} us", server.cpu_us_per_delivery);
                row("server CPU each", each, &format!("for one {unit}"));
            }
            let [before, connected, end] = server.rss_kib;
            let memory = format!("KiB; {before} before the connections, {end} at the end");
            row("server memory", connected.to_string(), &memory);
            let each = format!("{:.1} KiB", server.rss_kib_per_connection);
            row("memory each", each, "for one connection; less if the server had free memory before");
            row("server descriptors", server.descriptors.to_string(), "open at the end");
        }
        let own = format!("of {}, used by this tool", self.own_threads);
        row("own CPU", format!("{:.2} cores", self.own_cores), &own);
        if self.sent > 0 {
            let each = format!("{:.2} us", self.own_cpu_us_per_delivery);
            row("own CPU each", each, &format!("for one {unit}"));
        }
        for note in &self.notes {
            row("note", String::new(), note);
        }
        if self.saturated {
            row(
                "WARNING",
                String::new(),
                "this tool was saturated: the latencies are its own; try --threads",
            );
        }
        if self.interrupted {
            row("interrupted", String::new(), "the run was stopped early");
        }
        for failure in &self.failures {
            row("FAILED", String::new(), failure);
        }
        if self.is_good() {
            row("good", String::new(), "every check passed");
        }
        text
    }
}
