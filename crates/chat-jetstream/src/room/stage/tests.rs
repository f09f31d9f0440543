use std::time::Duration;

use chat_core::{Act, Change, Links, NewAct, RawValue, Restrict, Restriction, Role, RoomRules, User};

use crate::room::work::PurgeStep;

use super::*;

const LOG: LogLimits = LogLimits {
    max_keys: 100,
    retain_messages: None,
    max_bytes: 64 * 1024,
    max_state: 64 * 1024,
    latest: u64::MAX,
};

fn message(key: Option<&str>, text: &str) -> Work {
    let body = RawValue::from_string(format!(r#"{{"text":"{text}"}}"#)).unwrap();
    Work::Append(NewMessage::new(user("ann"), body).with_key(key.map(ToOwned::to_owned)))
}

fn user(id: &str) -> User {
    User::new(id, id).unwrap()
}

fn change(by: &str, target: u64, change: Change) -> Work {
    Work::Change(NewChange::new(user(by), target, change))
}

fn react(by: &str, target: u64) -> Work {
    change(by, target, Change::React { reaction: "+1".to_owned(), on: true })
}

fn stage(log: &mut Applied, works: &[Work], limits: &Limits) -> Staged {
    stage_loaded(log, works, &Loaded::default(), limits)
}

fn stage_loaded(log: &mut Applied, works: &[Work], loaded: &Loaded, limits: &Limits) -> Staged {
    log.stage(&"lobby".parse().unwrap(), works.iter(), (loaded, Unfinished::default()), limits, LOG)
}

/// A log with some messages, and those messages as the stream has them.
fn changeable(count: usize) -> (Applied, Loaded) {
    let mut log = Applied::new(Arc::new(Life::for_tests()), Tail::default());
    let messages: Vec<_> = (0..count).map(|_| message(None, "hi")).collect();
    let record = stage(&mut log, &messages, &Limits::default()).record;
    let mut loaded = Loaded::default();
    for entry in &record.entries {
        let state = MessageState::of(entry).unwrap();
        loaded.targets.insert(entry.seq, Loading::Known(Box::new(state)));
    }
    log.apply(Some(&Record { place: 1, ..record }));
    (log, loaded)
}

#[test]
fn a_change_after_which_the_state_of_its_message_is_too_large_is_refused_and_no_other() {
    let (mut log, loaded) = changeable(2);
    let body = RawValue::from_string(format!(r#"{{"text":"{}"}}"#, "x".repeat(LOG.max_state))).unwrap();
    let works = [react("a", 1), change("ann", 1, Change::Edit { body }), react("b", 1), react("c", 2)];
    let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
    let seqs: Vec<_> = staged.answers.iter().map(|answer| answer.result.as_ref().ok()?.seq).collect();
    assert_eq!(seqs, [Some(3), None, Some(3), Some(4)]);
    assert!(staged.answers[1].result.is_err(), "{:?}", staged.answers[1]);
    assert_eq!((staged.record.entries.len(), staged.states.len()), (2, 2));
}

#[test]
fn all_reactions_to_one_message_are_one_entry_unless_another_change_is_between_them() {
    let (mut log, loaded) = changeable(2);
    let edit = change("ann", 1, Change::Edit { body: RawValue::from_string("{}".to_owned()).unwrap() });
    let works = [react("a", 1), react("b", 1), react("c", 2), react("d", 1), edit, react("e", 1)];
    let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
    let seqs: Vec<_> =
        staged.answers.iter().map(|answer| answer.result.as_ref().unwrap().seq.unwrap()).collect();
    assert_eq!(seqs, [3, 3, 4, 3, 5, 6]);
    assert_eq!((staged.record.entries.len(), staged.states.len()), (4, 2));
    assert_eq!(staged.record.messages, 2);
}

#[test]
fn a_change_of_a_message_of_the_same_record_waits_for_the_next_one() {
    let (mut log, loaded) = changeable(1);
    let works = [message(None, "new"), react("a", 1), react("a", 2), react("a", 9)];
    let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
    assert_eq!((staged.answers.len(), staged.record.entries.len()), (2, 2));
    let staged = stage_loaded(&mut log, &works[3..], &loaded, &Limits::default());
    assert_eq!(staged.answers[0].result, Err(ChangeError::NoMessage));
}

#[test]
fn a_record_changes_a_limited_number_of_messages() {
    let (mut log, loaded) = changeable(MAX_TARGETS + 1);
    let works: Vec<_> = (1..=MAX_TARGETS as u64 + 1).map(|seq| react("a", seq)).collect();
    let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
    assert_eq!(staged.answers.len(), MAX_TARGETS);
}

#[test]
fn changes_do_not_count_as_messages_up_to_four_for_each() {
    for (head, messages, oldest) in [(100, 100, 91), (50, 10, 1), (51, 10, 2), (1_000, 500, 951)] {
        assert_eq!(retained(head, messages, Some(10)), oldest, "{head} {messages}");
    }
}

#[test]
fn a_record_ends_before_the_message_that_has_no_space_in_it() {
    let mut log = Applied::new(Arc::new(Life::for_tests()), Tail::default());
    let messages = ["a", "b", "c"].map(|letter| message(None, &letter.repeat(30_000)));
    let staged = stage(&mut log, &messages, &Limits::default());
    assert_eq!((staged.answers.len(), staged.record.entries.len()), (2, 2));
    assert!(staged.bytes.len() < LOG.max_bytes, "{}", staged.bytes.len());
    let large = message(None, &"d".repeat(100_000));
    let staged = stage(&mut log, &[large, message(None, "e")], &Limits::default());
    assert_eq!(staged.answers.len(), 1, "it is a record of its own");
}

#[test]
fn a_new_key_is_unavailable_while_a_record_that_cannot_be_read_may_have_it() {
    let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_millis(200));
    let mut log = Applied::new(Arc::new(Life::for_tests()), Tail::default());
    let first = stage(&mut log, &[message(Some("k"), "1")], &limits).record;
    log.apply(Some(&Record { place: 1, ..first }));
    log.apply(None);
    let content = Content::Message { frame: "{}".into(), is_guest: false, connection: None };
    let entries = vec![Entry { seq: 3, at: unix_millis(), key: None, content }];
    log.apply(Some(&Record { place: 3, id: 3, previous: 2, oldest: 1, entries, ..Record::default() }));
    let messages = [message(Some("l"), "2"), message(Some("k"), "1"), message(None, "3")];
    let staged = stage(&mut log, &messages, &limits);
    let results: Vec<_> = staged.answers.iter().map(|answer| &answer.result).collect();
    assert!(matches!(results[0], Err(ChangeError::Unavailable(_))), "{:?}", results[0]);
    assert!(results[1].as_ref().is_ok_and(|receipt| receipt.duplicate));
    assert!(results[2].is_ok());
    std::thread::sleep(Duration::from_millis(210));
    assert!(stage(&mut log, &messages[..1], &limits).answers[0].result.is_ok(), "the window is over");
}

fn reply(root: u64) -> Work {
    let Work::Append(message) = message(None, "hi") else { unreachable!() };
    Work::Append(message.with_links(Links::default().with_thread(root)))
}

#[test]
fn all_messages_of_one_thread_in_one_record_are_one_new_state_of_its_root() {
    let (mut log, loaded) = changeable(2);
    let works: Vec<_> = (0..70).map(|_| reply(1)).chain([reply(2)]).collect();
    let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
    assert_eq!((staged.answers.len(), staged.record.entries.len(), staged.states.len()), (71, 71, 2));
    assert_eq!(staged.states[&1].thread().len(), 70);
    assert!(staged.record.has_threads && staged.states[&1].is_at(72));
    let blocks: Vec<_> = staged.blocks.iter().map(|(root, block)| (*root, block.number)).collect();
    assert_eq!(blocks, [(1, 0), (1, 1)]);
    // The record of each of them is the first one after the end of the log.
    let replies = staged.blocks.iter().flat_map(|(_, block)| &block.replies);
    assert!(replies.zip(3..).all(|(reply, seq)| (reply.seq(), reply.after()) == (seq, 1)));
}

#[test]
fn a_message_that_names_one_of_the_same_record_waits_for_the_next_one() {
    let (mut log, loaded) = changeable(1);
    let works = [message(None, "new"), reply(1), reply(2), reply(9)];
    let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
    assert_eq!((staged.answers.len(), staged.record.entries.len()), (2, 2));
    let staged = stage_loaded(&mut log, &works[3..], &loaded, &Limits::default());
    assert_eq!(staged.answers[0].result, Err(ChangeError::NoMessage));
    // One that was not read waits too.
    let staged = stage_loaded(&mut log, &works[1..], &Loaded::default(), &Limits::default());
    assert!(staged.answers.is_empty());
}

#[test]
fn a_record_has_messages_of_a_limited_number_of_threads() {
    let (mut log, loaded) = changeable(MAX_TARGETS + 1);
    let works: Vec<_> = (1..=MAX_TARGETS as u64 + 1).map(reply).collect();
    let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
    assert_eq!((staged.answers.len(), staged.record.entries.len()), (MAX_TARGETS, MAX_TARGETS));
}

#[test]
fn a_message_after_which_the_state_of_the_root_is_too_large_is_refused() {
    let (mut log, mut loaded) = changeable(1);
    let Some(Loading::Known(state)) = loaded.targets.get_mut(&1) else { unreachable!() };
    let body = RawValue::from_string(format!(r#"{{"text":"{}"}}"#, "x".repeat(LOG.max_state))).unwrap();
    state.apply(&NewChange::new(user("ann"), 1, Change::Edit { body }), 1, 1, &[]);
    let staged = stage_loaded(&mut log, &[reply(1), message(None, "hi")], &loaded, &Limits::default());
    let seqs: Vec<_> = staged.answers.iter().map(|answer| Some(answer.result.as_ref().ok()?.seq)).collect();
    assert_eq!((seqs, staged.states.len()), (vec![None, Some(Some(2))], 0));
}

#[test]
fn a_full_part_of_the_rules_takes_changes_of_its_users_and_no_other_one() {
    let mut log = Applied::new(Arc::new(Life::for_tests()), Tail::default());
    let restrict = |id: &str, what: Option<Restrict>| {
        let restriction = what.map(|what| Restriction::new(what, None));
        let act = Act::Restrict { user: user(id), restriction, reason: None };
        Work::Act(Box::new(NewAct::new(user("ops"), act).by_host()))
    };
    let works = [
        restrict("ann", Some(Restrict::Mute)),
        restrict("bob", Some(Restrict::Mute)),
        restrict("ann", Some(Restrict::Ban)),
        restrict("ann", None),
        restrict("bob", Some(Restrict::Mute)),
    ];
    // Space for one standing.
    let log_limits = LogLimits { max_state: 200, ..LOG };
    let (lobby, loaded) = ("lobby".parse().unwrap(), Loaded::default());
    let staged =
        log.stage(&lobby, works.iter(), (&loaded, Unfinished::default()), &Limits::default(), log_limits);
    let seqs: Vec<_> = staged.answers.iter().map(|answer| answer.result.as_ref().ok()?.seq).collect();
    assert_eq!(seqs, [Some(1), None, Some(2), Some(3), Some(4)]);
}

/// A step of a purge of Ann's messages by Zoe.
fn step(log: &Applied, loaded: &Loaded, targets: &[u64], is_last: bool) -> Work {
    let content = || Content::Message { frame: "{}".into(), is_guest: false, connection: None };
    let messages =
        targets.iter().map(|seq| Entry { seq: *seq, at: 1, key: None, content: content() }).collect();
    assert!(targets.iter().all(|seq| loaded.targets.contains_key(seq)));
    let act = NewAct::new(user("zoe"), Act::Purge { user: user("ann") });
    let purge = Purge::new(7, "n1".to_owned(), &act, 9);
    Work::Step(Box::new(PurgeStep { life: Arc::clone(&log.life), purge, act, messages, is_last }))
}

/// A log with rules and messages of Ann, in which Zoe is an owner.
fn owned(count: usize) -> (Applied, Loaded) {
    let (mut log, mut loaded) = changeable(count);
    let act = |act: Act| Work::Act(Box::new(NewAct::new(user("ops"), act).by_host()));
    let works = [
        act(Act::Create { rules: RoomRules::default() }),
        act(Act::Role { user: user("zoe"), role: Role::Owner }),
    ];
    let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
    assert!(staged.answers.iter().all(|answer| answer.result.is_ok()), "{:?}", staged.answers);
    loaded.rules = staged.rules.map(|rules| rules.stored);
    log.apply(Some(&Record { place: 2, ..staged.record }));
    (log, loaded)
}

#[test]
fn a_step_of_a_purge_is_one_entry_that_names_the_purge_unless_it_is_the_last_one() {
    let (mut log, loaded) = owned(4);
    for is_last in [false, true] {
        let works = [step(&log, &loaded, &[1, 2], is_last)];
        let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
        let receipt = staged.answers[0].result.as_ref().unwrap();
        let erasing: Vec<_> =
            receipt.erasing.iter().map(|erasure| (erasure.seq, erasure.has_states)).collect();
        assert_eq!((receipt.seq, erasing), (Some(7), vec![(1, false), (2, false)]));
        assert_eq!((staged.record.entries.len(), staged.states.len()), (1, 2));
        assert_eq!((staged.record.acted, staged.record.ruled), (7, 6));
        assert_eq!(staged.record.erasing, [1, 2]);
        assert_eq!(
            staged.record.purges.iter().map(|purge| purge.id).collect::<Vec<_>>(),
            [7; 1][..usize::from(!is_last)]
        );
    }
}

#[test]
fn a_purge_is_not_named_any_more_after_an_act_that_takes_the_right_to_it_away() {
    let (mut log, loaded) = owned(4);
    let works = [step(&log, &loaded, &[1, 2], false)];
    let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
    log.apply(Some(&Record { place: 3, ..staged.record }));
    let unfinished = || Unfinished { erasing: Vec::new(), purges: log.tail.purges.to_vec() };
    assert_eq!(unfinished().purges.len(), 1);
    let role = |id: &str, role| {
        let act = Act::Role { user: user(id), role };
        Work::Act(Box::new(NewAct::new(user("ops"), act).by_host()))
    };
    let lobby = "lobby".parse().unwrap();
    for (work, left) in [(role("bob", Role::Member), 1), (role("zoe", Role::Member), 0)] {
        let unfinished = unfinished();
        let mut log = Applied::new(Arc::clone(&log.life), log.tail.clone());
        let staged = log.stage(&lobby, [&work].into_iter(), (&loaded, unfinished), &Limits::default(), LOG);
        assert_eq!(staged.record.purges.len(), left, "{work:?}");
    }
    let zoe = Work::Act(Box::new(
        NewAct::new(user("ops"), Act::Role { user: user("zoe"), role: Role::None }).by_host(),
    ));
    let works = [zoe, step(&log, &loaded, &[3, 4], true)];
    let staged = stage_loaded(&mut log, &works, &loaded, &Limits::default());
    assert_eq!(staged.answers[1].result, Err(ChangeError::Forbidden), "at its place");
}

#[test]
fn the_records_of_a_room_name_a_limited_number_of_purges() {
    let (mut log, loaded) = owned(4);
    let purge = |id: u64, by: &str| {
        let act = NewAct::new(user(by), Act::Purge { user: user("ann") });
        Purge::new(id, "n1".to_owned(), &act, 9)
    };
    let lobby = "lobby".parse().unwrap();
    for (is_last, is_stored) in [(false, false), (true, true)] {
        let works = [step(&log, &loaded, &[1, 2], is_last)];
        let unfinished = Unfinished { erasing: Vec::new(), purges: vec![purge(1, "bob"), purge(2, "eva")] };
        let staged = log.stage(&lobby, works.iter(), (&loaded, unfinished), &Limits::default(), LOG);
        assert_eq!(staged.answers[0].result.is_ok(), is_stored, "{:?}", staged.answers[0]);
    }
}
