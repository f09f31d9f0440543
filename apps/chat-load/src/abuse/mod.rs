//! Attacks on a server beside members of another room, which are measured.
//!
//! Each attack has a new server. Its phases are: preparation, idle, attack, recovery. The attack runs on a thread of
//! its own with a low priority. Its frames are encoded in advance where possible, and it does not parse replies, so
//! that it costs less than the server that it attacks.

mod attacker;
mod attacks;
mod cpus;
mod innocent;
mod options;
mod peer;
mod report;
mod server;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::sleep;

use crate::clock;
use attacker::{AttackThread, Attacker};
use attacks::{ATTACKS, Attack};
use cpus::Cpus;
use innocent::Innocents;
pub use innocent::{InnocentCounts, Times};
pub use options::Options;
pub use report::{AbuseReport, Row};
use server::{Resources, Server};

/// The time between two looks at the server during an attack.
const STEP: Duration = Duration::from_millis(100);

/// The time limit for recovery.
const RECOVERY: Duration = Duration::from_secs(5);

/// The same if only counts are checked.
const SHORT_RECOVERY: Duration = Duration::from_secs(1);

/// The time that the members have before the idle phase is measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// Runs the attacks one after the other, and returns the report.
///
/// # Errors
///
/// Fails if the server cannot be started, or the report cannot be written.
pub async fn run(options: &Options) -> Result<AbuseReport> {
    raise_descriptor_limit();
    let cpus = Cpus::split();
    let mut report = AbuseReport::new(options);
    for attack in ATTACKS {
        if options.attacks.is_empty() || options.attacks.iter().any(|name| name == attack.name) {
            let row = run_attack(options, attack, &cpus).await;
            report.rows.push(row.with_context(|| format!("the attack {}", attack.name))?);
        }
    }
    if let Some(path) = &options.json {
        let json = serde_json::to_vec_pretty(&report)?;
        fs::write(path, json).with_context(|| format!("--json {}", path.display()))?;
    }
    Ok(report)
}

/// Raises the limit of descriptors for this program and the server. A connection needs one on each side.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _allowed = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_ok();
}

/// The measurements of one attack.
#[derive(Debug)]
struct Measured {
    /// The times of the phases, in microseconds: the begin and the end of idle, the begin and the end of the attack.
    phases: [u64; 4],
    /// The resources at these times.
    resources: [Resources; 4],
    /// The largest size of the store, in bytes.
    disk_peak: u64,
    /// The time until the members were served as before, in microseconds.
    recovery: Option<u64>,
}

async fn run_attack(options: &Options, attack: &'static Attack, cpus: &Cpus) -> Result<Row> {
    let memory = format!("{}M", options.memory);
    let mut arguments = [&["--memory", &memory], attack.options].concat();
    if attack.lifts_limits {
        arguments.extend(include_str!("../../lifted-limits").split_whitespace());
    }
    let server = Server::start(&options.server, &arguments, cpus)?;
    let attacker = Attacker::new(server.address(), options.rate, attack.addresses);
    let mut thread = AttackThread::start(attack, attack.expected(options.counts_only), &attacker)?;
    thread.prepared().await?;
    server.settle().await?;
    let innocents = Innocents::start(server.address()).await?;
    let measured = measure(options, attack, &server, thread, &innocents).await;
    let measured = measured.with_context(|| format!("the log ends with:\n{}", server.last_lines()))?;
    let times = [0, 2].map(|phase| innocents.times(measured.phases[phase], measured.phases[phase + 1]));
    let (counts, mut problems) = innocents.finish().await;
    problems.extend(server.stop(&options.server, attack.errors).await?);
    Ok(Row::new(options, attack, &attacker, &measured, times, counts, problems))
}

/// Measures the phases. The attack ends before the recovery.
async fn measure(
    options: &Options,
    attack: &Attack,
    server: &Server,
    thread: AttackThread,
    innocents: &Innocents,
) -> Result<Measured> {
    sleep(WARM_UP).await;
    let idle = clock::now();
    let before_idle = server.resources()?;
    sleep(options.seconds).await;
    let end_of_idle = clock::now();
    let after_idle = server.resources()?;
    server.forget_peak();
    let (begin, at_begin) = (clock::now(), server.resources()?);
    let running = thread.begin(options.seconds.max(attack.shortest));
    let mut disk_peak = at_begin.disk_bytes;
    while !running.is_finished() {
        sleep(STEP).await;
        disk_peak = disk_peak.max(server.resources()?.disk_bytes);
    }
    let (end, at_end) = (clock::now(), server.resources()?);
    running.join().map_err(|_| anyhow!("the attack panicked"))??;
    let (idle_times, _) = innocents.times(idle, end_of_idle);
    let limit = 3 * idle_times.p50.max(innocent::FLOOR);
    let mut recovery = None;
    let patience = if options.counts_only { SHORT_RECOVERY } else { RECOVERY };
    while recovery.is_none() && clock::now() < end + u64::try_from(patience.as_micros())? {
        sleep(STEP).await;
        recovery = innocents.recovery(end, limit);
    }
    Ok(Measured {
        phases: [idle, end_of_idle, begin, end],
        resources: [before_idle, after_idle, at_begin, at_end],
        disk_peak,
        recovery,
    })
}
