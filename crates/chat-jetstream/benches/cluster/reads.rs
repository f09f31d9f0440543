//! Openings of rooms, questions for their ends, and the keys that a node reads before its first append.

use std::error::Error;
use std::sync::Arc;

use chat_core::{Notice, Room, User};
use chat_jetstream::{ConnectOptions, JetStreamStore, Options};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::nodes::{Nodes, message};
use crate::servers::{ALONE, Servers};
use crate::share;

/// Rooms that are opened.
const ROOMS: usize = 3_000;

/// Operations at the same time.
const AT_ONCE: usize = 64;

/// Records of the room whose keys are read.
const RECORDS: u64 = 2_000;

/// Runs the measurements, and prints a table.
pub(crate) async fn run(nodes: &Nodes, servers: &Servers) -> Result<(), Box<dyn Error>> {
    println!("| figure | value |\n|---|---|");
    let names: Vec<_> = (0..ROOMS).map(|number| format!("many-{number}")).collect();
    let fill = stream::iter(&names).map(|name| async move {
        nodes.room(&nodes.a, name).await?.append(message(0)).await?;
        Ok::<_, Box<dyn Error>>(())
    });
    fill.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let mut ms = Vec::new();
    for name in &names[..500] {
        let start = Instant::now();
        drop(nodes.room(&nodes.b, name).await?);
        ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    println!("| opening a room, one after the other: p50, ms | {:.2} |", share(&mut ms, 50));
    println!("| opening a room, one after the other: p99, ms | {:.2} |", share(&mut ms, 99));
    let (start, before) = (Instant::now(), resident()?);
    let opened = stream::iter(&names).map(|name| nodes.room(&nodes.b, name)).buffer_unordered(AT_ONCE);
    let opened: Vec<Arc<dyn Room>> = opened.try_collect().await?;
    let rate = ROOMS as f64 / start.elapsed().as_secs_f64();
    println!("| opening rooms, 64 at once: per second | {rate:.0} |");
    let kib = (resident()? - before) / ROOMS as f64;
    println!("| memory of an open room in the store: KiB | {kib:.2} |");
    let start = Instant::now();
    let ends = stream::iter(opened.iter().cycle().take(4 * ROOMS)).map(|room| room.bounds());
    ends.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    let rate = 4.0 * ROOMS as f64 / start.elapsed().as_secs_f64();
    println!("| questions for the end of a room, 64 at once: per second | {rate:.0} |");

    let room = nodes.room(&nodes.a, "keys").await?;
    for number in 0..RECORDS {
        room.append(message(number)).await?;
    }
    // A node that does not see the others appends itself, and reads the keys first.
    let connect = ConnectOptions::with_user_and_password(ALONE.to_owned(), ALONE.to_owned());
    let options = Options::default().with(|options| options.connect = connect);
    let node = JetStreamStore::open(&servers.addresses(), options).await?;
    let room = nodes.room(&node, "keys").await?;
    let mut times = Vec::new();
    for number in 0..2 {
        let start = Instant::now();
        room.append(message(number)).await?;
        times.push(start.elapsed().as_secs_f64());
    }
    let rate = RECORDS as f64 / (times[0] - times[1]);
    println!("| first append to a room with {RECORDS} records with keys: ms | {:.1} |", times[0] * 1e3);
    println!("| second append: ms | {:.1} |", times[1] * 1e3);
    println!("| records with keys that are read: per second | {rate:.0} |");

    let user = User::new("service:clerk", "Clerk")?;
    let (room, state, version) =
        ("lobby".parse()?, chat_core::NodePresence::Connected, 1_700_000_000_000_000);
    let notice = Notice::Presence { room, user, state, role: chat_core::Role::None, version }.encode();
    let start = Instant::now();
    let decoded = (0..100_000).filter(|_| Notice::decode(&notice).is_ok()).count();
    println!("| decoding a notice: us | {:.2} |", start.elapsed().as_secs_f64() * 1e6 / decoded as f64);
    Ok(())
}

/// Returns the resident memory of this process, in KiB.
fn resident() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no resident memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
