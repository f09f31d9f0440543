//! The scenario of round trips.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use chat_client::socket::{Received, Socket, Target};
use chat_client::{Command, RawEvent};
use tokio::time::sleep;

use super::Outcome;
use crate::check::Stream;
use crate::clock;
use crate::load::{Load, Measured};
use crate::options::RoundTrip;

pub(super) async fn echo(load: &Arc<Load>, what: RoundTrip) -> Result<Outcome> {
    let connect = |n: usize| {
        let load = Arc::clone(load);
        async move {
            if what == RoundTrip::Ping {
                return load.connect(n).await;
            }
            let target = Target { offer: false, name: None, ..load.target(n) };
            Ok(Socket::connect(&target).await?)
        }
    };
    let count = load.common.connections();
    let sockets = load.connect_all(count, connect).await?;
    load.begin(Measured::RoundTrips)?;
    let start = clock::now();
    let mut tasks = tokio::task::JoinSet::new();
    let each = load.common.rate / count as f64;
    for (n, socket) in sockets.into_iter().enumerate() {
        tasks.spawn(round_trips(Arc::clone(load), what, socket, n, start, each));
    }
    load.wait("round trips", load.common.duration + load.common.patience, || {
        tasks.is_empty() || {
            while tasks.try_join_next().is_some_and(|joined| joined.is_ok()) {}
            tasks.is_empty()
        }
    })
    .await;
    load.end()?;
    let sent = load.sent.load(Ordering::Relaxed);
    let back = load.acknowledged.load(Ordering::Relaxed);
    let mut outcome = Outcome::default();
    outcome.tally.lost = sent.saturating_sub(back);
    let disordered = load.delivered.load(Ordering::Relaxed);
    if disordered > 0 {
        outcome.failures.push(format!("{disordered} replies were out of order"));
    }
    Ok(outcome)
}

/// Runs the round trips of one connection. Each is due `1/rate` after the one before. They may overlap.
async fn round_trips(load: Arc<Load>, what: RoundTrip, mut socket: Socket, n: usize, start: u64, rate: f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a run is short")]
    let (total, gap) = ((rate * load.common.duration.as_secs_f64()).ceil() as u64, (1e6 / rate) as u64);
    let filler = "x".repeat(load.common.size as usize);
    let text = |number: u64| match what {
        RoundTrip::Ping => Command::Ping.encode(Some(&number.to_string())),
        RoundTrip::Text => format!("{number} {filler}"),
    };
    // The connections start one after another, so that their round trips are not due at the same time.
    let first = start + gap * n as u64 / u64::from(load.common.connections).max(1);
    let mut outbox = VecDeque::new();
    let mut stream = Stream::after(0);
    let (mut written, mut back) = (0, 0);
    while back < total {
        let due = first + gap * written;
        let wait = Duration::from_micros(due.saturating_sub(clock::now()));
        let received = tokio::select! {
            () = sleep(wait), if written < total && outbox.len() < 64 && !load.is_stopped() => {
                written += 1;
                load.sent.fetch_add(1, Ordering::Relaxed);
                outbox.push_back(text(written).into());
                continue;
            }
            received = poll_fn(|cx| socket.poll_exchange(cx, &mut outbox, true)) => received,
        };
        match received {
            Ok(Received::Text(came)) => {
                let number = match what {
                    RoundTrip::Ping => RawEvent::parse(&came)
                        .ok()
                        .filter(|event| event.kind == "pong")
                        .and_then(|event| event.reference.parse().ok()),
                    RoundTrip::Text => came.split(' ').next().and_then(|number| number.parse().ok()),
                };
                let number = number.filter(|number| what == RoundTrip::Ping || *came == *text(*number));
                stream.receive(number.unwrap_or(0));
                back += 1;
                load.acknowledged.fetch_add(1, Ordering::Relaxed);
                load.round_trip.record(n, first + gap * number.unwrap_or(1).saturating_sub(1));
            }
            Ok(Received::Control) => {}
            Err(lost) => {
                load.record_lost(&lost);
                break;
            }
        }
    }
    let tally = stream.tally(back);
    // This counts only the order. The caller counts the missing round trips.
    load.delivered.fetch_add(tally.duplicated + tally.out_of_order + tally.lost, Ordering::Relaxed);
}
