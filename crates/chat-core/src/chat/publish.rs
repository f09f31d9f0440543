//! The metrics of a chat, for the crate `metrics`.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::Chat;
use crate::session::Mechanism;
use crate::{Health, Stats};

/// The counters, with their descriptions.
const COUNTERS: [(&str, &str); 17] = [
    ("chat_upgrades_total", "Requests for an upgrade."),
    ("chat_session_ends_total", "Ended sessions."),
    ("chat_joins_total", "Joins of rooms, resumes included."),
    ("chat_resumes_total", "Joins from a position."),
    ("chat_appends_total", "Messages and changes that were stored through this server."),
    ("chat_duplicates_total", "Repeated messages, edits and deletions, which were not stored again."),
    ("chat_deliveries_total", "Events of rooms that were given to a connection."),
    ("chat_gaps_total", "Gap events that were sent to one connection."),
    (
        "chat_catch_up_pages_total",
        "Pages of a log that were read for a connection behind the tail of its room.",
    ),
    ("chat_errors_total", "Error events."),
    ("chat_limit_hits_total", "Connections, commands and messages that a limit has refused."),
    ("chat_drain_refusals_total", "Connections that were refused during a drain."),
    ("chat_received_bytes_total", "Bytes of messages that sessions have read."),
    ("chat_sent_bytes_total", "Bytes of messages that sessions and rooms have sent."),
    ("chat_store_failures_total", "Calls of the store that failed."),
    ("chat_store_timeouts_total", "Calls of the store without an answer in time."),
    ("chat_handshake_refusals_total", "Requests for an upgrade that were refused."),
];

/// The gauges, with their descriptions.
const GAUGES: [(&str, &str); 9] = [
    ("chat_connections", "Open connections."),
    ("chat_sessions", "Open sessions."),
    ("chat_rooms", "Open rooms."),
    ("chat_memory_bytes", "Bytes of tails and of rooms in memory."),
    ("chat_lagging_readers", "Connections that read a log because they are behind the tail of a room."),
    ("chat_read_queue_waiting", "Reads that wait for their turn."),
    ("chat_opening_queue_waiting", "Rooms that wait to be opened."),
    ("chat_draining", "1 during a drain and after it, otherwise 0."),
    ("chat_store_health", "1 for the present state of the store, otherwise 0."),
];

/// The histograms, with their units and descriptions.
const HISTOGRAMS: [(&str, Unit, &str); 2] = [
    ("chat_append_seconds", Unit::Seconds, "Time of an append, from the command to the answer of the store."),
    (
        "chat_reader_lag_entries",
        Unit::Count,
        "Entries that a connection is behind when it reads a page of a log.",
    ),
];

/// Describes the metrics of a chat to the recorder of the crate `metrics`. A host calls it once, after it has installed
/// the recorder.
pub fn describe_metrics() {
    for (name, description) in COUNTERS {
        describe_counter!(name, description);
    }
    for (name, description) in GAUGES {
        describe_gauge!(name, description);
    }
    for (name, unit, description) in HISTOGRAMS {
        describe_histogram!(name, unit, description);
    }
}

impl Chat {
    /// Publishes the counters and the present state of the chat to the recorder of the crate `metrics`.
    ///
    /// A host calls it before each scrape, or every few seconds. The chat itself counts without the recorder, so that a
    /// delivery costs one addition. Only two histograms are recorded as things happen: `chat_append_seconds` for each
    /// message that is stored, and `chat_reader_lag_entries` for each page of a log that a lagging connection reads.
    ///
    /// No label has a value that clients choose, so the number of time series has a bound. `docs/operations.md`
    /// describes each metric. Chats of one process publish the same names: give each its own recorder, with
    /// `metrics::with_local_recorder`.
    ///
    /// ```
    /// use chat_core::{Chat, describe_metrics};
    ///
    /// // Once, after `metrics::set_global_recorder`.
    /// describe_metrics();
    /// let chat = Chat::default();
    /// // Before each scrape.
    /// chat.publish_metrics();
    /// ```
    pub fn publish_metrics(&self) {
        self.publish_state();
        let stats = self.stats();
        publish_connections(&stats);
        publish_rooms(&stats);
        publish_limits(&stats);
        for (name, ..) in HISTOGRAMS {
            // A histogram without values is exported too.
            drop(histogram!(name));
        }
    }

    fn publish_state(&self) {
        for (mechanism, name) in Mechanism::ALL {
            let (connections, sessions) = self.shared.sessions.open(mechanism);
            gauge!("chat_connections", "mechanism" => name).set(connections as f64);
            gauge!("chat_sessions", "mechanism" => name).set(sessions as f64);
        }
        let counts = self.counts();
        gauge!("chat_rooms").set(counts.rooms as f64);
        gauge!("chat_memory_bytes").set(counts.memory_bytes as f64);
        gauge!("chat_draining").set(f64::from(u8::from(self.is_draining())));
        let (searches, history) = self.shared.reads.waiting();
        gauge!("chat_read_queue_waiting", "queue" => "search").set(searches as f64);
        gauge!("chat_read_queue_waiting", "queue" => "history").set(history as f64);
        gauge!("chat_opening_queue_waiting").set(self.rooms().openings.waiting() as f64);
        let present = match self.health() {
            Health::Ready => "ready",
            Health::Degraded(_) => "degraded",
            Health::Unreachable(_) => "unreachable",
        };
        for state in ["ready", "degraded", "unreachable"] {
            let value = f64::from(u8::from(state == present));
            gauge!("chat_store_health", "state" => state).set(value);
        }
    }
}

fn publish_connections(stats: &Stats) {
    counter!("chat_upgrades_total", "outcome" => "accepted").absolute(stats.upgrades);
    counter!("chat_upgrades_total", "outcome" => "abandoned").absolute(stats.abandoned_upgrades);
    let refused = stats.handshakes.values().sum();
    counter!("chat_upgrades_total", "outcome" => "refused").absolute(refused);
    for (code, count) in &stats.handshakes {
        counter!("chat_handshake_refusals_total", "code" => *code).absolute(*count);
    }
    // An alert sees the first panic only as an increase.
    counter!("chat_session_ends_total", "cause" => "panic", "code" => "1011").absolute(0);
    for (end, count) in &stats.ends {
        let code = end.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        counter!("chat_session_ends_total", "cause" => end.cause, "code" => code).absolute(*count);
    }
    for (code, count) in &stats.errors {
        counter!("chat_errors_total", "code" => code.clone()).absolute(*count);
    }
    counter!("chat_received_bytes_total").absolute(stats.bytes_read);
    counter!("chat_sent_bytes_total").absolute(stats.bytes_sent);
}

fn publish_rooms(stats: &Stats) {
    counter!("chat_joins_total").absolute(stats.joins);
    let resumes = &stats.resumes;
    for (recovered, source, count) in [
        ("true", "tail", resumes.from_tail),
        ("true", "log", resumes.from_log),
        ("false", "log", resumes.not_recovered),
    ] {
        counter!("chat_resumes_total", "recovered" => recovered, "source" => source).absolute(count);
    }
    let changes = &stats.changes;
    for (kind, count) in [
        ("message", stats.appends),
        ("edited", changes.edited),
        ("deleted", changes.deleted),
        ("reactions", changes.reactions),
        ("pinned", changes.pinned),
    ] {
        counter!("chat_appends_total", "kind" => kind).absolute(count);
    }
    counter!("chat_duplicates_total").absolute(stats.duplicates);
    counter!("chat_deliveries_total", "way" => "direct").absolute(stats.deliveries.direct);
    counter!("chat_deliveries_total", "way" => "session").absolute(stats.deliveries.by_session);
    counter!("chat_gaps_total").absolute(stats.gaps);
    counter!("chat_catch_up_pages_total").absolute(stats.catch_up_pages);
    gauge!("chat_lagging_readers").set(stats.lagging as f64);
    counter!("chat_store_failures_total").absolute(stats.store_failures);
    counter!("chat_store_timeouts_total").absolute(stats.store_timeouts);
}

fn publish_limits(stats: &Stats) {
    let (refusals, limited) = (&stats.refusals, &stats.rate_limited);
    for (limit, count) in [
        ("connections", refusals.full),
        ("connections_per_user", refusals.full_for_user),
        ("connections_per_address", refusals.full_for_address),
        ("plain_connections_per_address", refusals.plain),
        ("command_rate", limited.connection),
        ("user_command_rate", limited.user),
        ("created_rooms", limited.created),
        ("searches", limited.searches),
        ("history_reads", limited.history),
        ("openings", stats.openings_refused),
        ("quota", stats.over_quota),
    ] {
        counter!("chat_limit_hits_total", "limit" => limit).absolute(count);
    }
    counter!("chat_drain_refusals_total").absolute(refusals.draining);
}
