//! One run: a cluster, participants, one fault, and the check of everything that the participants have seen.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use chat_tests::history::{History, check};
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::fault::Fault;
use crate::participant::Participant;
use crate::shared::{Counts, End, Shared};

/// The writers, on all nodes in turn.
const WRITERS: usize = 4;

/// The messages that must be acknowledged before the fault, and after it.
const ENOUGH: u64 = 60;

/// The time for them, and for each further wait. A busy disk may stall for a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time in which every participant must know who is in the room.
const PRESENCE_LIMIT: Duration = Duration::from_secs(60);

/// Longer than the time after which users of a node that has failed leave: 4 s until it counts as failed, then 10 s.
const LEAVE_TIME: Duration = Duration::from_secs(16);

/// The room keeps all messages.
const RETAINED: u64 = 1 << 40;

/// The numbers of a run without a violation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) fault: Fault,
    pub(crate) counts: Counts,
    /// The time for which the fault lasted.
    pub(crate) lasted: Duration,
    /// The time from the end of the fault until every participant knew who was in the room, and still knew it later.
    pub(crate) presence: Duration,
}

/// Plays one fault.
///
/// # Errors
///
/// Fails with the first violation.
pub(crate) async fn run(fault: Fault, seed: u64) -> Result<Outcome> {
    // Faults of one seed have nothing else in common.
    let mut random = Rng::with_seed(seed.wrapping_add(fault as u64));
    let mut cluster = fault.cluster(&mut random).await?;
    let shared = Arc::new(Shared::new(format!("room-{:x}", random.u32(..))));
    shared.set_nodes(cluster.addresses());
    let nodes = cluster.addresses().len();
    let mut participants = Participants { shared: Arc::clone(&shared), tasks: JoinSet::new() };
    let (mut present, mut visitors) = (Vec::new(), Vec::new());
    for number in 0..WRITERS {
        present.push(participants.start(&format!("writer-{number}"), number, true));
    }
    for node in 0..nodes {
        present.push(participants.start(&format!("reader-{node}"), node, false));
        visitors.push(participants.start(&format!("visitor-{node}"), node, false));
    }
    participants.watch(shared.progress(ENOUGH, PATIENCE)).await.context("before the fault")?;
    let all: BTreeSet<_> = present.iter().chain(&visitors).cloned().collect();
    participants.watch(presence(&shared, &all, Duration::ZERO)).await.context("before the fault")?;

    let (begin, lasts) = (Instant::now(), fault.duration(&mut random));
    let hit = participants.watch(fault.begin(&mut cluster, &mut random)).await?;
    shared.set_nodes(cluster.addresses());
    participants.watch(pause(lasts / 2)).await?;
    visitors.iter().for_each(|user| shared.leave(user));
    for node in 0..nodes {
        present.push(participants.start(&format!("newcomer-{node}"), node, false));
    }
    participants.watch(pause(lasts / 2)).await?;
    participants.watch(fault.end(&mut cluster, hit)).await.context("the end of the fault")?;
    shared.set_nodes(cluster.addresses());

    let lasted = begin.elapsed();
    let present = present.into_iter().collect();
    let presence =
        participants.watch(presence(&shared, &present, LEAVE_TIME)).await.context("after the fault")?;
    participants.watch(shared.progress(ENOUGH, PATIENCE)).await.context("after the fault")?;
    // A node that knows nothing reads all.
    cluster.add_node(None).await?;
    shared.set_nodes(cluster.addresses());
    let histories = participants.finish(nodes + 1).await?;
    check(&histories, RETAINED).map_err(|violation| anyhow!("{violation:?}"))?;
    Ok(Outcome { fault, counts: shared.counts(), lasted, presence })
}

/// Waits for at least this time, and until every participant knows who is in the room. Returns the time after which
/// nobody was wrong.
async fn presence(shared: &Shared, present: &BTreeSet<String>, at_least: Duration) -> Result<Duration> {
    let (begin, mut wrong) = (Instant::now(), Duration::ZERO);
    loop {
        match shared.wrong_view(present) {
            Some(view) if begin.elapsed() > PRESENCE_LIMIT => bail!("after {PRESENCE_LIMIT:?}, {view}"),
            Some(_) => wrong = begin.elapsed(),
            None if begin.elapsed() >= at_least => return Ok(wrong),
            None => {}
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn pause(time: Duration) -> Result<()> {
    sleep(time).await;
    Ok(())
}

struct Participants {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<History>>,
}

impl Participants {
    /// Starts a participant on a node, and returns its name.
    fn start(&mut self, user: &str, node: usize, writes: bool) -> String {
        self.tasks.spawn(Participant::new(&self.shared, user.to_owned(), node, writes).run());
        user.to_owned()
    }

    /// Waits for a step of the run, unless a participant fails, which is then the cause of other failures.
    async fn watch<T>(&mut self, step: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = step => done,
            ended = self.tasks.join_next() => {
                let history = ended.context("no participants")???;
                bail!("{} has ended", history.user)
            }
        }
    }

    /// Lets all participants, and one that reads the whole log on each node, read until the newest message.
    async fn finish(mut self, nodes: usize) -> Result<Vec<History>> {
        let shared = Arc::clone(&self.shared);
        let newest = self.watch(shared.finish(PATIENCE)).await?;
        shared.end.send_replace(Some(End { newest, deadline: Instant::now() + PATIENCE }));
        for node in 0..nodes {
            self.tasks.spawn(Participant::auditor(&shared, format!("auditor-{node}"), node).run());
        }
        let mut histories = Vec::new();
        while let Some(history) = self.tasks.join_next().await {
            histories.push(history??);
        }
        Ok(histories)
    }
}
