//! Changes of presence for members that do not take them in time.

use std::collections::BTreeSet;
use std::iter;

use chat_proto::command::JoinFrom;
use chat_proto::frames::take_payload;
use chat_proto::room::{Delivery, Flush, Member, Progress, Room};
use chat_proto::{Limits, LogBounds, User};
use proptest::prelude::*;
use serde_json::Value;

use crate::room;

fn guest(number: usize) -> User {
    User::guest(&format!("u{number}")).expect("a good name")
}

fn bounds() -> LogBounds {
    LogBounds::new("e", 0)
}

fn join(room: &mut Room<()>, id: u64, user: usize) -> Member {
    room.join(id, &guest(user), (), bounds(), &JoinFrom::Now).expect("joined").0
}

fn names(room: &Room<()>) -> BTreeSet<String> {
    room.roster().members().iter().map(|user| user.name().to_owned()).collect()
}

/// A subscriber, and the users that are present by the events that it got.
struct Observer {
    member: Member,
    seen: BTreeSet<String>,
    events: usize,
}

impl Observer {
    fn new(room: &mut Room<()>, id: u64) -> Self {
        let member = room.subscribe(id, (), bounds()).expect("subscribed");
        Self { member, seen: names(room), events: 0 }
    }

    /// Takes one batch. Returns false if there is none.
    fn take(&mut self, room: &mut Room<()>) -> bool {
        let events = match room.take(&mut self.member) {
            Delivery::Events(events) => events,
            Delivery::Nothing => return false,
            other => panic!("{other:?}"),
        };
        let bytes: usize = events.iter().map(|event| event.frame.len()).sum();
        assert!(events.len() == 1 || bytes <= 64 * 1024);
        events.iter().for_each(|event| self.see(&event.frame));
        true
    }

    /// Gets a flush.
    fn get(&mut self, flush: &Flush) {
        let mut frames = flush.frames().clone();
        iter::from_fn(|| take_payload(&mut frames)).for_each(|frame| self.see(&frame));
        self.member.advance(flush);
    }

    fn see(&mut self, frame: &[u8]) {
        let event: Value = serde_json::from_slice(frame).expect("JSON");
        let user = event["user"]["name"].as_str().expect("a name").to_owned();
        let is_change =
            if event["state"] == "joined" { self.seen.insert(user) } else { self.seen.remove(&user) };
        assert!(is_change, "twice: {event}");
        self.events += 1;
    }

    fn take_all(&mut self, room: &mut Room<()>) {
        while self.take(room) {}
        assert_eq!(self.seen, names(room));
    }
}

#[test]
fn an_observer_gets_the_departure_of_each_of_a_thousand_members() {
    let limits = Limits::default().with(|limits| limits.rooms.presence_threshold = 1_000);
    let mut lobby = Room::new(room("lobby"), &limits);
    let members: Vec<_> = (0..1_000).map(|user| join(&mut lobby, user as u64, user)).collect();
    let mut observer = Observer::new(&mut lobby, 9_999);
    for member in &members {
        lobby.leave(member);
    }
    observer.take_all(&mut lobby);
    assert_eq!((observer.events, observer.seen.len()), (1_000, 0));
}

#[test]
fn changes_that_cancel_each_other_are_not_sent_and_take_no_memory() {
    let mut lobby = Room::new(room("lobby"), &Limits::default());
    let _stays = join(&mut lobby, 1, 0);
    let mut observer = Observer::new(&mut lobby, 2);
    for number in 0..20_000 {
        let member = join(&mut lobby, 10 + number as u64, 10 + number);
        lobby.leave(&member);
    }
    let dump = format!("{lobby:?}").len();
    assert!(dump < 300_000, "{dump} bytes are remembered");
    observer.take_all(&mut lobby);
    assert!(observer.events <= 256, "{} events", observer.events);
}

#[test]
fn changes_after_a_flush_that_goes_on_are_kept_for_the_members_that_have_got_it() {
    let mut lobby = Room::new(room("lobby"), &Limits::default());
    let ann = join(&mut lobby, 1, 0);
    let mut observers = [2, 3].map(|id| Observer::new(&mut lobby, id));
    for observer in &observers {
        lobby.write_directly(&observer.member);
    }
    lobby.leave(&ann);
    let flush = lobby.flush().expect("a change");
    assert_eq!(observers[0].member.progress(&flush), Progress::Next);
    observers[0].get(&flush);
    let _ann = join(&mut lobby, 4, 0);
    for number in 0..2_000 {
        let member = join(&mut lobby, 10 + number as u64, 10 + number);
        lobby.leave(&member);
    }
    for observer in &mut observers {
        observer.take_all(&mut lobby);
    }
}

#[test]
fn changes_after_a_flush_that_was_given_up_are_kept_for_the_members_that_have_got_it() {
    let mut lobby = Room::new(room("lobby"), &Limits::default());
    let ann = join(&mut lobby, 1, 0);
    let mut observers = [2, 3].map(|id| Observer::new(&mut lobby, id));
    for observer in &observers {
        lobby.write_directly(&observer.member);
    }
    lobby.leave(&ann);
    let flush = lobby.flush().expect("a change");
    observers[0].get(&flush);
    let places = observers.each_ref().map(|observer| observer.member.place());
    assert_eq!(lobby.give_up_flush(places).count(), 2);
    let _ann = join(&mut lobby, 4, 0);
    // The next flush has not come to the observers yet.
    let next = lobby.flush().expect("a change");
    for number in 0..2_000 {
        let member = join(&mut lobby, 10 + number as u64, 10 + number);
        lobby.leave(&member);
    }
    assert_eq!(
        observers.each_ref().map(|observer| observer.member.progress(&next)),
        [Progress::Behind, Progress::Next]
    );
    for observer in &mut observers {
        observer.take_all(&mut lobby);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Members of this range join, or leave.
    Change(usize, usize),
    Observe,
    /// An observer takes a batch, or everything.
    Take(usize, bool),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40_usize, 1..40_usize).prop_map(|(first, count)| Step::Change(first, count)),
        1 => Just(Step::Observe),
        3 => (0..9_usize, any::<bool>()).prop_map(|(which, all)| Step::Take(which, all)),
        1 => (0..9_usize).prop_map(Step::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_observer_ends_with_the_users_who_are_present(
        tail_events in 1..20_usize,
        max_batch in 0..1_000_usize,
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let limits = Limits::default().with(|limits| {
            limits.rooms.tail_events = tail_events;
            limits.wire.max_batch_bytes = max_batch;
        });
        let mut lobby = Room::new(room("lobby"), &limits);
        let mut here: Vec<Option<Member>> = (0..80).map(|_| None).collect();
        let (mut observers, mut id) = (vec![Observer::new(&mut lobby, 0)], 0);
        for step in steps {
            match step {
                Step::Change(first, count) => {
                    for (user, here) in here.iter_mut().enumerate().skip(first).take(count) {
                        id += 1;
                        *here = match here.take() {
                            Some(member) => {
                                lobby.leave(&member);
                                None
                            }
                            None => Some(join(&mut lobby, id, user)),
                        };
                    }
                }
                Step::Observe => {
                    id += 1;
                    observers.push(Observer::new(&mut lobby, id));
                }
                Step::Take(which, all) => {
                    let index = which % observers.len();
                    if all {
                        observers[index].take_all(&mut lobby);
                    } else {
                        observers[index].take(&mut lobby);
                    }
                }
                Step::Leave(which) if observers.len() > 1 => {
                    let index = which % observers.len();
                    lobby.leave(&observers.remove(index).member);
                }
                Step::Leave(_) => {}
            }
        }
        for observer in &mut observers {
            observer.take_all(&mut lobby);
        }
    }
}
