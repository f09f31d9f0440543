//! Measures the CPU time of an edit, of a reaction and of a message in a thread against that of a send, and of a history
//! page of messages with reactions against one without. The rounds are interleaved, so that a busy machine affects all
//! of them.
//!
//! ```text
//! cargo run --release -p chat-sqlite --example changes
//! ```

#![expect(clippy::print_stdout, reason = "the result is for the caller")]

use std::sync::Arc;

use chat_core::{Change, CommitSink, Limits, Links, NewChange, NewMessage, Range, RawValue, Room, User};
use chat_sqlite::{Durability, Options, SqliteStore};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: u64 = 20;
const PER_ROUND: u64 = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let options = Options::default().with(|options| options.durability = Durability::Process);
    let store = SqliteStore::open(dir.path(), options)?;
    let open = |name: &str| -> Result<Arc<dyn Room>, Box<dyn std::error::Error>> {
        Ok(store.room(name.parse()?, Arc::new(Limits::default()), CommitSink::new(|_| ())))
    };
    let (room, plain, threads) = (open("lobby")?, open("plain")?, open("threads")?);
    let root = NewMessage::new(User::new("bob", "Bob")?, RawValue::from_string("{}".to_owned())?);
    threads.append(root).await?;
    let ann = User::new("ann", "Ann")?;
    let text = |number: u64| RawValue::from_string(format!(r#"{{"text":"this is message {number}"}}"#));
    let mut cpu = [0.0; 4];
    for round in 0..ROUNDS {
        let first = room.bounds().await?.head + 1;
        cpu[0] += spent(async {
            for number in 0..PER_ROUND {
                room.append(NewMessage::new(ann.clone(), text(number)?)).await?;
            }
            Ok(())
        })
        .await?;
        cpu[1] += spent(async {
            for number in 0..PER_ROUND {
                let change = Change::Edit { body: text(number + round)? };
                room.change(NewChange::new(ann.clone(), first + number, change)).await?;
            }
            Ok(())
        })
        .await?;
        cpu[2] += spent(async {
            for number in 0..PER_ROUND {
                let change = Change::React { reaction: "+1".to_owned(), on: true };
                room.change(NewChange::new(ann.clone(), first + number, change)).await?;
            }
            Ok(())
        })
        .await?;
        cpu[3] += spent(async {
            for number in 0..PER_ROUND {
                let reply = NewMessage::new(ann.clone(), text(number)?);
                threads.append(reply.with_links(Links::default().with_thread(1))).await?;
            }
            Ok(())
        })
        .await?;
        for number in 0..PER_ROUND {
            plain.append(NewMessage::new(ann.clone(), text(number)?)).await?;
        }
    }
    let count = (ROUNDS * PER_ROUND) as f64;
    let micros = cpu.map(|seconds| seconds / count * 1e6);
    let [_, edit, reaction, reply] = micros.map(|cost| format!("{cost:.0} us ({:.2})", cost / micros[0]));
    println!(
        "CPU per send {:.0} us, edit {edit}, reaction {reaction}, message in a thread {reply}",
        micros[0]
    );
    let mut pages = [0.0; 2];
    for _ in 0..500 {
        for (room, cpu) in [&plain, &room].into_iter().zip(&mut pages) {
            let read = async {
                let page = room.read(Range::newest(50)).await?;
                if page.messages.len() == 50 { Ok(()) } else { Err("a page is not full".into()) }
            };
            *cpu += spent(read).await?;
        }
    }
    let [without, with] = pages.map(|seconds| seconds / 500.0 * 1e6);
    println!("CPU per page without reactions {without:.0} us, with {with:.0} us ({:.2})", with / without);
    store.close_blocking();
    Ok(())
}

/// Returns the CPU time of the process during `work`, in seconds.
async fn spent(
    work: impl Future<Output = Result<(), Box<dyn std::error::Error>>>,
) -> Result<f64, Box<dyn std::error::Error>> {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let before = now();
    work.await?;
    Ok(now() - before)
}
