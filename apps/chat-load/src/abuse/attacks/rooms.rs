//! Many rooms, and many changes in one room.

use super::{Attack, join, letters, send};
use crate::abuse::peer::text;

pub(super) const ROOMS: Attack = Attack::new(
    "rooms",
    "Each connection holds as many empty rooms as it can, and goes on joining",
    &["joined", "too_many_rooms", "4500"],
    |attacker, n| {
        Box::pin(async move {
            // Half of the connections are one user, who has a limit over all connections.
            let name = if n.is_multiple_of(2) { "attacker".to_owned() } else { format!("attacker-{n}") };
            let Some(peer) = attacker.guest(n, &name).await else { return };
            peer.play(4.0 * attacker.rate, |number| text(&join(&format!("held-{n}-{number}")))).await;
        })
    },
);

/// The number of rooms of one connection.
const TAILS_OF_ONE: usize = 40;

pub(super) const TAILS: Attack = Attack::new(
    "tails",
    "Each connection fills many rooms with large messages, then leaves them",
    &["sent", "left"],
    |attacker, n| {
        Box::pin(async move {
            let body = letters(4_000);
            let Some(peer) = attacker.guest(n, &format!("attacker-{n}")).await else { return };
            let room = |number: usize| format!("tail-{n}-{}", number % TAILS_OF_ONE);
            peer.play(attacker.rate, |number| match number / TAILS_OF_ONE % 8 {
                0 => text(&join(&room(number))),
                7 => text(&format!(r#"{{"type":"leave","room":"{}"}}"#, room(number))),
                _ => text(&send(&room(number), &body)),
            })
            .await;
        })
    },
);

pub(super) const PRESENCE: Attack = Attack::new(
    "presence",
    "All connections join and leave one room, and type in it",
    &["joined", "left", "presence", "typing"],
    |attacker, n| {
        Box::pin(async move {
            let Some(peer) = attacker.guest(n, &format!("attacker-{n}")).await else { return };
            // A command without enough tokens would be followed by errors, which end the connection.
            peer.play(30.0_f64.min(attacker.rate), |number| match number % 4 {
                0 => text(&join("hall")),
                3 => text(r#"{"type":"leave","room":"hall"}"#),
                change => text(&format!(r#"{{"type":"typing","room":"hall","active":{}}}"#, change == 1)),
            })
            .await;
        })
    },
);
