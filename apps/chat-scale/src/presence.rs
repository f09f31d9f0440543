//! Signs of life between nodes: the time to notice a death, against the nodes that are taken for dead.

use fastrand::Rng;

use crate::figures::{BEAT, GRACE, NODES, SILENCE};
use crate::sample::{exponential, uniform};
use crate::table::{Table, number, time};

/// Stalls of a node per hour, and the mean of their duration. They are assumptions.
const STALLS: (f64, f64) = (1.0, 3.0);

/// Hours that are simulated.
const HOURS: f64 = 2_000.0;

/// The network between two nodes.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// The probability that a sign of life is lost.
    pub loss: f64,
    /// True if nodes stall.
    pub stalls: bool,
}

/// Returns the silences between the signs of life of a node, of more than two intervals, in some hours.
pub fn silences(network: &Network, hours: f64, seed: u64) -> Vec<f64> {
    let mut random = Rng::with_seed(seed);
    let end = hours * 3_600.0;
    let between = 3_600.0 / STALLS.0;
    let mut stall = (f64::INFINITY, f64::INFINITY);
    if network.stalls {
        let from = exponential(&mut random, between);
        stall = (from, from + exponential(&mut random, STALLS.1));
    }
    let (mut last, mut beat) = (0.0, 0.0);
    let mut silences = Vec::new();
    while beat < end {
        beat += BEAT.value;
        if beat >= stall.0 {
            // The node goes on with a sign of life as soon as it runs again.
            beat = beat.max(stall.1);
            let from = stall.1 + exponential(&mut random, between);
            stall = (from, from + exponential(&mut random, STALLS.1));
        }
        if random.f64() >= network.loss {
            let at = beat + uniform(&mut random, (0.0, 0.005));
            if at - last > 2.0 * BEAT.value {
                silences.push(at - last);
            }
            last = at;
        }
    }
    silences
}

/// Returns the nodes that are taken for dead by mistake, and the users of whom others see a false `left`.
pub fn tables(seed: u64) -> Vec<Table> {
    let header = [
        "silence",
        "wait until `left`",
        "a death is told after",
        "network",
        "false deaths per hour",
        "false `left` per hour",
    ];
    let mut table = Table::new("presence", header);
    let networks = [
        ("10 % lost", Network { loss: 0.1, stalls: false }),
        ("30 % lost", Network { loss: 0.3, stalls: false }),
        ("stalls", Network { loss: 0.0, stalls: true }),
    ];
    for (name, network) in networks {
        let silences = silences(&network, HOURS, seed);
        // A loss concerns one pair of nodes. A stall of a node is one for all others.
        let senders = if network.stalls { NODES.value } else { NODES.value * (NODES.value - 1.0) };
        for (silence, grace) in
            [(SILENCE.value, 0.0), (SILENCE.value, GRACE.value), (8.0, GRACE.value), (SILENCE.value, 30.0)]
        {
            let per_hour = |limit: f64| {
                silences.iter().filter(|length| **length > limit).count() as f64 * senders / HOURS
            };
            table.row([
                time(silence),
                time(grace),
                time(silence + BEAT.value / 2.0 + grace),
                name.to_owned(),
                number(per_hour(silence)),
                number(per_hour(silence + grace)),
            ]);
        }
    }
    vec![table]
}
