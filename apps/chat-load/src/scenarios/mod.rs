//! The scenarios.

mod changes;
mod connections;
mod echo;
mod pages;
mod readers;

use std::sync::Arc;

use anyhow::Result;

use crate::changes::Cost;
use crate::check::Tally;
use crate::load::Load;
use crate::options::{Echo, Fanout, Rooms, Scenario, Spike};
use crate::phases::PagingReport;
use crate::report::FaultyMember;
use crate::workload::{Schedule, Shape, Workload, check_size};

/// The result of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// The number of members with a failed check, and those with the most failures.
    pub(crate) faulty_members: (usize, Vec<FaultyMember>),
    pub(crate) paged: Option<PagingReport>,
    /// The costs of changes.
    pub(crate) costs: Vec<Cost>,
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

pub(crate) async fn run(load: &Arc<Load>, scenario: &Scenario) -> Result<Outcome> {
    let members = load.common.connections();
    match scenario {
        Scenario::Fanout(Fanout { senders, burst, closed }) => {
            let schedule = if *closed { Schedule::Closed } else { Schedule::EVEN };
            let shape = Shape { schedule, burst: (*burst).into(), ..Shape::one_room(*senders as usize) };
            run_workload(load, shape, members).await
        }
        Scenario::Spike(Spike { senders }) => {
            let shape = Shape { schedule: Schedule::SPIKE, ..Shape::one_room(*senders as usize) };
            run_workload(load, shape, members).await
        }
        Scenario::Rooms(Rooms { members: each, closed }) => {
            let rooms = (members / *each as usize).max(1);
            let schedule = if *closed { Schedule::Closed } else { Schedule::EVEN };
            let shape = Shape { rooms, schedule, ..Shape::one_room(rooms) };
            run_workload(load, shape, rooms * *each as usize).await
        }
        Scenario::Pages(options) => pages::pages(load, options).await,
        Scenario::Storm => connections::storm(load).await,
        Scenario::Resume(resume) => readers::resuming(load, resume).await,
        Scenario::Slow(slow) => readers::slow(load, slow).await,
        Scenario::Idle => connections::idle(load).await,
        Scenario::Changes(options) => changes::changes(load, options).await,
        Scenario::Echo(Echo { what }) => echo::echo(load, *what).await,
    }
}

async fn run_workload(load: &Arc<Load>, shape: Shape, members: usize) -> Result<Outcome> {
    check_size(load)?;
    // In a single room, the writers are added to the readers.
    let members = if shape.rooms == 1 { members + shape.writers } else { members };
    let mut workload = Workload::new(load, shape)?;
    workload.connect_members(members).await?;
    workload.run().await?;
    let outcome = Outcome { closed: shape.schedule == Schedule::Closed, ..Outcome::default() };
    Ok(finish(&workload, workload.wait_for_deliveries().await, outcome))
}

fn finish(workload: &Workload, tally: Tally, mut outcome: Outcome) -> Outcome {
    if workload.unsent() > 0 {
        let unsent = workload.unsent();
        outcome
            .failures
            .push(format!("{unsent} messages could not be sent: the server was too slow or unreachable"));
    }
    Outcome { tally, faulty_members: workload.faulty_members(), ..outcome }
}
