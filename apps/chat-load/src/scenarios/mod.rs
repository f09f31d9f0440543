//! The scenarios: each puts its load on the server and says what came of it.

mod connections;
mod echo;
mod pages;
mod readers;

use std::sync::Arc;

use anyhow::Result;

use crate::check::Tally;
use crate::load::Load;
use crate::options::{Echo, Fanout, Options, Rooms, Scenario};
use crate::phases::Paged;
use crate::talk::{Talk, Tempo, check_size};

/// What came of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) paged: Option<Paged>,
    /// Whether each writer waited for its acknowledgements, rather than for the time.
    pub(crate) closed: bool,
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
        Scenario::Fanout(Fanout { senders }) => talk(load, 1, members, *senders as usize, Tempo::EVEN).await,
        Scenario::Spike(Fanout { senders }) => talk(load, 1, members, *senders as usize, Tempo::SPIKE).await,
        Scenario::Rooms(Rooms { members: each, closed }) => {
            let rooms = (members / *each as usize).max(1);
            let tempo = if *closed { Tempo::Closed } else { Tempo::EVEN };
            talk(load, rooms, rooms * *each as usize, rooms, tempo).await
        }
        Scenario::Pages(options) => pages::pages(load, options).await,
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
    tempo: Tempo,
) -> Result<Outcome> {
    check_size(load)?;
    // The writers of a fan-out are on top of those who only read.
    let members = if rooms == 1 { members + writers } else { members };
    let mut talk = Talk::new(load, rooms, tempo)?;
    talk.populate(members, writers).await?;
    talk.run().await?;
    let outcome = Outcome { closed: tempo == Tempo::Closed, ..Outcome::default() };
    Ok(finish(&talk, talk.settle().await, outcome))
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
