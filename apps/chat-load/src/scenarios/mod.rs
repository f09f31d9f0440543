//! The scenarios: each puts its load on the server and says what came of it.

mod connections;
mod echo;
mod readers;

use std::sync::Arc;

use anyhow::Result;

use crate::check::Tally;
use crate::load::Load;
use crate::options::{Echo, Fanout, Options, Rooms, Scenario};
use crate::talk::{Talk, check_size};

/// What came of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// Endings of connections that are part of the scenario.
    pub(crate) expected_endings: Vec<&'static str>,
    /// Whether holes that are told of are part of the scenario.
    pub(crate) expects_gaps: bool,
    /// What else was not as it should be.
    pub(crate) failures: Vec<String>,
    /// What else there is to say.
    pub(crate) notes: Vec<String>,
}

pub(crate) async fn run(load: &Arc<Load>, options: &Options) -> Result<Outcome> {
    let members = load.common.connections();
    match &options.scenario {
        Scenario::Fanout(Fanout { senders }) => talk(load, 1, members, *senders as usize, 1.0).await,
        Scenario::Spike(Fanout { senders }) => talk(load, 1, members, *senders as usize, 10.0).await,
        Scenario::Rooms(Rooms { members: each }) => {
            let rooms = (members / *each as usize).max(1);
            talk(load, rooms, rooms * *each as usize, rooms, 1.0).await
        }
        Scenario::Storm => connections::storm(load).await,
        Scenario::Resume(resume) => readers::resuming(load, resume).await,
        Scenario::Slow(slow) => readers::slow(load, slow).await,
        Scenario::Idle => connections::idle(load).await,
        Scenario::Echo(Echo { what }) => echo::echo(load, *what).await,
    }
}

async fn talk(
    load: &Arc<Load>,
    rooms: usize,
    members: usize,
    writers: usize,
    factor: f64,
) -> Result<Outcome> {
    check_size(load)?;
    // The writers of a fan-out are on top of those who only read.
    let members = if rooms == 1 { members + writers } else { members };
    let busiest = if factor > 1.0 { (2.0 + factor) / 3.0 } else { 1.0 };
    let mut talk = Talk::new(load, rooms, busiest)?;
    talk.populate(members, writers).await?;
    talk.run(factor).await?;
    Ok(finish(&talk, talk.settle().await, Outcome::default()))
}

fn finish(talk: &Talk, tally: Tally, mut outcome: Outcome) -> Outcome {
    if talk.unsent() > 0 {
        let unsent = talk.unsent();
        outcome.failures.push(format!(
            "{unsent} messages could not be sent: the server took them too slowly, or was gone"
        ));
    }
    Outcome { tally, ..outcome }
}
