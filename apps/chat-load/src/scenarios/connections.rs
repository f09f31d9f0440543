//! Scenarios with idle connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{sleep, timeout};

use super::Outcome;
use crate::clock;
use crate::load::{Load, Measured};

pub(super) async fn storm(load: &Arc<Load>) -> Result<Outcome> {
    load.begin(Measured::Connections)?;
    let count = load.common.rate * load.common.duration.as_secs_f64();
    ensure!(count <= 10_000_000.0, "more than 10 million connections in one run");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let count = count as usize;
    let start = clock::now();
    let mut connections = tokio::task::JoinSet::new();
    for n in 0..count {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a run is short")]
        let due = start + (n as f64 / load.common.rate * 1e6) as u64;
        if load.is_stopped() {
            break;
        }
        if due > clock::now() {
            sleep(Duration::from_micros(due - clock::now())).await;
        }
        load.sent.fetch_add(1, Ordering::Relaxed);
        load.show_progress("connecting");
        let load = Arc::clone(load);
        connections.spawn(async move {
            match load.connect(n).await {
                Ok(socket) => {
                    load.connect.record(n, due);
                    load.acknowledged.fetch_add(1, Ordering::Relaxed);
                    Some(socket)
                }
                Err(error) => {
                    load.record_ending(format!("{error:#}"));
                    None
                }
            }
        });
    }
    let limit = load.common.patience;
    let mut sockets = Vec::new();
    let all = async {
        while let Some(connected) = connections.join_next().await {
            sockets.extend(connected.ok().flatten());
        }
    };
    let in_time = timeout(limit, all).await.is_ok();
    load.end()?;
    let mut outcome = Outcome::default();
    if !in_time {
        outcome.failures.push(format!("not all connections were open after {limit:?}"));
    }
    outcome.notes.push(format!("{} connections were open at the end", sockets.len()));
    Ok(outcome)
}

pub(super) async fn idle(load: &Arc<Load>) -> Result<Outcome> {
    let sockets = load.connect_all(load.common.connections(), |n| load.connect(n)).await?;
    // The allocator of the server needs a moment to settle.
    sleep(Duration::from_millis(500)).await;
    load.begin(Measured::Deliveries)?;
    let held = sockets.len();
    for mut socket in sockets {
        let load = Arc::clone(load);
        tokio::spawn(async move {
            loop {
                if let Err(lost) = socket.receive().await {
                    load.record_lost(&lost);
                    return;
                }
            }
        });
    }
    load.wait("idle", load.common.duration, || false).await;
    load.end()?;
    Ok(Outcome { notes: vec![format!("{held} connections were held open")], ..Outcome::default() })
}
