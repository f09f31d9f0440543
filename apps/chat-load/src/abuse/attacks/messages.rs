//! Messages that are expensive to store.

use super::{Attack, join, letters, send};
use crate::abuse::peer::text;

/// A character that becomes 18 when it is folded for the search index.
const FOLDS_TO_18: &str = "\u{fdfa}";

fn expensive_text() -> String {
    format!(r#"{{"text":"{}"}}"#, FOLDS_TO_18.repeat(4_096 / FOLDS_TO_18.len()))
}

pub(super) const FOLDING: Attack = Attack::new(
    "folding",
    "Messages with a text, or a field beside it, that is expensive to index",
    &["sent", "body_too_large"],
    |attacker, n| {
        Box::pin(async move {
            let Some(peer) = attacker.guest(n, &format!("attacker-{n}")).await else { return };
            let room = format!("folding-{n}");
            let beside = format!(r#"{{"text":"a","more":"{}"}}"#, FOLDS_TO_18.repeat(5_000));
            let (beside, folds) = (text(&send(&room, &beside)), text(&send(&room, &expensive_text())));
            peer.play(2.0 * attacker.rate, |number| match number {
                0 => text(&join(&room)),
                // Ten errors within 10 s would end the connection.
                number if number % 200 == 1 => beside.clone(),
                _ => folds.clone(),
            })
            .await;
        })
    },
);

pub(super) const KEYS: Attack = Attack::new(
    "keys",
    "Messages of one user with ever new keys, and repetitions of keys with another body",
    &["sent", "key_conflict"],
    |attacker, n| {
        Box::pin(async move {
            let Some(peer) = attacker.guest(n, &format!("attacker-{}", n / 2)).await else { return };
            let room = format!("keys-{}", n / 2);
            peer.play(4.0 * attacker.rate, |number| match number {
                0 => text(&join(&room)),
                number if number % 200 == 2 => text(&keyed(&room, &format!("{n}-{}", number - 1), "b")),
                _ => text(&keyed(&room, &format!("{n}-{number}"), "a")),
            })
            .await;
        })
    },
);

fn keyed(room: &str, key: &str, body: &str) -> String {
    format!(r#"{{"type":"send","room":"{room}","key":"{key}","body":{{"text":"{body}"}}}}"#)
}

pub(super) const DISK: Attack = Attack {
    options: &["--max-disk", "32M"],
    // The quota counts for all users.
    refusals: &["unavailable"],
    errors: &["disk quota reached"],
    // The quota, and 64 MiB for the write-ahead logs.
    disk_mib: Some(32 + 64),
    ..Attack::new(
        "disk",
        "The largest messages, until the quota of the disk is used",
        &["sent", "unavailable"],
        |attacker, n| {
            Box::pin(async move {
                let Some(peer) = attacker.guest(n, &format!("attacker-{n}")).await else { return };
                let room = format!("disk-{n}");
                let large = [letters(4_096), expensive_text()].map(|body| text(&send(&room, &body)));
                peer.play(attacker.rate, |number| match number {
                    0 => text(&join(&room)),
                    _ => large[number % 2].clone(),
                })
                .await;
            })
        },
    )
};
