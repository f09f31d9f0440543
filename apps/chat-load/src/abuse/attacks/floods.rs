//! Frames as fast as the server reads them.

use super::{Attack, join};
use crate::abuse::peer::{ping, text};

/// A flood has this many times the rate: more than the server reads from one connection.
const FLOOD: f64 = 40.0;

pub(super) const PINGS: Attack =
    Attack::new("pings", "WebSocket pings, as fast as the server reads", &["pong frame"], |attacker, n| {
        Box::pin(async move {
            let Some(peer) = attacker.guest(n, &format!("attacker-{n}")).await else { return };
            peer.play(attacker.rate * FLOOD, |_| ping()).await;
        })
    });

pub(super) const COMMANDS: Attack = Attack::new(
    "commands",
    "Commands as fast as the server reads, until it closes the connections after 10 s",
    &["pong", "rate_limited", "4002"],
    |attacker, n| {
        Box::pin(async move {
            let Some(peer) = attacker.guest(n, &format!("attacker-{n}")).await else { return };
            peer.play(attacker.rate * FLOOD, |number| match number % 4 {
                0 => text(&join("hall")),
                _ => text(r#"{"type":"ping"}"#),
            })
            .await;
        })
    },
);

pub(super) const ERRORS: Attack = Attack::new(
    "errors",
    "Commands that are invalid, with a new connection after each close",
    &["bad_json", "bad_command", "4500"],
    |attacker, n| {
        Box::pin(async move {
            let Some(peer) = attacker.guest(n, &format!("attacker-{n}")).await else { return };
            peer.play(attacker.rate * FLOOD, |number| match number % 3 {
                0 => text(&"[".repeat(2_000)),
                1 => text(r#"{"type":"send","room":7}"#),
                _ => text(r#"{"type":"join","type":"join"}"#),
            })
            .await;
        })
    },
);
