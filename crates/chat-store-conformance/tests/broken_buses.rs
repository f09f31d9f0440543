//! A test of the suite for buses: buses with one defect each, and the case that must fail for each of them.

#[path = "support/relay.rs"]
mod relay;

use std::process::ExitCode;

use chat_store_conformance::bus::{Backend, cases};
use chat_store_conformance::{Outcome, Subject};
use libtest_mimic::{Arguments, Failed, Trial};

use relay::{Defect, Relay};

const DEFECTS: [(Defect, &str, &str); 13] = [
    (Defect::KeepsLostNodes, "keeps_lost_nodes", "chats::the_users_of_a_lost_node_leave_and_return"),
    (Defect::KeepsDisconnectedNodes, "keeps_disconnected_nodes", "chats::a_chat_that_drains_leaves"),
    (Defect::EndsNodesEarly, "ends_nodes_early", "notices::a_node_that_disconnects_leaves"),
    (Defect::ForgetsReturningNodes, "forgets_returning_nodes", "chats::nodes_agree_after_a_loss"),
    (Defect::LosesNotices, "loses_notices", "notices::no_notice_of_a_burst_is_lost"),
    (Defect::LosesLargeNotices, "loses_large_notices", "notices::a_large_roster_arrives_unchanged"),
    (Defect::ForgetsGuests, "forgets_guests", "notices::each_kind_of_notice_arrives_unchanged"),
    (Defect::KicksOnOneNode, "kicks_on_one_node", "chats::a_kick_reaches_all_nodes"),
    (Defect::LosesReads, "loses_reads", "chats::a_read_reaches_the_user_on_all_nodes"),
    (Defect::LosesActivity, "loses_activity", "chats::a_follower_on_another_node_gets_activity"),
    (Defect::NumbersKicks, "numbers_kicks", "chats::a_repeated_kick_closes_nothing"),
    (Defect::ExaggeratesDelays, "exaggerates_delays", "notices::a_delay_is_never_too_long"),
    (Defect::NamesTheReceiver, "names_the_receiver", "notices::a_notice_reaches_each_other_node"),
];

fn main() -> ExitCode {
    let trials = DEFECTS.iter().map(|(defect, name, case)| {
        Trial::test(format!("a_bus_that_{name}_is_caught"), || judge(*defect, case)).with_kind(*case)
    });
    let mut arguments = Arguments::from_args();
    // A case that fails waits most of the time for what does not come.
    arguments.test_threads.get_or_insert(16);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn judge(defect: Defect, path: &str) -> Result<(), Failed> {
    let case = cases().into_iter().find(|case| case.path() == path).ok_or("there is no such case")?;
    match Backend::new("sound", || async { Relay::new(Defect::None) }).run(&case) {
        Outcome::Passed => {}
        outcome => return Err(format!("the bus without the defect: {outcome:?}").into()),
    }
    match Backend::new("broken", move || async move { Relay::new(defect) }).run(&case) {
        Outcome::Failed(_) => Ok(()),
        outcome => Err(format!("{path} does not catch it: {outcome:?}").into()),
    }
}
