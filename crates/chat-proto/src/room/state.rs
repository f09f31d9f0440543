use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::affected::Affected;
use super::early::Early;
use super::missed::MissedPresence;
use super::occupancy::Occupancy;
use super::receipts::Receipts;
use super::typing::{Source, Typing};
use super::{Delivery, Joined, LogBounds, Member, Next, Place, Resumption, RoomEvent, Roster, Tail, resume};
use crate::command::JoinFrom;
use crate::{JoinError, Limits, PresenceState, RoomName, User};

/// An open room. `W` wakes one member. The room never calls it: [`to_wake`](Self::to_wake) returns those to call.
///
/// ```
/// use chat_proto::command::JoinFrom;
/// use chat_proto::room::{Delivery, Room};
/// use chat_proto::{Limits, LogBounds, StoredMessage, User};
///
/// let mut room = Room::new("lobby".parse()?, &Limits::default());
/// let bounds = LogBounds::new("e", 0);
/// let (mut ann, joined) = room.join(1, &User::guest("ann")?, "wake ann", bounds, &JoinFrom::Now)?;
/// assert_eq!(joined.members, 1);
/// assert!(matches!(room.take(&mut ann), Delivery::Nothing));
///
/// // A store reports its commits in any order.
/// let stored = |seq| StoredMessage::new(seq, format!(r#"{{"seq":{seq}}}"#));
/// room.commit("e", &stored(2));
/// room.commit("e", &stored(1));
/// assert_eq!(room.to_wake().collect::<Vec<_>>(), [&"wake ann"]);
/// let Delivery::Events(events) = room.take(&mut ann) else { panic!() };
/// assert_eq!(&events[0].frame[..], br#"{"seq":1}"#);
/// assert_eq!(&events[1].frame[..], br#"{"seq":2}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Room<W> {
    pub(super) name: RoomName,
    pub(super) tail: Tail<RoomEvent>,
    /// Entries whose predecessors have not been reported yet.
    pub(super) early: Early,
    /// The newest entry that is known to be committed. The reports of the last ones may still come.
    pub(super) committed: u64,
    pub(super) max_batch: usize,
    default_page: u64,
    /// The epoch of the log, once it is known.
    pub(super) epoch: Option<Arc<str>>,
    /// The number of renewals. A member of an earlier generation gets no more events.
    pub(super) generation: u64,
    pub(super) roster: Roster,
    pub(super) missed: MissedPresence,
    pub(super) occupancy: Occupancy,
    pub(super) typing: Typing,
    pub(super) receipts: Receipts,
    /// Users on this node who started or stopped typing.
    pub(super) typing_here: Vec<(User, bool)>,
    /// True if a user whose last connection is lost leaves later.
    pub(super) defers_leaving: bool,
    pub(super) members: BTreeMap<u64, Waiting<W>>,
    /// The number of direct members.
    pub(super) direct: usize,
    /// The position up to which the room is flushed, and the generation of its log at that time. Each direct member
    /// that is not awake has the events before this position.
    pub(super) flushed: (u64, u64),
    /// The end of the last flush that was begun. Some direct members have its events.
    pub(super) flush_to: u64,
    /// True if something has happened since the last [`to_wake`](Self::to_wake).
    pub(super) has_news: bool,
    /// The members whose rights may have changed.
    pub(super) affected: Affected,
}

#[derive(Debug)]
pub(super) struct Waiting<W> {
    pub(super) waker: W,
    /// `None` for a subscriber.
    pub(super) user: Option<User>,
    /// True if the caller flushes the room to the member.
    pub(super) is_direct: bool,
    /// True if the member was woken and has not yet taken everything.
    is_awake: bool,
    /// The position in the tail of the next event that the member takes.
    position: u64,
}

impl<W> Room<W> {
    /// Returns an empty room.
    pub fn new(name: RoomName, limits: &Limits) -> Self {
        Self {
            name,
            tail: Tail::new(0, limits.rooms.tail_events, limits.rooms.log_bytes),
            early: Early::new(limits.rooms.tail_events, limits.rooms.log_bytes),
            committed: 0,
            max_batch: limits.wire.max_batch_bytes,
            default_page: limits.wire.default_page_messages as u64,
            epoch: None,
            generation: 0,
            roster: Roster::default(),
            missed: MissedPresence::default(),
            occupancy: Occupancy::new(limits.rooms.presence_threshold),
            typing: Typing::default(),
            receipts: Receipts::default(),
            typing_here: Vec::new(),
            defers_leaving: false,
            members: BTreeMap::new(),
            direct: 0,
            flushed: (0, 0),
            flush_to: 0,
            has_news: false,
            affected: Affected::default(),
        }
    }

    /// Returns the room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Returns the `seq` of the newest entry that the room has taken, 0 if there is none.
    pub fn head(&self) -> u64 {
        self.tail.head()
    }

    /// Returns true if an entry of the log is known, even if the room has not taken it yet.
    pub fn has_messages(&self) -> bool {
        self.committed.max(self.head()) > 0
    }

    /// Returns the users in the room.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Returns true if the room has no member and no subscriber.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a member. `id` is unique among the members. `bounds` is the extent of the log, read just before and
    /// [observed](Self::observe).
    ///
    /// # Errors
    ///
    /// [`JoinError::BadCursor`] for a position that this epoch has not reached. [`JoinError::Renewed`] if the
    /// bounds are of another epoch than the room.
    pub fn join(
        &mut self,
        id: u64,
        user: &User,
        waker: W,
        bounds: LogBounds,
        from: &JoinFrom,
    ) -> Result<(Member, Joined), JoinError> {
        let (bounds, resumption) = self.resume(bounds, from)?;
        if self.roster.enter(user) {
            self.announce(user, PresenceState::Joined);
        }
        let member = self.add(id, Some(user.clone()), waker, &bounds, resumption.after);
        Ok((member, self.joined(bounds, resumption)))
    }

    /// Adds a subscriber. It gets the events of a member, and no user sees it.
    ///
    /// # Errors
    ///
    /// [`JoinError::Renewed`] if the bounds are of another epoch than the room.
    pub fn subscribe(&mut self, id: u64, waker: W, bounds: LogBounds) -> Result<Member, JoinError> {
        let (bounds, resumption) = self.resume(bounds, &JoinFrom::Now)?;
        Ok(self.add(id, None, waker, &bounds, resumption.after))
    }

    /// Lets a member that joins again continue as before, or from another position.
    ///
    /// # Errors
    ///
    /// The errors of [`join`](Self::join).
    pub fn rejoin(
        &mut self,
        member: &mut Member,
        bounds: LogBounds,
        from: &JoinFrom,
    ) -> Result<Joined, JoinError> {
        let (bounds, resumption) = self.resume(bounds, from)?;
        if *from != JoinFrom::Now {
            member.epoch = self.epoch_of(&bounds);
            member.generation = self.generation;
            // The position among the other events stays.
            member.cursor.seq = resumption.after;
        }
        Ok(self.joined(bounds, resumption))
    }

    fn joined(&self, bounds: LogBounds, resumption: Resumption) -> Joined {
        let (members, presence) = (self.roster.len(), self.presence());
        let (role, may) = Default::default();
        Joined { bounds, resumption, members, presence, role, may, with: None, title: None, restricted: None }
    }

    /// Removes a member that leaves, or a subscriber. A second call for the same member changes nothing.
    pub fn leave(&mut self, member: &Member) {
        self.remove(member, false);
    }

    /// Removes a member whose connection is lost. If the room [defers](Self::defer_leaving) leaving, the user leaves
    /// later.
    pub fn disconnect(&mut self, member: &Member) {
        self.remove(member, self.defers_leaving);
    }

    fn remove(&mut self, member: &Member, is_deferred: bool) {
        let removed = self.members.remove(&member.id);
        let was_here = removed.is_some();
        self.direct -= usize::from(removed.is_some_and(|waiting| waiting.is_direct));
        if let Some(user) = &member.user {
            self.typing.end(&user.key(), &Source::Connection(member.id));
        }
        if self.members.is_empty() {
            self.missed = MissedPresence::default();
            self.settle_users();
        }
        if let Some(user) = &member.user
            && was_here
            && self.roster.leave(user, is_deferred)
        {
            self.announce(user, PresenceState::Left);
        }
    }

    /// Returns the time at which [`handle_timer`](Self::handle_timer) is due, if it is.
    pub fn deadline(&self) -> Option<Duration> {
        [self.typing.deadline(), self.receipts.deadline(), self.occupancy.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Records that the [`deadline`](Self::deadline) has passed.
    pub fn handle_timer(&mut self, now: Duration) {
        self.announce_typing(now);
        self.announce_receipts(now);
        self.announce_occupancy(now);
    }

    /// Returns true if the log is in this epoch, or if its epoch is not known yet.
    pub fn is_of_epoch(&self, epoch: &str) -> bool {
        self.epoch.as_ref().is_none_or(|known| **known == *epoch)
    }

    /// Returns true if the log has not started a new epoch since the member joined.
    pub fn is_current(&self, member: &Member) -> bool {
        member.generation == self.generation
    }

    /// Takes the next events of a member.
    pub fn take(&mut self, member: &mut Member) -> Delivery {
        if !self.is_current(member) {
            return Delivery::Renewed;
        }
        self.collect_occupancy(member);
        self.collect_missed(member);
        let delivery = self.next(member);
        if let Some(waiting) = self.members.get_mut(&member.id) {
            waiting.position = member.cursor.position;
            waiting.is_awake &= !matches!(delivery, Delivery::Nothing);
        }
        delivery
    }

    fn next(&mut self, member: &mut Member) -> Delivery {
        if let Some(events) = member.take_missed(self.max_batch) {
            return Delivery::Events(events);
        }
        loop {
            match self.tail.next(&mut member.cursor, self.max_batch) {
                Next::Nothing => return Delivery::Nothing,
                Next::CatchUp { up_to } => return Delivery::CatchUp { up_to },
                Next::Events(mut events) => {
                    events.retain(|event| event.is_for(member));
                    if !events.is_empty() {
                        return Delivery::Events(events);
                    }
                }
            }
        }
    }

    /// Gives a member that is behind the tail the changes of presence that the tail has dropped.
    fn collect_missed(&mut self, member: &mut Member) {
        let start = self.tail.start();
        if member.cursor.position >= start {
            return;
        }
        self.drop_presence();
        for (user, state, frame) in self.missed.since(member.cursor.position) {
            member.miss(user, state, frame);
        }
        member.cursor.position = start;
    }

    /// Keeps the changes of presence that the tail has dropped, for the members that have not taken them.
    pub(super) fn drop_presence(&mut self) {
        let flushed = self.flushed.0;
        let positions = self.members.values().map(|waiting| waiting.position(flushed));
        // Each direct member is at its own position, where the last flush begins, or where it ends.
        let flushes = [flushed, self.flush_to].into_iter().filter(|_| self.direct > 0);
        let positions = positions.chain(flushes);
        self.missed.drop_before(self.tail.start(), positions);
    }

    /// Returns the wakers to call because something has happened. Each member is woken once until it has taken
    /// everything. Direct members get a [`flush`](Self::flush).
    pub fn to_wake(&mut self) -> impl Iterator<Item = &W> {
        let has_news = std::mem::take(&mut self.has_news);
        let has_others = self.direct < self.members.len();
        let members = (has_news && has_others).then(|| self.members.values_mut()).into_iter().flatten();
        members.filter(|waiting| !waiting.is_direct).filter_map(Waiting::wake)
    }

    /// Returns the waker of a member, unless it is awake. A member that has joined, or joined again, may have
    /// entries to read before anything happens. A direct member may not be able to get a flush.
    pub fn wake(&mut self, member: &Member) -> Option<&W> {
        self.wake_at(member.place())
    }

    /// Returns the waker of the member at this place, as [`wake`](Self::wake) does.
    pub fn wake_at(&mut self, place: Place) -> Option<&W> {
        let waiting = self.members.get_mut(&place.id)?;
        waiting.note_position(place.position);
        waiting.wake()
    }

    fn resume(
        &mut self,
        mut bounds: LogBounds,
        from: &JoinFrom,
    ) -> Result<(LogBounds, Resumption), JoinError> {
        if *self.epoch_of(&bounds) != *bounds.epoch {
            return Err(JoinError::Renewed);
        }
        self.note_head(bounds.head);
        bounds.head = bounds.head.max(self.tail.head());
        let resumption = resume(from, &bounds, self.default_page)?;
        Ok((bounds, resumption))
    }

    fn add(&mut self, id: u64, user: Option<User>, waker: W, bounds: &LogBounds, after: u64) -> Member {
        let cursor = self.tail.cursor(after);
        let (position, of) = (cursor.position, user.clone());
        self.members.insert(id, Waiting { waker, user: of, is_direct: false, is_awake: false, position });
        let (epoch, generation) = (self.epoch_of(bounds), self.generation);
        let starts = self.occupancy.starts();
        Member { id, user, epoch, generation, cursor, starts, missed: None }
    }

    /// Returns the epoch of the room, which is that of these bounds if none is known. All members share it.
    pub(super) fn epoch_of(&mut self, bounds: &LogBounds) -> Arc<str> {
        Arc::clone(self.epoch.get_or_insert_with(|| bounds.epoch.as_str().into()))
    }
}

impl<W> Waiting<W> {
    /// Records the position of the member, which a flush may have moved.
    pub(super) fn note_position(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// Returns the waker, unless the member is awake.
    pub(super) fn wake(&mut self) -> Option<&W> {
        (!std::mem::replace(&mut self.is_awake, true)).then_some(&self.waker)
    }

    /// Returns the position of the member, unless a flush has moved it. The room is flushed up to `flushed`.
    fn position(&self, flushed: u64) -> u64 {
        if self.is_direct && !self.is_awake { self.position.max(flushed) } else { self.position }
    }
}
