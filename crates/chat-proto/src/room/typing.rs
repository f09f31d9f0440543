//! The users who are typing in a room.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::Audience;
use super::{Member, Room, RoomEvent};
use crate::{Event, User, UserKey};

/// The least time between two events about one user.
const INTERVAL: Duration = Duration::from_secs(2);

/// The time after which typing ends by itself.
const TIMEOUT: Duration = Duration::from_secs(8);

/// The users who type, or about whom an event was sent in the last [`INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct Typing(BTreeMap<UserKey, Typist>);

#[derive(Debug)]
struct Typist {
    user: User,
    /// The origin of the last state.
    source: Source,
    /// The time at which typing ends by itself, if the user is typing.
    until: Option<Duration>,
    /// `None` if the others know that the user is not typing. Otherwise the connection that does not know that the user
    /// is typing, if there is one: the one that types.
    shown: Option<Option<u64>>,
    /// True if the user has typed again since the last event.
    is_repeated: bool,
    /// The earliest time of the next event.
    next: Duration,
}

/// The origin of a state: a connection of this node, or another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Connection(u64),
    Node(String),
}

impl Typist {
    /// Returns true if there is an event to send.
    fn has_news(&self) -> bool {
        if self.until.is_some() { self.is_repeated } else { self.shown.is_some() }
    }

    /// Returns the time of the next event, of the end of typing, or at which the user can be forgotten.
    fn deadline(&self) -> Duration {
        match self.until {
            Some(until) if !self.has_news() => until,
            _ => self.next,
        }
    }
}

impl Typing {
    /// Records that the origin of the last state of a user is gone, which ends typing.
    pub(super) fn end(&mut self, user: &UserKey, source: &Source) {
        if let Some(typist) = self.0.get_mut(user).filter(|typist| typist.source == *source) {
            typist.until = None;
        }
    }

    /// Records that a node is gone, which ends the typing of its users.
    pub(super) fn end_node(&mut self, node: &str) {
        let on_node = |typist: &&mut Typist| matches!(&typist.source, Source::Node(name) if name == node);
        self.0.values_mut().filter(on_node).for_each(|typist| typist.until = None);
    }

    /// Records that a user has left the room, which ends typing without an event.
    pub(super) fn leave(&mut self, user: &UserKey) {
        if let Some(typist) = self.0.get_mut(user) {
            (typist.until, typist.shown) = (None, None);
        }
    }

    /// Ends the typing of all users without an event.
    pub(super) fn end_all(&mut self) {
        self.0.values_mut().for_each(|typist| (typist.until, typist.shown) = (None, None));
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.0.values().map(Typist::deadline).min()
    }
}

impl<W> Room<W> {
    /// Records that a member started or stopped typing. The connection of the member does not get the events.
    ///
    /// The other members get at most one event about a user in 2 s, with the last state. Typing ends if it is not
    /// repeated for 8 s, or if the connection leaves. A room that counts its users sends none.
    pub fn typing(&mut self, now: Duration, member: &Member, active: bool) {
        if let Some(user) = &member.user {
            self.set_typing(now, user, Source::Connection(member.id), active);
        }
    }

    /// Records that a user on another node started or stopped typing.
    pub fn remote_typing(&mut self, now: Duration, node: &str, user: &User, active: bool) {
        if self.roster.contains(user) {
            self.set_typing(now, user, Source::Node(node.to_owned()), active);
        }
    }

    /// Takes the users whose connections on this node have started or stopped typing, for the other nodes.
    pub fn take_typing(&mut self) -> Vec<(User, bool)> {
        std::mem::take(&mut self.typing_here)
    }

    fn set_typing(&mut self, now: Duration, user: &User, source: Source, active: bool) {
        if self.occupancy.counts() {
            return;
        }
        if active {
            let typist = self.typing.0.entry(user.key()).or_insert_with(|| Typist {
                user: user.clone(),
                source: source.clone(),
                until: None,
                shown: None,
                is_repeated: true,
                next: now,
            });
            (typist.source, typist.until, typist.is_repeated) = (source, Some(now + TIMEOUT), true);
        } else if let Some(typist) = self.typing.0.get_mut(&user.key()) {
            typist.until = None;
        }
        self.announce_typing(now);
    }

    /// Sends the events about typing that are due, and forgets the users who have stopped.
    pub(super) fn announce_typing(&mut self, now: Duration) {
        let mut events = Vec::new();
        self.typing.0.retain(|_, typist| {
            typist.until = typist.until.filter(|until| *until > now);
            if typist.next > now {
                return true;
            }
            if !typist.has_news() {
                return typist.until.is_some();
            }
            let here = match typist.source {
                Source::Connection(id) => Some(id),
                Source::Node(_) => None,
            };
            let active = typist.until.is_some();
            let except = if active { here } else { typist.shown.flatten() };
            typist.shown = active.then_some(match typist.shown {
                // Each connection has got one of the events.
                Some(before) if before != here => None,
                _ => here,
            });
            typist.is_repeated = false;
            typist.next = now + INTERVAL;
            events.push((typist.user.clone(), active, except, here.is_some()));
            true
        });
        for (user, active, except, is_here) in events {
            let event = Event::Typing { room: self.name.clone(), user: user.clone(), active };
            let audience = except.map_or(Audience::All, Audience::AllBut);
            self.push(RoomEvent::notice(event.encode(), audience));
            if is_here {
                self.typing_here.push((user, active));
            }
        }
    }
}
