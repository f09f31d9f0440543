//! A room with its log and its members, and the events that each member must get.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chat_proto::command::JoinFrom;
use chat_proto::room::{Delivery, Member, Room, RoomEvent};
use chat_proto::{Limits, Log, Page, Range, StoredMessage, User};
use serde_json::Value;

use crate::{append, room};

pub(crate) const USERS: [&str; 3] = ["ada", "bob", "cid"];

pub(crate) struct Model {
    limits: Limits,
    log: Log,
    lives: u64,
    room: Room<u64>,
    /// Every message of the log's present life.
    stored: Vec<Bytes>,
    /// Messages that are committed and not yet reported.
    unreported: Vec<StoredMessage>,
    readers: BTreeMap<u64, Reader>,
    next_id: u64,
    /// The connections of each user on other nodes.
    remote: BTreeMap<(&'static str, usize), usize>,
    /// A subscriber that takes everything at once, and the users whom it takes for present.
    witness: Option<(u64, BTreeSet<String>)>,
}

struct Reader {
    member: Member,
    /// `None` for a subscriber.
    user: Option<usize>,
    /// The `seq` that must come next.
    next: u64,
    is_awake: bool,
    /// True if the log has begun another life since the reader joined.
    is_renewed: bool,
    /// A page that was read and not yet taken: up to where, and where the log began.
    page: Option<(Page, u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Position {
    Now,
    Last(u64),
    /// After a message at this part of the log, in 256ths.
    After(u8),
    OtherEpoch,
}

impl Model {
    pub(crate) fn new(limits: Limits, has_witness: bool) -> Self {
        let log = Log::new(room("lobby"), "life-0".to_owned(), Arc::new(limits.clone()));
        let mut model = Self {
            room: Room::new(room("lobby"), &limits),
            limits,
            log,
            lives: 0,
            stored: Vec::new(),
            unreported: Vec::new(),
            readers: BTreeMap::new(),
            next_id: 0,
            remote: BTreeMap::new(),
            witness: None,
        };
        model.observe();
        if has_witness {
            let id = model.subscribe();
            model.witness = Some((id, BTreeSet::new()));
        }
        model
    }

    pub(crate) fn append(&mut self, size: usize) {
        let stored = append(&mut self.log, size);
        self.stored.push(stored.frame.clone());
        self.unreported.push(stored);
    }

    /// Reports one of the messages that are not yet reported.
    pub(crate) fn report(&mut self, which: usize) {
        if let Some(stored) = self.remove_unreported(which) {
            self.room.commit(&stored);
        }
    }

    /// Reports any message, perhaps once more.
    pub(crate) fn report_again(&mut self, which: usize) {
        if let Some(index) = which.checked_rem(self.stored.len()) {
            let stored = StoredMessage { seq: index as u64 + 1, frame: self.stored[index].clone() };
            self.room.commit(&stored);
        }
    }

    /// Loses a report.
    pub(crate) fn lose(&mut self, which: usize) {
        self.remove_unreported(which);
    }

    fn remove_unreported(&mut self, which: usize) -> Option<StoredMessage> {
        let index = which.checked_rem(self.unreported.len())?;
        Some(self.unreported.remove(index))
    }

    pub(crate) fn advance(&mut self) {
        self.room.advance(self.head());
        assert_eq!(self.room.head(), self.head());
    }

    pub(crate) fn note_committed(&mut self) {
        self.room.note_committed(self.head());
        assert_eq!(self.room.has_hole(), self.room.head() < self.head() && !self.readers.is_empty());
    }

    pub(crate) fn repair(&mut self) {
        self.room.repair();
        assert!(!self.room.has_hole());
    }

    /// Begins another life of the log. The room is notified by the store, or notices it by the log's bounds.
    pub(crate) fn renew(&mut self, is_reported: bool) {
        self.lives += 1;
        let epoch = format!("life-{}", self.lives);
        self.log = Log::new(room("lobby"), epoch, Arc::new(self.limits.clone()));
        self.stored.clear();
        self.unreported.clear();
        let (life, bounds) = (self.room.life(), self.log.bounds());
        if is_reported {
            self.room.renew(&bounds);
        }
        assert_eq!(self.room.observe(life, &bounds), !is_reported);
        for reader in self.readers.values_mut() {
            reader.is_renewed = true;
        }
    }

    pub(crate) fn join(&mut self, user: usize, position: &Position) {
        let id = self.new_id();
        self.observe();
        let (bounds, from) = (self.log.bounds(), self.from(position));
        let joined = self.room.join(id, &guest(user), id, bounds.clone(), &from);
        let (member, joined) = joined.expect("a position that was reached");
        assert_eq!((joined.bounds.head, joined.bounds.first), (self.head(), bounds.first));
        assert_eq!(joined.members, self.room.roster().len());
        self.enter(id, member, Some(user), joined.resumption.after + 1);
    }

    pub(crate) fn subscribe(&mut self) -> u64 {
        let id = self.new_id();
        self.observe();
        let bounds = self.log.bounds();
        let member = self.room.subscribe(id, id, bounds).expect("bounds of this life");
        self.enter(id, member, None, self.head() + 1);
        id
    }

    pub(crate) fn rejoin(&mut self, which: usize, position: &Position) {
        self.observe();
        let (bounds, from) = (self.log.bounds(), self.from(position));
        let Some(id) = self.chosen(which) else { return };
        let Some(reader) = self.readers.get_mut(&id) else { return };
        let joined = self.room.rejoin(&mut reader.member, bounds, &from);
        let joined = joined.expect("a position that was reached");
        if from != JoinFrom::Now {
            reader.next = joined.resumption.after + 1;
            reader.is_renewed = false;
            reader.page = None;
        }
        reader.is_awake |= self.room.wake(&reader.member).is_some();
    }

    pub(crate) fn leave(&mut self, which: usize) {
        let Some(id) = self.chosen(which) else { return };
        let Some(reader) = self.readers.remove(&id) else { return };
        self.room.leave(&reader.member);
        self.room.leave(&reader.member);
    }

    pub(crate) fn typing(&mut self, which: usize) {
        let Some(id) = self.chosen(which) else { return };
        self.room.typing(&self.readers[&id].member, true);
    }

    pub(crate) fn set_remote(&mut self, node: &'static str, user: usize, connections: usize) {
        self.remote.insert((node, user), connections);
        self.room.set_remote(node, &guest(user), connections);
    }

    pub(crate) fn lose_node(&mut self, lost: &'static str) {
        self.remote.retain(|(node, _), _| *node != lost);
        self.room.remove_node(lost);
    }

    pub(crate) fn take_one(&mut self, which: usize) {
        if let Some(id) = self.chosen(which) {
            self.take(id);
        }
    }

    pub(crate) fn take_all(&mut self, which: usize) {
        if let Some(id) = self.chosen(which) {
            while self.take(id) {}
        }
    }

    /// Checks what must hold after each step.
    pub(crate) fn check(&mut self) {
        for id in self.room.to_wake().copied().collect::<Vec<_>>() {
            let reader = self.readers.get_mut(&id).expect("only members are woken");
            assert!(!reader.is_awake, "{id} is woken twice");
            reader.is_awake = true;
        }
        for reader in self.readers.values().filter(|reader| !reader.is_awake) {
            let next = self.room.take(&mut reader.member.clone());
            assert!(matches!(next, Delivery::Nothing), "a member that sleeps misses {next:?}");
        }
        let mut present: Vec<String> = self.present().into_iter().collect();
        present.sort();
        let members: Vec<_> =
            self.room.roster().members().iter().map(|user| user.name().to_owned()).collect();
        assert_eq!(members, present);
        self.check_witness();
    }

    fn check_witness(&mut self) {
        let Some((id, _)) = self.witness else { return };
        while self.take(id) {}
        if self.readers[&id].is_renewed {
            let reader = self.readers.remove(&id).expect("the witness");
            self.room.leave(&reader.member);
            let id = self.subscribe();
            self.witness = self.witness.take().map(|(_, seen)| (id, seen));
        }
        let present = self.present();
        assert_eq!(self.witness.as_ref().map(|(_, seen)| seen), Some(&present), "seen and present");
    }

    /// Brings all readers up to date.
    pub(crate) fn finish(mut self) {
        self.room.advance(self.head());
        self.check();
        for id in self.readers.keys().copied().collect::<Vec<_>>() {
            while self.take(id) {}
            let reader = &self.readers[&id];
            assert!(reader.is_renewed || reader.next == self.head() + 1, "{id} has not got everything");
        }
    }

    fn head(&self) -> u64 {
        self.stored.len() as u64
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Chooses a reader that is not the witness.
    fn chosen(&self, which: usize) -> Option<u64> {
        let witness = self.witness.as_ref().map(|(id, _)| *id);
        let ids: Vec<u64> = self.readers.keys().copied().filter(|id| Some(*id) != witness).collect();
        which.checked_rem(ids.len()).map(|index| ids[index])
    }

    fn observe(&mut self) {
        let (life, bounds) = (self.room.life(), self.log.bounds());
        assert!(self.room.observe(life, &bounds));
    }

    fn from(&self, position: &Position) -> JoinFrom {
        match position {
            Position::Now => JoinFrom::Now,
            Position::Last(count) => JoinFrom::Last(*count),
            Position::After(part) => {
                JoinFrom::After { epoch: self.log.bounds().epoch, seq: self.head() * u64::from(*part) / 255 }
            }
            Position::OtherEpoch => JoinFrom::After { epoch: "gone".to_owned(), seq: 5 },
        }
    }

    fn enter(&mut self, id: u64, member: Member, user: Option<usize>, next: u64) {
        let is_awake = self.room.wake(&member).is_some();
        assert!(is_awake, "a new member is not awake");
        self.readers.insert(id, Reader { member, user, next, is_awake, is_renewed: false, page: None });
    }

    /// Returns the users with a connection on any node.
    fn present(&self) -> BTreeSet<String> {
        let local = self.readers.values().filter_map(|reader| reader.user);
        let remote = self.remote.iter().filter(|(_, count)| **count > 0).map(|((_, user), _)| *user);
        local.chain(remote).map(|user| USERS[user].to_owned()).collect()
    }

    /// Gives a reader its next events. Returns false if there are none.
    fn take(&mut self, id: u64) -> bool {
        let reader = self.readers.get_mut(&id).expect("a reader");
        if let Some((page, up_to, first)) = reader.page.take() {
            match reader.member.catch_up(self.room.name(), page, up_to) {
                Some(events) if !reader.is_renewed => self.see(id, events, first),
                // A page of the log's earlier life.
                _ => assert!(reader.is_renewed),
            }
            return true;
        }
        match self.room.take(&mut reader.member) {
            Delivery::Nothing => {
                assert!(!reader.is_renewed && reader.next > self.room.head());
                reader.is_awake = false;
                false
            }
            Delivery::Renewed => {
                assert!(reader.is_renewed);
                false
            }
            Delivery::CatchUp { up_to } => {
                assert!(reader.next <= up_to && up_to <= self.room.head());
                let limit = self.limits.wire.max_page_messages;
                let page = self.log.read(Range::After { seq: reader.member.seq(), limit });
                reader.page = Some((page, up_to, self.log.bounds().first));
                true
            }
            Delivery::Events(events) => {
                let bytes: usize = events.iter().map(|event| event.frame.len()).sum();
                assert!(events.len() == 1 || bytes <= self.limits.wire.max_batch_bytes);
                self.see(id, events, 0);
                true
            }
        }
    }

    /// Checks events that a reader gets. `first` is where the log began when they were read.
    fn see(&mut self, id: u64, events: Vec<RoomEvent>, first: u64) {
        for RoomEvent { frame, is_entry, .. } in events {
            let event: Value = serde_json::from_slice(&frame).expect("JSON");
            let reader = self.readers.get_mut(&id).expect("a reader");
            match event["type"].as_str() {
                Some("message") => {
                    assert!(is_entry);
                    assert_eq!(event["seq"], reader.next, "in order, without a hole");
                    let index = usize::try_from(reader.next - 1).expect("a small number");
                    assert_eq!(frame, self.stored[index]);
                    reader.next += 1;
                }
                Some("gap") => {
                    assert!(is_entry);
                    assert_eq!(event["from"], reader.next);
                    let to = event["to"].as_u64().expect("a number");
                    assert!(to < first, "{to} can be read in a log from {first} on");
                    reader.next = to + 1;
                }
                Some("presence") => {
                    assert!(!is_entry);
                    let user = event["user"]["name"].as_str().expect("a name").to_owned();
                    if let Some((_, seen)) = self.witness.as_mut().filter(|(witness, _)| *witness == id) {
                        let is_change =
                            if event["state"] == "joined" { seen.insert(user) } else { seen.remove(&user) };
                        assert!(is_change, "twice: {event}");
                    }
                }
                _ => assert_eq!(event["type"], "typing"),
            }
        }
    }
}

fn guest(user: usize) -> User {
    User::guest(USERS[user]).expect("a good name")
}
