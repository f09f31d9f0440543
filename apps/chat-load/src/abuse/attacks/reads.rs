//! Commands with expensive or long replies.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Attack, join, letters, send};
use crate::abuse::attacker::Attacker;
use crate::abuse::peer::text;

/// The messages that each connection puts into the room before the attack: its tokens at once allow 200.
const FILLED_BY_ONE: usize = 150;

/// The time for which a connection fills the room.
const FILLING: Duration = Duration::from_secs(2);

/// The connections of which one sends messages, so that the write-ahead log grows while others read.
const SENDERS: usize = 4;

async fn fill(attacker: Arc<Attacker>, n: usize, body: impl Fn(usize) -> String) {
    let Some(peer) = attacker.guest(n, &format!("filler-{n}")).await else { return };
    let filling = peer.play(200.0, |number| match number {
        0 => text(&join("target")),
        1..FILLED_BY_ONE => text(&send("target", &body(number))),
        _ => text(r#"{"type":"ping"}"#),
    });
    let _filled = timeout(FILLING, filling).await.is_ok();
}

pub(super) const SEARCHES: Attack = Attack {
    prepare: Some(|attacker, n| {
        Box::pin(fill(attacker, n, |number| {
            let words = "the quick brown fox jumps over lazy dogs ".repeat(10);
            format!(r#"{{"text":"message {number} {words}"}}"#)
        }))
    }),
    ..Attack::new(
        "searches",
        "Expensive searches that overlap, beside large messages",
        &["found", "sent"],
        |attacker, n| {
            Box::pin(async move {
                let Some(peer) = attacker.guest(n, &format!("attacker-{n}")).await else { return };
                let letters_query = "q u i c k b r o w n f x j m p s v e l a z y d g t h 1 2 3 4 5 €";
                let large = send("target", &letters(4_096));
                peer.play(10.0_f64.min(attacker.rate), |number| {
                    let query = match number {
                        0 => return text(&join("target")),
                        _ if n.is_multiple_of(SENDERS) => return text(&large).repeat(4),
                        number if number % 3 == 0 => letters_query,
                        number if number % 3 == 1 => "fox",
                        _ => "quick€",
                    };
                    text(&format!(r#"{{"type":"search","room":"target","query":"{query}","limit":100}}"#))
                })
                .await;
            })
        },
    )
};

pub(super) const PAGES: Attack = Attack {
    prepare: Some(|attacker, n| Box::pin(fill(attacker, n, |_| letters(4_000)))),
    ..Attack::new(
        "pages",
        "Short commands with the longest replies, all of which are read",
        &["history", "members", "message", "joined"],
        |attacker, n| {
            Box::pin(async move {
                let Some(peer) = attacker.guest(n, &format!("attacker-{n}")).await else { return };
                peer.play(attacker.rate / 4.0, read_command).await;
            })
        },
    )
};

pub(super) const STALLED: Attack = Attack {
    prepare: PAGES.prepare,
    ..Attack::new(
        "stalled",
        "The same commands by readers that read nothing, in a room with large messages",
        &["sent"],
        |attacker, n| {
            Box::pin(async move {
                let name = format!("attacker-{n}");
                if n.is_multiple_of(SENDERS) {
                    let Some(peer) = attacker.guest(n, &name).await else { return };
                    let large = send("target", &letters(4_096));
                    let frame = |number| text(if number == 0 { JOIN_TARGET } else { &large });
                    return peer.play(attacker.rate, frame).await;
                }
                let Some(peer) = attacker.narrow_guest(n, &name).await else { return };
                peer.play_unread(attacker.rate / 4.0, read_command).await;
            })
        },
    )
};

const JOIN_TARGET: &str = r#"{"type":"join","room":"target"}"#;

/// Returns one of the commands with the longest replies.
fn read_command(number: usize) -> Vec<u8> {
    text(match number % 4 {
        0 => r#"{"type":"join","room":"target","last":9007199254740991}"#,
        1 => r#"{"type":"history","room":"target","limit":200}"#,
        2 => r#"{"type":"members","room":"target","limit":1000}"#,
        _ => r#"{"type":"history","room":"target","after":0,"limit":200}"#,
    })
}
