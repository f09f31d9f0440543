//! The cost of hostile clients: appends of an innocent room beside messages that are expensive to index, and searches
//! that are expensive to answer. Compare the ratios, not the times.
//!
//! `cargo bench -p chat-sqlite --bench abuse [-- DIR]`

#![expect(clippy::print_stdout, reason = "the benchmark prints its figures")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::{CommitSink, Limits, NewMessage, Room, Search, User};
use chat_sqlite::{Options, SqliteStore};
use serde_json::value::RawValue;

const ROUND: Duration = Duration::from_secs(3);

/// Messages of the room that is searched.
const HISTORY: usize = 20_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let dir = tempfile::tempdir_in(base.unwrap_or_else(std::env::temp_dir))?;
    let mut alone = Duration::ZERO;
    for attackers in [0, 1, 4, 16] {
        let store = SqliteStore::open(dir.path().join(attackers.to_string()), Options::default())?;
        let (p50, p99, attacks) = innocent_appends(&store, attackers).await?;
        if attackers == 0 {
            alone = p50;
        }
        let ratio = p50.as_secs_f64() / alone.as_secs_f64();
        println!(
            "{attackers} attackers, {attacks} messages: p50 {p50:.1?} ({ratio:.1} times), p99 {p99:.1?}"
        );
        store.close_blocking();
    }
    searches(&SqliteStore::open(dir.path().join("searches"), Options::default())?).await
}

fn room(store: &SqliteStore, name: &str) -> Result<Arc<dyn Room>, Box<dyn std::error::Error>> {
    let limits = Limits::default().with(|limits| limits.rooms.call_timeout = Duration::from_secs(60));
    Ok(store.room(name.parse()?, Arc::new(limits), CommitSink::new(|_| ())))
}

fn message(body: &serde_json::Value) -> NewMessage {
    let user = User::guest("ann").expect("a name");
    NewMessage::new(user, RawValue::from_string(body.to_string()).expect("JSON"))
}

/// Returns the median and the 99th percentile of the times of appends, and the number of messages of the attackers.
async fn innocent_appends(
    store: &SqliteStore,
    attackers: usize,
) -> Result<(Duration, Duration, usize), Box<dyn std::error::Error>> {
    let lobby = room(store, "lobby")?;
    let start = Instant::now();
    // Each of these characters becomes 18 when it is folded.
    let hostile = serde_json::json!({ "text": "hi", "x": "\u{fdfa}".repeat(16 * 1024 / 3) });
    let mut attacks = Vec::new();
    for n in 0..attackers {
        let (own, hostile) = (room(store, &format!("attack-{n}"))?, hostile.clone());
        attacks.push(tokio::spawn(async move {
            let mut sent = 0;
            while start.elapsed() < ROUND {
                own.append(message(&hostile)).await.expect("appended");
                sent += 1;
            }
            sent
        }));
    }
    let mut times = Vec::new();
    while start.elapsed() < ROUND {
        let sent = Instant::now();
        lobby.append(message(&serde_json::json!({ "text": "hello" }))).await?;
        times.push(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut sent = 0;
    for attack in attacks {
        sent += attack.await?;
    }
    times.sort_unstable();
    Ok((times[times.len() / 2], times[times.len() * 99 / 100], sent))
}

async fn searches(store: &SqliteStore) -> Result<(), Box<dyn std::error::Error>> {
    let lobby = room(store, "lobby")?;
    let appends: Vec<_> = (0..HISTORY)
        .map(|n| {
            let lobby = Arc::clone(&lobby);
            let text = format!("message {n} the quick brown fox jumps over lazy dogs {}", n % 97);
            tokio::spawn(async move { lobby.append(message(&serde_json::json!({ "text": text }))).await })
        })
        .collect();
    for append in appends {
        append.await??;
    }
    // The index is built within this time.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let letters = "q u i c k b r o w n f x j m p s v e l a z y d g t h 1 2 3 4 5";
    for (name, query) in [("short words", format!("{letters} €")), ("one word", "quick€".to_owned())] {
        let start = Instant::now();
        for _ in 0..5 {
            // Times out or finds nothing.
            let search = Search::new(query.clone(), 20);
            let _found = lobby.search(search).await;
        }
        println!("a search for {name} in {HISTORY} messages: {:.2?}", start.elapsed() / 5);
    }
    store.close_blocking();
    Ok(())
}
