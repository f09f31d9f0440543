use chat_proto::Limits;
use proptest::prelude::*;

use crate::model::{Model, Position, USERS};
use crate::small_limits;

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Report(usize),
    ReportAgain(usize),
    Lose(usize),
    ReportOtherEpoch(u64),
    NoteCommitted,
    Repair,
    Renew(bool),
    Join(usize, Position),
    Subscribe,
    Rejoin(usize, Position),
    Leave(usize),
    Typing(usize, bool),
    RemoteTyping(&'static str, usize, bool),
    Pass(u64),
    ChangeRemote(&'static str, usize, bool),
    PublishRoster(&'static str),
    Deliver(usize, bool),
    LoseNode(&'static str),
    Take(usize),
    TakeAll(usize),
}

impl Step {
    fn perform(self, model: &mut Model) {
        match self {
            Self::Append(size) => model.append(size),
            Self::Report(which) => model.report(which),
            Self::ReportAgain(which) => model.report_again(which),
            Self::Lose(which) => model.lose(which),
            Self::ReportOtherEpoch(seq) => model.report_other_epoch(seq),
            Self::NoteCommitted => model.note_committed(),
            Self::Repair => model.repair(),
            Self::Renew(is_reported) => model.renew(is_reported),
            Self::Join(user, position) => model.join(user, &position),
            Self::Subscribe => drop(model.subscribe()),
            Self::Rejoin(which, position) => model.rejoin(which, &position),
            Self::Leave(which) => model.leave(which),
            Self::Typing(which, active) => model.typing(which, active),
            Self::RemoteTyping(node, user, active) => model.remote_typing(node, user, active),
            Self::Pass(millis) => model.pass(millis),
            Self::ChangeRemote(node, user, is_here) => model.change_remote(node, user, is_here),
            Self::PublishRoster(node) => model.publish_roster(node),
            Self::Deliver(which, is_kept) => model.deliver(which, is_kept),
            Self::LoseNode(node) => model.lose_node(node),
            Self::Take(which) => model.take_one(which),
            Self::TakeAll(which) => model.take_all(which),
        }
    }
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        2 => Just(Position::Now),
        1 => (0..9_u64).prop_map(Position::Last),
        2 => any::<u8>().prop_map(Position::After),
        1 => Just(Position::OtherEpoch),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (which, user) = (0..1_000_usize, 0..USERS.len());
    let node = proptest::sample::select(vec!["b", "c"]);
    prop_oneof![
        12 => (0..60_usize).prop_map(Step::Append),
        14 => prop_oneof![3 => Just(0), 1 => which.clone()].prop_map(Step::Report),
        2 => which.clone().prop_map(Step::ReportAgain),
        1 => which.clone().prop_map(Step::Lose),
        1 => (1..99_u64).prop_map(Step::ReportOtherEpoch),
        1 => Just(Step::NoteCommitted),
        3 => Just(Step::Repair),
        1 => any::<bool>().prop_map(Step::Renew),
        4 => (user.clone(), position()).prop_map(|(user, position)| Step::Join(user, position)),
        1 => Just(Step::Subscribe),
        2 => (which.clone(), position()).prop_map(|(which, position)| Step::Rejoin(which, position)),
        2 => which.clone().prop_map(Step::Leave),
        3 => (which.clone(), any::<bool>()).prop_map(|(which, active)| Step::Typing(which, active)),
        1 => (node.clone(), user.clone(), any::<bool>())
            .prop_map(|(node, user, active)| Step::RemoteTyping(node, user, active)),
        2 => (0..5_000_u64).prop_map(Step::Pass),
        3 => (node.clone(), user, any::<bool>())
            .prop_map(|(node, user, is_here)| Step::ChangeRemote(node, user, is_here)),
        1 => node.clone().prop_map(Step::PublishRoster),
        4 => (which.clone(), any::<bool>()).prop_map(|(which, is_kept)| Step::Deliver(which, is_kept)),
        1 => node.prop_map(Step::LoseNode),
        10 => which.clone().prop_map(Step::Take),
        3 => which.prop_map(Step::TakeAll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_member_gets_every_message_once_and_in_order(
        limits in small_limits(600..4_000, 4..10),
        has_witness: bool,
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let mut model = Model::new(limits, has_witness);
        for step in steps {
            step.perform(&mut model);
            model.check();
        }
        model.finish();
    }
}

/// A subscriber that ends with the epoch does not get the `occupancy` that ends typing, and neither does the next one.
#[test]
fn a_subscriber_of_a_new_epoch_knows_nobody_who_was_typing() {
    let mut model = Model::new(Limits::default().with(|limits| limits.rooms.presence_threshold = 1), true);
    let join = |user| Step::Join(user, Position::Now);
    let steps = [join(1), Step::Typing(0, true), join(0), Step::Leave(0), Step::Leave(0), Step::Renew(false)];
    for step in steps {
        step.perform(&mut model);
        model.check();
    }
    assert_eq!(model.unfinished.len(), 1, "the first subscriber has seen a user who is typing");
    model.finish();
}
