//! Full tails and readers that do not read, beyond the memory budget.

use std::time::Duration;

use super::{Attack, CONNECTIONS, join, letters, send};
use crate::abuse::peer::text;

/// The rooms of one sender.
const ROOMS_OF_ONE: usize = 40;

/// The readers that do not read.
const READERS: usize = 300;

/// Messages per second of one sender.
const RATE: f64 = 400.0;

pub(super) const MEMORY_BUDGET: Attack = Attack {
    connections: CONNECTIONS + READERS,
    // At default rates, it would take minutes to fill the budget.
    lifts_limits: true,
    // Time to use up the budget.
    shortest: Duration::from_secs(15),
    bounds: (f64::INFINITY, f64::INFINITY),
    ..Attack::new(
        "memory",
        "Without rates: 640 rooms with full tails, and 300 readers that read nothing",
        &["sent"],
        |attacker, n| {
            Box::pin(async move {
                let name = format!("attacker-{n}");
                let room = |number: usize| format!("memory-{}-{}", n % CONNECTIONS, number % ROOMS_OF_ONE);
                let frame = |number| text(&join(&room(number)));
                if n >= CONNECTIONS {
                    let Some(peer) = attacker.narrow_guest(n, &name).await else { return };
                    // The server ends it after 15 s.
                    return peer.play_unread(50.0, frame).await;
                }
                let Some(peer) = attacker.guest(n, &name).await else { return };
                let body = letters(4_000);
                let message = |number| match number {
                    0..ROOMS_OF_ONE => frame(number),
                    _ => text(&send(&room(number), &body)),
                };
                peer.play(RATE, message).await;
            })
        },
    )
};
