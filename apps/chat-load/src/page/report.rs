use super::{Fault, LatencyPoint, ResourcePoint, Row, Run, grouped, mib};
use crate::check::Tally;
use crate::measure::Percentiles;
use crate::report::{FaultyMember, Report, Server};
use crate::timeline::Point;

impl Run {
    /// Returns the run of a report of `chat-load`.
    pub fn of_report(name: String, report: &Report) -> Self {
        let (unit, each) = units(&report.scenario);
        Self {
            name,
            success: success(report),
            failures: report.failures.clone(),
            notes: notes(report),
            deliveries: deliveries(report, unit),
            faults: report.most_faulty_members.iter().map(Fault::of_member).collect(),
            fault_count: report.faulty_members,
            latencies: report.latencies.iter().flat_map(|(name, of)| percentiles(name, of)).collect(),
            resources: resources(report, each),
            load: load(report),
            environment: environment(report),
            unit: unit.to_owned(),
            latency_note: latency_note(&report.timeline),
            latency_points: report.timeline.iter().map(LatencyPoint::of_point).collect(),
            resource_points: report.timeline.iter().map(ResourcePoint::of_point).collect(),
        }
    }
}

/// Returns the name of what is measured in a scenario, in plural and in singular.
fn units(scenario: &str) -> (&'static str, &'static str) {
    match scenario {
        "storm" => ("connections", "connection"),
        "echo" => ("round trips", "round trip"),
        _ => ("deliveries", "delivery"),
    }
}

fn success(report: &Report) -> String {
    if !report.is_good() {
        return String::new();
    }
    let Tally { skipped, .. } = report.deliveries;
    match (report.deliveries.expected(), skipped) {
        (0, _) => "Every check passed.".to_owned(),
        (expected, 0) => {
            let count = grouped(expected);
            format!(
                "Every message was acknowledged. Each of {count} deliveries came once, in order and unaltered."
            )
        }
        (expected, skipped) => format!(
            "Every message was acknowledged. Each of {} deliveries came once, in order and unaltered, or was \
             announced as missing in a gap ({}).",
            grouped(expected),
            grouped(skipped)
        ),
    }
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes = report.notes.clone();
    if report.saturated {
        notes.push("The load tool was saturated, so the latencies are its own. Try --threads.".to_owned());
    }
    if report.interrupted {
        notes.push("The run was stopped early.".to_owned());
    }
    notes
}

fn deliveries(report: &Report, unit: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    if report.sent > 0 {
        let sent = if unit == "deliveries" { "messages" } else { unit };
        rows.push(Row::count(format!("{sent} sent"), report.sent));
        let missing = report.acknowledged < report.sent;
        rows.push(Row { is_fault: missing, ..Row::count("acknowledged", report.acknowledged) });
    }
    let tally = report.deliveries;
    if tally.expected() > 0 {
        rows.extend(counts(&tally));
        rows.push(Row::count("skipped in announced gaps", tally.skipped));
    }
    rows
}

/// Returns the counts of deliveries.
fn counts(tally: &Tally) -> [Row; 6] {
    [
        Row::count("expected deliveries", tally.expected()),
        Row::count("delivered", tally.delivered),
        Row::faults("missing", tally.lost),
        Row::faults("duplicated", tally.duplicated),
        Row::faults("out of order", tally.out_of_order),
        Row::faults("altered", tally.altered),
    ]
}

impl Fault {
    fn of_member(faulty: &FaultyMember) -> Self {
        Self {
            room: faulty.room.clone(),
            member: faulty.member.to_string(),
            deliveries: counts(&faulty.deliveries).to_vec(),
        }
    }
}

fn ms(microseconds: u64) -> String {
    format!("{:.2} ms", microseconds as f64 / 1e3)
}

fn percentiles(name: &str, of: &Percentiles) -> [Row; 5] {
    [("p50", of.p50), ("p90", of.p90), ("p99", of.p99), ("p99.9", of.p99_9), ("maximum", of.max)]
        .map(|(percentile, value)| Row::new(format!("{name}, {percentile}"), ms(value)))
}

fn resources(report: &Report, each: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let has_units = report.sent > 0;
    if let Some(server) = report.server {
        let Server { cores, cpu_us_per_delivery, rss_kib, rss_kib_per_connection, .. } = server;
        rows.push(Row::new("server CPU", format!("{cores:.2} cores")));
        if has_units {
            rows.push(Row::new(format!("server CPU per {each}"), format!("{cpu_us_per_delivery:.2} us")));
        }
        let per_connection = format!("{:.1} us", server.cpu_us_per_connection);
        rows.push(Row::new("server CPU to connect one client", per_connection));
        for (time, kib) in
            ["before the connections", "with all connections", "at the end"].iter().zip(rss_kib)
        {
            rows.push(Row::new(format!("server memory {time}"), mib(kib)));
        }
        let per_connection = format!("{rss_kib_per_connection:.1} KiB");
        rows.push(Row::new("server memory per connection", per_connection));
        rows.push(Row::count("server descriptors at the end", server.descriptors));
    }
    let own = format!("{:.2} of {} cores", report.own_cores, report.own_threads);
    rows.push(Row::new("load tool CPU", own));
    if has_units {
        let per_delivery = format!("{:.2} us", report.own_cpu_us_per_delivery);
        rows.push(Row::new(format!("load tool CPU per {each}"), per_delivery));
    }
    rows
}

fn load(report: &Report) -> Vec<Row> {
    let mut rows = vec![
        Row::new("scenario", report.scenario.clone()),
        Row::new("server", report.url.clone()),
        Row::count("connections", report.connections.into()),
    ];
    let rate = report.rate.map_or("as fast as acknowledged".to_owned(), |rate| format!("{rate} per second"));
    rows.push(Row::new("rate", rate));
    rows.push(Row::new("message size", format!("{} bytes", report.size)));
    rows.push(Row::new("time until the last acknowledgement", format!("{:.1} s", report.seconds)));
    rows.push(Row::new("acknowledged per second", format!("{:.0}", report.acknowledged_per_second)));
    if report.deliveries_per_second > 0.0 {
        rows.push(Row::new("deliveries per second", format!("{:.0}", report.deliveries_per_second)));
    }
    if report.reconnects > 0 {
        rows.push(Row::count("reconnects", report.reconnects));
    }
    if let Some(paged) = report.paged {
        rows.push(Row::count("history pages read", paged.pages));
        rows.push(Row::new("delivery p50 with pages, ratio to without", format!("{:.2}", paged.p50_ratio)));
        rows.push(Row::new("delivery p99 with pages, ratio to without", format!("{:.2}", paged.p99_ratio)));
    }
    rows.extend(report.endings.iter().map(|(ending, count)| Row::count(format!("ended: {ending}"), *count)));
    rows
}

fn environment(report: &Report) -> Vec<Row> {
    let of = &report.environment;
    let server = of.server.clone().unwrap_or_default();
    let rows = [
        ("command", &of.command),
        ("load tool", &of.tool),
        ("server program", &server),
        ("date", &of.date),
        ("CPU", &of.cpu),
        ("memory", &of.memory),
        ("system", &of.system),
    ];
    rows.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| Row::new(name, value))
        .collect()
}

fn latency_note(timeline: &[Point]) -> String {
    let longest = timeline.iter().map(|point| point.seconds).fold(0.0, f64::max);
    format!("A point covers up to {longest:.2} s.")
}

impl LatencyPoint {
    fn of_point(point: &Point) -> Self {
        let ms = |microseconds: u64| microseconds as f64 / 1e3;
        Self {
            at: point.end,
            per_second: Some(point.latency.map_or(0.0, |of| of.count as f64 / point.seconds)),
            milliseconds: point.latency.map(|of| [ms(of.p50), ms(of.p99), ms(of.max)]),
        }
    }
}

impl ResourcePoint {
    fn of_point(point: &Point) -> Self {
        Self {
            at: point.end,
            server_cores: point.server_cores,
            tool_cores: point.own_cores,
            server_kib: point.server_rss_kib,
        }
    }
}
