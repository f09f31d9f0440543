//! The scenarios.

mod connections;
mod echo;
mod pages;
mod readers;

use std::sync::Arc;

use anyhow::Result;

use crate::check::Tally;
use crate::load::Load;
use crate::options::{Echo, Fanout, Options, Rooms, Scenario};
use crate::phases::PagingReport;
use crate::workload::{Schedule, Workload, check_size};

/// The result of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) paged: Option<PagingReport>,
    /// True for a closed loop: each writer waits for its acknowledgement.
    pub(crate) closed: bool,
    /// Connection ends that are part of the scenario.
    pub(crate) expected_endings: Vec<&'static str>,
    /// True if gaps are part of the scenario.
    pub(crate) expects_gaps: bool,
    /// Other failed checks.
    pub(crate) failures: Vec<String>,
    /// Remarks.
    pub(crate) notes: Vec<String>,
}

pub(crate) async fn run(load: &Arc<Load>, options: &Options) -> Result<Outcome> {
    let members = load.common.connections();
    match &options.scenario {
        Scenario::Fanout(Fanout { senders }) => {
            run_workload(load, 1, members, *senders as usize, Schedule::EVEN).await
        }
        Scenario::Spike(Fanout { senders }) => {
            run_workload(load, 1, members, *senders as usize, Schedule::SPIKE).await
        }
        Scenario::Rooms(Rooms { members: each, closed }) => {
            let rooms = (members / *each as usize).max(1);
            let schedule = if *closed { Schedule::Closed } else { Schedule::EVEN };
            run_workload(load, rooms, rooms * *each as usize, rooms, schedule).await
        }
        Scenario::Pages(options) => pages::pages(load, options).await,
        Scenario::Storm => connections::storm(load).await,
        Scenario::Resume(resume) => readers::resuming(load, resume).await,
        Scenario::Slow(slow) => readers::slow(load, slow).await,
        Scenario::Idle => connections::idle(load).await,
        Scenario::Echo(Echo { what }) => echo::echo(load, *what).await,
    }
}

async fn run_workload(
    load: &Arc<Load>,
    rooms: usize,
    members: usize,
    writers: usize,
    schedule: Schedule,
) -> Result<Outcome> {
    check_size(load)?;
    // In a single room, the writers are added to the readers.
    let members = if rooms == 1 { members + writers } else { members };
    let mut workload = Workload::new(load, rooms, schedule)?;
    workload.connect_members(members, writers).await?;
    workload.run().await?;
    let outcome = Outcome { closed: schedule == Schedule::Closed, ..Outcome::default() };
    Ok(finish(&workload, workload.wait_for_deliveries().await, outcome))
}

fn finish(workload: &Workload, tally: Tally, mut outcome: Outcome) -> Outcome {
    if workload.unsent() > 0 {
        let unsent = workload.unsent();
        outcome
            .failures
            .push(format!("{unsent} messages could not be sent: the server was too slow or unreachable"));
    }
    Outcome { tally, ..outcome }
}
