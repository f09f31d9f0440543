//! Throughput of appends: with and without batches, with each durability, and in memory. All run in turn on one disk.
//!
//! `cargo bench -p chat-sqlite [-- DIR]`

#![expect(clippy::print_stdout, reason = "the benchmark prints its figures")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::{CommitSink, Limits, MemoryRoom, NewMessage, Range, Room, User};
use chat_sqlite::{Durability, Options, SqliteStore};
use serde_json::value::RawValue;

const ROUNDS: usize = 5;
const WRITERS: usize = 64;
const ROUND: Duration = Duration::from_millis(1_500);

/// Messages of the room that is read and searched.
const HISTORY: usize = 20_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let dir = tempfile::tempdir_in(base.unwrap_or_else(std::env::temp_dir))?;
    let process = Options::default().with(|options| options.durability = Durability::Process);
    let single = Options::default().with(|options| options.max_batch_messages = 1);
    let variants = [
        ("disk, batches", Some(Options::default())),
        ("disk, single", Some(single)),
        ("process, batches", Some(process)),
        ("memory", None),
    ];
    let mut rates = vec![Vec::new(); variants.len()];
    for round in 0..ROUNDS {
        for (variant, (name, options)) in variants.iter().enumerate() {
            let store = match options {
                Some(options) => {
                    Some(SqliteStore::open(dir.path().join(format!("{variant}-{round}")), options.clone())?)
                }
                None => None,
            };
            let appends = appends(&room(store.as_ref())?).await;
            let commits = store.as_ref().map_or(0, |store| store.stats().commits);
            println!("round {round}: {name}: {appends:.0} appends/s, {commits} commits");
            rates[variant].push(appends);
            if let Some(store) = store {
                store.close_blocking();
            }
        }
    }
    let medians: Vec<f64> = rates.iter_mut().map(|rates| median(rates)).collect();
    println!();
    for ((name, _), median) in variants.iter().zip(&medians) {
        let ratio = median / medians[1];
        println!("{name}: {median:.0} appends/s from {WRITERS} writers, {ratio:.1} times single appends");
    }
    reads(SqliteStore::open(dir.path().join("reads"), Options::default())?).await
}

fn room(store: Option<&SqliteStore>) -> Result<Arc<dyn Room>, Box<dyn std::error::Error>> {
    let (name, limits, sink) = ("lobby".parse()?, Arc::new(Limits::default()), CommitSink::new(|_| ()));
    Ok(match store {
        Some(store) => store.room(name, limits, sink),
        None => Arc::new(MemoryRoom::new(name, limits, sink)),
    })
}

fn draft(text: &str) -> NewMessage {
    let body = serde_json::json!({ "text": text }).to_string();
    let user = User::guest("ann").expect("a name");
    NewMessage::new(user, RawValue::from_string(body).expect("JSON"))
}

/// Returns the acknowledged appends per second. Each writer waits for an append before the next one.
async fn appends(room: &Arc<dyn Room>) -> f64 {
    let start = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let room = Arc::clone(room);
            tokio::spawn(async move {
                let mut appended = 0_u32;
                while start.elapsed() < ROUND {
                    let text = "The quick brown fox jumps over the lazy dog. 안녕하세요, 반갑습니다.";
                    room.append(draft(text)).await.expect("appended");
                    appended += 1;
                    // Rooms in memory never wait, so without this the first writer would use the whole round.
                    tokio::task::yield_now().await;
                }
                appended
            })
        })
        .collect();
    let mut appended = 0;
    for writer in writers {
        appended += writer.await.expect("no panic");
    }
    f64::from(appended) / start.elapsed().as_secs_f64()
}

async fn reads(store: SqliteStore) -> Result<(), Box<dyn std::error::Error>> {
    let lobby = room(Some(&store))?;
    let appends: Vec<_> = (0..HISTORY)
        .map(|n| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move {
                lobby.append(draft(&format!("message {n} of many, 안녕 {}", n % 97))).await
            })
        })
        .collect();
    for append in appends {
        append.await??;
    }
    let micros = |start: Instant| start.elapsed().as_secs_f64() * 1e6 / 200.0;
    let start = Instant::now();
    for n in 0..200 {
        lobby.read(Range::Before { seq: n * 100, limit: 50 }).await?;
    }
    println!("a page of 50 messages: {:.0} us", micros(start));
    for query in ["안녕", "many 42", "nothing"] {
        let start = Instant::now();
        for _ in 0..200 {
            let search = chat_core::Search::new(query, 20);
            lobby.search(search).await?;
        }
        println!("a search for {query:?} in {HISTORY} messages: {:.0} us", micros(start));
    }
    store.close_blocking();
    Ok(())
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}
