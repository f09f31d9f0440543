//! The rooms that the user of a session follows, and the updates from other connections of the user.

use std::collections::BTreeSet;
use std::sync::Arc;

use chat_proto::session::{Listing, Outcome};
use futures_util::future::FutureExt;

use super::driver::Driver;
use super::host::Host;
use super::operation::{InFlight, Kind, Work};
use super::ticket::Ticket;
use crate::connection::Connection;
use crate::room::{Membership, Rooms, Watcher};
use crate::{ErrorCode, RoomName};

/// The rooms whose activity a connection gets. Dropping it ends that.
pub(super) struct Watching {
    rooms: Arc<Rooms>,
    /// `None` until the connection watches a room.
    watcher: Option<Arc<Watcher>>,
    watched: BTreeSet<RoomName>,
}

impl Watching {
    pub(super) fn new(rooms: Arc<Rooms>) -> Self {
        Self { rooms, watcher: None, watched: BTreeSet::new() }
    }

    /// Watches these rooms, and no others.
    fn set<'r>(&mut self, ticket: &Ticket, rooms: impl Iterator<Item = &'r RoomName>) {
        let wanted: BTreeSet<_> = rooms.cloned().collect();
        let Some(user) = ticket.user.clone().filter(|_| wanted != self.watched) else { return };
        let new = || Arc::new(Watcher::new(user, Arc::clone(ticket.permit.inbox())));
        let watcher = self.watcher.get_or_insert_with(new);
        watcher.set_rights(ticket.authorize.clone());
        wanted.difference(&self.watched).for_each(|room| self.rooms.watch(room, watcher));
        self.watched.difference(&wanted).for_each(|room| self.rooms.unwatch(room, watcher));
        self.watched = wanted;
    }

    /// Counts the unread messages of a room again, for this connection alone.
    fn note_behind(&self, room: &RoomName) {
        if let Some(watcher) = self.watcher.as_ref().filter(|_| self.watched.contains(room)) {
            self.rooms.note_behind(room, watcher);
        }
    }

    /// Takes over the rights of a renewed `hello`.
    pub(super) fn renew_rights(&self, ticket: &Ticket) {
        if let Some(watcher) = &self.watcher {
            watcher.set_rights(ticket.authorize.clone());
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            self.watched.iter().for_each(|room| self.rooms.unwatch(room, watcher));
        }
    }
}

impl<C: Connection> Driver<'_, C> {
    /// Begins to list the rooms that the user follows or is in.
    pub(super) fn begin_list(&mut self, listing: Listing) {
        let work = match Host::of(&self.ticket) {
            None => Work::answered(ErrorCode::HelloRequired.into()),
            // The answer cannot be sent.
            Some(_) if self.has_failed() || self.is_lost() => Work::answered(Outcome::Skipped),
            Some(host) => {
                Work::Waiting(Kind::Read, host.list(Arc::clone(&self.ticket.reads), listing).boxed())
            }
        };
        self.in_flight.push(InFlight::opening(work));
    }

    /// Takes the updates from other connections of the user and from followed rooms, once the peer has got everything
    /// before. Returns true if there are any. A list that is complete comes first, because the user may have ended to
    /// follow one of its rooms since then.
    pub(super) fn take_updates(&mut self) -> bool {
        if !self.is_quiet() || self.has_list() {
            return false;
        }
        let Some(updates) = self.ticket.permit.inbox().updates.take() else { return false };
        for (room, update) in updates {
            match update.followed {
                Some(true) => {
                    self.session.handle_followed(&room);
                    self.watch_rooms();
                    // It has entries from before.
                    self.ticket.rooms.note_activity(&room);
                }
                Some(false) => {
                    self.session.handle_unfollowed(&room);
                    self.watch_rooms();
                }
                None => {}
            }
            if let Some(seq) = update.read {
                let effects = self.session.handle_read(room.clone(), seq);
                self.perform(effects);
            }
            if let Some((unread, with)) = update.activity.map(|activity| *activity) {
                let effects = self.session.handle_activity(room.clone(), &unread, with);
                self.perform(effects);
                if update.is_stale {
                    self.watching.note_behind(&room);
                }
            }
        }
        true
    }

    /// Returns true if an outcome can change the rooms whose activity the connection gets.
    pub(super) fn changes_watched(outcome: &Outcome<Membership>) -> bool {
        matches!(
            outcome,
            Outcome::Joined { .. } | Outcome::Left | Outcome::Followed(_) | Outcome::Listed { .. }
        )
    }

    /// Watches the rooms that the user follows and the connection is not in.
    pub(super) fn watch_rooms(&mut self) {
        self.watching.set(&self.ticket, self.session.watched());
    }
}
