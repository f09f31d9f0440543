//! The crate runs over random schedules of faults, and over some that are written down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::{Change, Limits, NewChange, NewMessage};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::broken::Mutant;
use super::history::{Counts, SharedHistory};
use super::nodes::Node;
use super::schedule::{body, run, user};
use super::world::Model;
use super::{begin, end};

/// The time for the schedules, unless their number is given.
const TIME: Duration = Duration::from_secs(30);

/// The schedules of the shortest run.
const LEAST: u64 = 20;

/// The schedules after which a defect must be found. Mostly, the first one finds it.
const MAX_SCHEDULES: u64 = 100;

/// The time after which a node without a sign of life is not asked any more.
const FORGOTTEN: Duration = Duration::from_secs(8);

/// The time after which an answer to a record is too late, in milliseconds.
const LATE: u64 = 1_300;

/// Returns the number in a variable of the environment.
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// `CHAT_SCHEDULES` sets the number of schedules, and `CHAT_SEED` repeats one and prints its steps.
#[test]
fn fault_schedules_violate_no_guarantee() {
    let (seed, count) = (variable("CHAT_SEED"), variable("CHAT_SCHEDULES"));
    let (start, mut total) = (Instant::now(), Counts::default());
    let is_over = |done: u64| match (seed, count) {
        (Some(_), _) => done == 1,
        (None, Some(count)) => done == count,
        (None, None) => done >= LEAST && start.elapsed() > TIME,
    };
    while !is_over(total.runs) {
        let seed = seed.unwrap_or(total.runs);
        let outcome = run(seed, None);
        if let Some(violation) = outcome.violation {
            panic!(
                "{violation}\nsee its steps: CHAT_SEED={seed} cargo test -p chat-jetstream --lib fault_schedules"
            );
        }
        total.add(&outcome.counts);
    }
    let Counts { acknowledged, duplicates, refused, reports, reads, purges, removed, faults, runs, .. } =
        total;
    let counts = [acknowledged, duplicates, refused, reports, reads, purges, removed, faults];
    let has_all = counts.iter().all(|number| *number > 0);
    assert!(has_all || seed.is_some(), "{runs} schedules test nothing: {total:?}");
}

#[test]
fn a_seed_repeats_its_history() {
    for seed in 0..5 {
        assert_eq!(run(seed, None).digest, run(seed, None).digest, "CHAT_SEED={seed}");
    }
}

#[test]
fn schedules_find_each_defect() {
    for mutant in Mutant::ALL {
        let first = mutant.first_seed();
        let found = (first..first + MAX_SCHEDULES).any(|seed| run(seed, Some(mutant)).violation.is_some());
        assert!(found, "{MAX_SCHEDULES} schedules do not find {mutant:?}");
    }
}

#[test]
fn a_node_that_has_missed_a_message_can_change_it() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        begin(1);
        let (model, history) = (Model::start(1, 3), SharedHistory::default());
        let limits = Arc::new(Limits::default());
        let start = || Node::start(&model, &history, &limits, None);
        let one = start().await.expect("a node");
        let sent = one.rooms[0].append(NewMessage::new(user(1), body("first"))).await;
        assert_eq!(sent.expect("a receipt").seq, 1);
        let other = start().await.expect("a node");
        let change =
            |target| NewChange::new(user(1), target, Change::React { reaction: "+1".to_owned(), on: true });
        other.rooms[0].change(change(1)).await.expect("a change");
        // From then on, the nodes do not hear of each other. Both append themselves.
        model.act(|world| world.clients.iter_mut().for_each(|client| client.losing = 100));
        sleep(FORGOTTEN).await;
        other.rooms[0].change(change(1)).await.expect("a change");
        let sent = one.rooms[0].append(NewMessage::new(user(1), body("second"))).await;
        let sent = sent.expect("a receipt").seq;
        other.rooms[0].change(change(sent)).await.expect("a change of a message that the node has missed");
    });
    end();
}

#[test]
fn a_message_without_an_answer_is_acknowledged_while_the_servers_refuse_requests() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        begin(1);
        let (model, history) = (Model::start(1, 3), SharedHistory::default());
        let node = Node::start(&model, &history, &Arc::default(), None).await.expect("a node");
        let sent = node.rooms[0].append(NewMessage::new(user(1), body("first"))).await;
        assert_eq!(sent.expect("a receipt").seq, 1);
        let client = node.client;
        model.act(|world| {
            world.refuses = true;
            world.cut(client, true);
            // The message is stored then, and its answer is too late.
            world.after(LATE, move |world| world.cut(client, false));
        });
        let sent = node.rooms[0].append(NewMessage::new(user(1), body("second"))).await;
        let sent = sent.expect("a message that is stored");
        assert_eq!((sent.seq, sent.duplicate), (2, false));
        let sent = node.rooms[0].append(NewMessage::new(user(1), body("third"))).await;
        assert_eq!(sent.expect("a receipt").seq, 3);
    });
    end();
}
