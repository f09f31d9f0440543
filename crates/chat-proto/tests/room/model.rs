//! A room with its log and its members, and the events that each member must get.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat_proto::command::JoinFrom;
use chat_proto::room::{Committed, Hole, Member, Room};
use chat_proto::{Limits, Log, Page, PresenceMode, Range, Role, StoredMessage, User};

use crate::nodes::{Nodes, State};
use crate::{append, room};

pub(crate) const USERS: [&str; 3] = ["ada", "bob", "cid"];

pub(crate) struct Model {
    pub(crate) limits: Limits,
    pub(crate) log: Log,
    pub(crate) epochs: u64,
    pub(crate) room: Room<u64>,
    /// Every message of the log's present epoch.
    pub(crate) stored: Vec<Bytes>,
    /// Messages that are committed and not yet reported.
    pub(crate) unreported: Vec<StoredMessage>,
    /// A page that was read for a hole and not yet taken.
    pub(crate) repair: Option<(Hole, Page)>,
    pub(crate) readers: BTreeMap<u64, Reader>,
    pub(crate) next_id: u64,
    pub(crate) nodes: Nodes,
    /// A subscriber that takes all events at once.
    pub(crate) witness: Option<u64>,
    pub(crate) now: Duration,
    /// The last event about typing of each user that the witness got: its time and its state.
    pub(crate) typing: BTreeMap<String, (Duration, bool)>,
    /// The users who were typing by the last events that an earlier witness got. The present one may get no event.
    pub(crate) unfinished: BTreeSet<String>,
    /// The time of the last `occupancy` event that the witness got.
    pub(crate) counted: Option<Duration>,
    /// The number of flushes to direct members.
    pub(crate) flushes: u64,
}

pub(crate) struct Reader {
    pub(crate) member: Member,
    /// `None` for a subscriber.
    pub(crate) user: Option<usize>,
    /// The `seq` that must come next.
    pub(crate) next: u64,
    pub(crate) is_awake: bool,
    /// The users that are present by the events that the reader got.
    pub(crate) seen: BTreeSet<String>,
    /// The way in which the room announces its users, and their number, by the events that the reader got.
    pub(crate) presence: PresenceMode,
    pub(crate) members: usize,
    /// True if the reader asks for the users after the events on their way.
    pub(crate) asks: bool,
    /// True if the room has counted its users since the last `occupancy` that the reader got.
    pub(crate) has_counted: bool,
    /// True if the log has started a new epoch since the reader joined.
    pub(crate) is_renewed: bool,
    /// A page that was read and not yet taken, its last entry, and the first entry of the log.
    pub(crate) page: Option<(Page, u64, u64)>,
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
        let log = Log::new(room("lobby"), "epoch-0".to_owned(), Arc::new(limits.clone()));
        let mut model = Self {
            room: Room::new(room("lobby"), &limits),
            limits,
            log,
            epochs: 0,
            stored: Vec::new(),
            unreported: Vec::new(),
            repair: None,
            readers: BTreeMap::new(),
            next_id: 0,
            nodes: Nodes::default(),
            witness: None,
            now: Duration::ZERO,
            typing: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            counted: None,
            flushes: 0,
        };
        model.observe();
        if has_witness {
            let id = model.subscribe();
            model.witness = Some(id);
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
            self.room.commit(&self.log.bounds().epoch, &stored);
        }
    }

    /// Reports any message, perhaps again.
    pub(crate) fn report_again(&mut self, which: usize) {
        if let Some(index) = which.checked_rem(self.stored.len()) {
            let stored = StoredMessage::new(index as u64 + 1, self.stored[index].clone());
            self.room.commit(&self.log.bounds().epoch, &stored);
        }
    }

    /// Reports a message and a head of another epoch.
    pub(crate) fn report_other_epoch(&mut self, seq: u64) {
        let (head, hole) = (self.room.head(), self.room.hole());
        let stored = StoredMessage::new(seq, "{}");
        assert_eq!(self.room.commit("another", &stored), Committed::OtherEpoch);
        self.room.note_committed("another", seq);
        assert_eq!((self.room.head(), self.room.hole()), (head, hole));
    }

    /// Loses a report.
    pub(crate) fn lose(&mut self, which: usize) {
        self.remove_unreported(which);
    }

    fn remove_unreported(&mut self, which: usize) -> Option<StoredMessage> {
        let index = which.checked_rem(self.unreported.len())?;
        Some(self.unreported.remove(index))
    }

    pub(crate) fn note_committed(&mut self) {
        self.room.note_committed(&self.log.bounds().epoch, self.head());
        assert_eq!(self.room.has_hole(), self.room.head() < self.head() && !self.readers.is_empty());
    }

    /// Reads a page for a hole, or takes the page that was read.
    pub(crate) fn repair(&mut self) {
        if let Some((hole, page)) = self.repair.take() {
            let is_current = page.epoch == self.log.bounds().epoch;
            assert_eq!(self.room.fill(&hole, page), is_current);
            assert!(!is_current || self.room.head() > hole.after);
        } else if let Some(hole) = self.room.hole() {
            assert_eq!(hole.after, self.room.head());
            let limit = self.limits.wire.max_page_messages;
            self.repair = Some((hole, self.log.read(Range::entries(hole.after, limit))));
        }
    }

    /// Starts a new epoch of the log. The room is notified by the store, or notices it by the log's bounds.
    pub(crate) fn renew(&mut self, is_reported: bool) {
        self.epochs += 1;
        let epoch = format!("epoch-{}", self.epochs);
        self.log = Log::new(room("lobby"), epoch, Arc::new(self.limits.clone()));
        self.stored.clear();
        self.unreported.clear();
        let (generation, bounds) = (self.room.generation(), self.log.bounds());
        if is_reported {
            self.room.renew(&bounds);
        }
        assert_eq!(self.room.observe(generation, &bounds), !is_reported);
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
        assert_eq!((joined.members, joined.presence), (self.room.roster().len(), self.room.presence()));
        self.enter(id, member, Some(user), joined.resumption.after + 1);
    }

    pub(crate) fn subscribe(&mut self) -> u64 {
        let id = self.new_id();
        self.observe();
        let bounds = self.log.bounds();
        let member = self.room.subscribe(id, id, bounds).expect("bounds of this epoch");
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

    pub(crate) fn typing(&mut self, which: usize, active: bool) {
        let Some(id) = self.chosen(which) else { return };
        self.room.typing(self.now, &self.readers[&id].member, active);
    }

    pub(crate) fn remote_typing(&mut self, node: &str, user: usize, active: bool) {
        self.room.remote_typing(self.now, node, &guest(user), active);
    }

    /// Lets the time pass, with a call of the timer whenever it is due.
    pub(crate) fn pass(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        while let Some(due) = self.room.deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.room.handle_timer(self.now);
            self.check();
        }
        self.now = until;
    }

    pub(crate) fn change_remote(&mut self, node: &'static str, user: usize, is_here: bool) {
        self.nodes.change(node, user, is_here);
    }

    pub(crate) fn publish_roster(&mut self, node: &'static str) {
        self.nodes.publish_roster(node);
    }

    pub(crate) fn deliver(&mut self, which: usize, is_kept: bool) {
        let Some(notice) = self.nodes.deliver(which, is_kept) else { return };
        let (node, version) = (notice.node, notice.version);
        match notice.state {
            State::User(user, true) => self.room.enter_remote(node, &guest(user), Role::None, version),
            State::User(user, false) => self.room.leave_remote(node, &guest(user), version, version % 2 == 0),
            State::All(users) => {
                let users: Vec<_> = users.into_iter().map(guest).collect();
                self.room.set_node(node, version, users.iter().map(|user| (user, Role::None)));
            }
        }
    }

    pub(crate) fn lose_node(&mut self, lost: &'static str) {
        self.nodes.lose(lost);
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

    pub(crate) fn head(&self) -> u64 {
        self.stored.len() as u64
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Chooses a reader that is not the witness.
    fn chosen(&self, which: usize) -> Option<u64> {
        let witness = self.witness;
        let ids: Vec<u64> = self.readers.keys().copied().filter(|id| Some(*id) != witness).collect();
        which.checked_rem(ids.len()).map(|index| ids[index])
    }

    fn observe(&mut self) {
        let (generation, bounds) = (self.room.generation(), self.log.bounds());
        assert!(self.room.observe(generation, &bounds));
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
        if id.is_multiple_of(2) {
            self.room.write_directly(&member);
        }
        let is_awake = self.room.wake(&member).is_some();
        assert!(is_awake, "a new member is not awake");
        let seen = self.room.roster().members().iter().map(|user| user.name().to_owned()).collect();
        let reader = Reader {
            member,
            user,
            next,
            is_awake,
            seen,
            presence: self.room.presence(),
            members: self.room.roster().len(),
            asks: false,
            has_counted: false,
            is_renewed: false,
            page: None,
        };
        self.readers.insert(id, reader);
    }
}

fn guest(user: usize) -> User {
    User::guest(USERS[user]).expect("a good name")
}
