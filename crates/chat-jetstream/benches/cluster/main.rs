//! The costs of the store on three servers of NATS that sync each record, on loopback. Measurements that are compared
//! run in turn in each round, and their ratio is that of one round.
//!
//! `cargo bench -p chat-jetstream --bench cluster [-- ROUNDS]`. `nats-server` must be in `PATH`, or `NATS_SERVER` must
//! be its path.

#![expect(clippy::print_stdout, reason = "the benchmark prints its figures")]

mod appends;
mod nodes;
mod reads;
#[path = "../../tests/support/servers.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod servers;

use std::error::Error;

use serde_json::json;

use crate::nodes::Nodes;
use crate::servers::Servers;

/// The streams of the second chat.
const STREAMS: usize = 4;

/// The bounds of ratios and of a difference in milliseconds.
const APPEND_BOUND: f64 = 1.3;
const DELIVERY_BOUND_MS: f64 = 2.0;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let servers = Servers::start_with(3, |config| config["jetstream"]["sync_interval"] = json!("always"));
    let client = servers.ready().await;
    let nodes = Nodes::open(&servers, &client, ("chat", 1)).await?;
    Nodes::create_raw(&client).await?;
    let streams = Nodes::open(&servers, &client, ("streams", STREAMS)).await?;
    appends::run(&nodes, &streams, rounds).await?;
    drop(streams);
    reads::run(&nodes, &servers).await
}

/// Returns the median of some values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Returns the value below which this percentage of the values is.
fn share(values: &mut [f64], percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((values.len() * percent / 100).min(last)).copied().unwrap_or_default()
}
