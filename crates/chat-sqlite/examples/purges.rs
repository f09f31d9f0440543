//! Measures the time of appends to another room, without a purge and during a purge of 100,000 messages.
//!
//! ```text
//! cargo run --release -p chat-sqlite --example purges
//! ```

#![expect(clippy::print_stdout, reason = "the result is for the caller")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::{Act, CommitSink, Limits, NewAct, NewMessage, RawValue, Room, User};
use chat_sqlite::{Options, SqliteStore};
use futures_util::future::join_all;

const MESSAGES: usize = 100_000;
const BATCH: usize = 500;
const SAMPLES: usize = 1_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let store = SqliteStore::open(dir.path(), Options::default())?;
    let open = |name: &str| -> Result<Arc<dyn Room>, Box<dyn std::error::Error>> {
        Ok(store.room(name.parse()?, Arc::new(Limits::default()), CommitSink::new(|_| ())))
    };
    let (lobby, other) = (open("lobby")?, open("other")?);
    let (eve, bob) = (User::new("eve", "Eve")?, User::new("bob", "Bob")?);
    for _ in 0..MESSAGES / BATCH {
        let appends = (0..BATCH).map(|_| lobby.append(message(&eve)));
        join_all(appends).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    let mut before = Vec::new();
    while before.len() < SAMPLES {
        before.push(timed(&other, &bob).await?);
    }
    let act = NewAct::new(bob.clone(), Act::Purge { user: eve }).by_host();
    let started = Instant::now();
    let purge = tokio::spawn({
        let lobby = Arc::clone(&lobby);
        async move { lobby.purge(act).await }
    });
    let mut during = Vec::new();
    while !purge.is_finished() {
        during.push(timed(&other, &bob).await?);
    }
    purge.await??;
    println!("a purge of {MESSAGES} messages: {:.1} s", started.elapsed().as_secs_f64());
    for (when, times) in [("before", &mut before), ("during", &mut during)] {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
        println!("append {when}: median {:.2} ms, 99 % {:.2} ms, {} appends", at(50), at(99), times.len());
    }
    store.close_blocking();
    Ok(())
}

fn message(user: &User) -> NewMessage {
    let body = RawValue::from_string(r#"{"text":"this is a message of a usual length"}"#.to_owned());
    NewMessage::new(user.clone(), body.unwrap_or_else(|_| RawValue::NULL.to_owned()))
}

/// Appends a message, and returns the time that it took.
async fn timed(room: &Arc<dyn Room>, user: &User) -> Result<Duration, Box<dyn std::error::Error>> {
    let started = Instant::now();
    room.append(message(user)).await?;
    Ok(started.elapsed())
}
