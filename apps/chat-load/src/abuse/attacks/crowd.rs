//! Many connections of many addresses.

use super::{Attack, join, letters, send};
use crate::abuse::peer::text;

/// A connection of a crowd has the rate divided by this number.
const CALM: f64 = 20.0;

pub(super) const CROWD: Attack = Attack {
    connections: 1_000,
    addresses: 1_000,
    bounds: (20.0, f64::INFINITY),
    ..Attack::new(
        "crowd",
        "1,000 connections of 1,000 addresses: a third of them is one user; they send, read, and make errors",
        &["101", "429", "sent", "history", "rate_limited"],
        |attacker, n| {
            Box::pin(async move {
                let name = if n % 3 == 0 { "attacker".to_owned() } else { format!("attacker-{n}") };
                let Some(peer) = attacker.guest(n, &name).await else { return };
                let room = format!("crowd-{}", n / 20);
                let large = text(&send(&room, &letters(1_000)));
                let history = text(&format!(r#"{{"type":"history","room":"{room}","limit":200}}"#));
                peer.play(attacker.rate / CALM, |number| match (number, n % 5) {
                    (0, _) => text(&join(&room)),
                    (_, 0) => history.clone(),
                    (_, 1) => text(r#"{"type":"ping"}"#).repeat(40),
                    (_, 2) if n % 10 == 2 => text("{}"),
                    _ => large.clone(),
                })
                .await;
            })
        },
    )
};
