//! Connections that are made and ended at a rate.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{MissedTickBehavior, interval};

use super::{Attack, join};
use crate::abuse::peer::{text, upgrade_request};

pub(super) const CONNECTS: Attack = Attack::new(
    "connects",
    "TCP connections that are ended at once, after half a head, after a request, or with a reset",
    &["connected"],
    |attacker, n| {
        Box::pin(async move {
            let request = upgrade_request(&format!("attacker-{n}"), "");
            let mut ticks = interval(Duration::from_secs_f64(1.0 / attacker.rate));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in 0.. {
                ticks.tick().await;
                let Some(mut stream) = attacker.connect(n, None).await else { continue };
                attacker.count("connected");
                let bytes = match number % 4 {
                    0 => "",
                    1 => &request[..40],
                    2 => &request,
                    _ => {
                        let _reset = stream.set_zero_linger().is_ok();
                        ""
                    }
                };
                let _written = stream.write_all(bytes.as_bytes()).await.is_ok();
            }
        })
    },
);

pub(super) const UPGRADES: Attack = Attack::new(
    "upgrades",
    "Sessions that join a room and end at once, without a close",
    &["101"],
    |attacker, n| {
        Box::pin(async move {
            let name = format!("attacker-{n}");
            let mut ticks = interval(Duration::from_secs_f64(1.0 / attacker.rate));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Some(mut peer) = attacker.guest(n, &name).await {
                    peer.write(&text(&join("hall"))).await;
                }
            }
        })
    },
);
