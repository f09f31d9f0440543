use bytes::Bytes;
use chat_proto::command::JoinFrom;
use chat_proto::{Limits, Log, Next, Range, StoredMessage, Tail, resume};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::reader::{Entry, Reader};
use crate::{EPOCH, append, log, small_limits};

/// A tail with its log and its readers.
struct Model {
    limits: Limits,
    /// True if readers take the messages of a page beyond the one up to which they had to catch up.
    reads_on: bool,
    log: Log,
    tail: Tail<Entry>,
    /// Every message ever stored.
    stored: Vec<Bytes>,
    /// The entries pushed since the tail last had a hole, the newest last.
    pushed: Vec<Option<u64>>,
    events: u64,
    members: Vec<Reader>,
}

#[derive(Clone, Debug)]
enum Step {
    Append { size: usize, reaches_tail: bool },
    PushAgain(Index),
    Event,
    Join(Position),
    Rejoin(Index, Position),
    Take(Index),
    TakeAll(Index),
    Leave(Index),
}

#[derive(Clone, Debug)]
enum Position {
    Last(u64),
    After(Index),
    Lost,
}

impl Model {
    fn new(limits: Limits, reads_on: bool) -> Self {
        let (log, tail) = (log(&limits), Tail::new(0, limits.rooms.tail_events, usize::MAX));
        Self {
            limits,
            reads_on,
            log,
            tail,
            stored: Vec::new(),
            pushed: Vec::new(),
            events: 0,
            members: Vec::new(),
        }
    }

    fn take_step(&mut self, step: Step) {
        let chosen = |at: Index, members: &[Reader]| (!members.is_empty()).then(|| at.index(members.len()));
        match step {
            Step::Append { size, reaches_tail } => {
                let stored = append(&mut self.log, size);
                self.stored.push(stored.frame.clone());
                if reaches_tail {
                    self.push(stored);
                }
            }
            Step::PushAgain(at) if !self.stored.is_empty() => {
                let index = at.index(self.stored.len());
                if index < usize::try_from(self.tail.head()).expect("a small number") {
                    let (seq, frame) = (index as u64 + 1, self.stored[index].clone());
                    self.tail.push_message(seq, Entry::Message(StoredMessage::new(seq, frame)));
                }
            }
            Step::Event => {
                self.tail.push_event(Entry::Event { number: self.events, head: self.tail.head() });
                self.pushed.push(Some(self.events));
                self.events += 1;
            }
            Step::Join(position) => {
                let member = self.join(&position);
                self.members.push(member);
            }
            Step::Rejoin(at, position) => {
                if let Some(index) = chosen(at, &self.members) {
                    self.members[index] = self.join(&position);
                }
            }
            Step::Take(at) => {
                if let Some(index) = chosen(at, &self.members) {
                    self.take(index);
                }
            }
            Step::TakeAll(at) => {
                if let Some(index) = chosen(at, &self.members) {
                    while self.take(index) {}
                }
            }
            Step::Leave(at) => {
                if let Some(index) = chosen(at, &self.members) {
                    self.members.remove(index);
                }
            }
            Step::PushAgain(_) => {}
        }
    }

    fn push(&mut self, stored: StoredMessage) {
        if stored.seq != self.tail.head() + 1 {
            self.pushed.clear();
        }
        self.tail.push_message(stored.seq, Entry::Message(stored));
        self.pushed.push(None);
    }

    fn observe(&mut self) {
        let head = self.log.bounds().head;
        if head > self.tail.head() {
            self.pushed.clear();
        }
        self.tail.observe(head);
        assert_eq!(self.tail.head(), head);
    }

    fn join(&mut self, position: &Position) -> Reader {
        self.observe();
        let bounds = self.log.bounds();
        let from = match position {
            Position::Last(count) => JoinFrom::Last(*count),
            Position::After(at) => {
                let seq = at.index(self.stored.len() + 1) as u64;
                JoinFrom::After { epoch: EPOCH.to_owned(), seq }
            }
            Position::Lost => JoinFrom::After { epoch: "gone".to_owned(), seq: 5 },
        };
        let resumption = resume(&from, &bounds, self.limits.wire.default_page_messages as u64)
            .expect("a position that was reached");
        assert!(resumption.after + 1 >= bounds.first && resumption.after <= bounds.head);
        let cursor = self.tail.cursor(resumption.after);
        Reader {
            cursor,
            next: resumption.after + 1,
            events: Vec::new(),
            first_event: self.events,
            page: None,
        }
    }

    /// Gives a reader its next events. Returns false if there are none.
    fn take(&mut self, index: usize) -> bool {
        let member = &mut self.members[index];
        if let Some((page, up_to, first)) = member.page.take() {
            member.take_page(page, up_to, first, &self.stored);
            return true;
        }
        match self.tail.next(&mut member.cursor, self.limits.wire.max_batch_bytes) {
            Next::Nothing => {
                assert!(member.next > self.tail.head());
                let readable = self.pushed.iter().rev().take(self.limits.rooms.tail_events).rev();
                let expected: Vec<u64> =
                    readable.flatten().copied().filter(|e| *e >= member.first_event).collect();
                assert!(member.events.ends_with(&expected), "{:?} lacks some of {expected:?}", member.events);
                false
            }
            Next::CatchUp { up_to } => {
                assert!(member.next <= up_to && up_to <= self.tail.head());
                let range =
                    Range::After { seq: member.cursor.seq, limit: self.limits.wire.max_page_messages };
                let page = self.log.read(range);
                let last = page.messages.last().filter(|_| self.reads_on).map_or(up_to, |last| last.seq);
                member.page = Some((page, up_to.max(last), self.log.bounds().first));
                true
            }
            Next::Events(entries) => {
                let size: usize = entries.iter().map(|entry| entry.as_ref().len()).sum();
                assert!(
                    !entries.is_empty() && (entries.len() == 1 || size <= self.limits.wire.max_batch_bytes)
                );
                for entry in entries {
                    if let Entry::Event { head, .. } = entry {
                        assert!(self.reads_on || head + 1 == member.next, "{entry:?} came late");
                    }
                    member.take_entry(entry, &self.stored);
                }
                assert_eq!(member.cursor.seq + 1, member.next);
                true
            }
        }
    }

    fn finish(&mut self) {
        self.observe();
        for index in 0..self.members.len() {
            while self.take(index) {}
            assert_eq!(self.members[index].next, self.stored.len() as u64 + 1);
        }
    }
}

#[test]
fn a_batch_may_have_exactly_the_bytes_that_are_allowed() {
    let mut tail = Tail::new(0, 8, usize::MAX);
    let mut cursor = tail.cursor(0);
    for seq in 1..=4 {
        tail.push_message(seq, [b'x'; 10]);
    }
    assert_eq!(tail.next(&mut cursor, 20), Next::Events(vec![[b'x'; 10]; 2]));
    assert_eq!(tail.next(&mut cursor, 19), Next::Events(vec![[b'x'; 10]]));
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        (0..9_u64).prop_map(Position::Last),
        any::<Index>().prop_map(Position::After),
        Just(Position::Lost),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let reaches_tail = proptest::bool::weighted(0.9);
    prop_oneof![
        12 => (0..60_usize, reaches_tail).prop_map(|(size, reaches_tail)| Step::Append { size, reaches_tail }),
        1 => any::<Index>().prop_map(Step::PushAgain),
        4 => Just(Step::Event),
        2 => position().prop_map(Step::Join),
        1 => (any::<Index>(), position()).prop_map(|(at, position)| Step::Rejoin(at, position)),
        10 => any::<Index>().prop_map(Step::Take),
        3 => any::<Index>().prop_map(Step::TakeAll),
        1 => any::<Index>().prop_map(Step::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_of_a_tail_gets_every_message_once_and_in_order(
        limits in small_limits(150..3_000, 1..8),
        reads_on: bool,
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let mut model = Model::new(limits, reads_on);
        for step in steps {
            model.take_step(step);
        }
        model.finish();
    }
}
