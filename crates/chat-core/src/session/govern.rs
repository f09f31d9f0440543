//! The acts of a user on the rules of a room and on other users, and their effect on memberships.

use std::sync::Arc;
use std::task::{Context, Poll};

use chat_proto::session::Outcome;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, sleep};

use super::driver::Driver;
use super::end::End;
use super::host::{Host, Refused};
use super::operation::Done;
use crate::connection::Connection;
use crate::room::{Admitted, Backoff, LiveRoom, OwnFlushes, READ_PAUSE, Seat, govern};
use crate::{Act, Action, CloseCode, ErrorCode, Event, NewAct, Role, RoomName, RoomRules, Unavailable};

/// The decisions about rooms in which the rights of the session may have changed: one for each room.
#[derive(Default)]
pub(super) struct RightsChecks(Vec<Check>);

/// A decision about a room.
struct Check {
    room: RoomName,
    /// The time until which a store that fails is asked.
    until: Instant,
    /// `None` if the user must leave the room.
    decided: BoxFuture<'static, Result<Option<Admitted>, Unavailable>>,
}

impl RightsChecks {
    fn is_deciding(&self, room: &RoomName) -> bool {
        self.0.iter().any(|check| check.room == *room)
    }

    /// Gives up the decision about a room, if there is one. Returns the time until which it would have gone on.
    fn give_up(&mut self, room: &RoomName) -> Option<Instant> {
        let place = self.0.iter().position(|check| check.room == *room)?;
        Some(self.0.swap_remove(place).until)
    }
}

impl Host {
    /// Carries out an act of the user. Only a room that is created need not be joined.
    pub(super) async fn govern(
        self,
        name: RoomName,
        joined: Option<Arc<LiveRoom>>,
        mut act: Act,
    ) -> Result<Done, Refused> {
        // Before the room is opened, so that one that exists and one that does not look alike.
        if !NewAct::new(self.user().clone(), act.clone()).fits(&name) {
            return Err(ErrorCode::Forbidden.into());
        }
        let room = match joined {
            Some(room) => room,
            None => {
                self.may(&name, Action::Join).await?;
                self.open(&name).await?
            }
        };
        self.may(&name, Action::Govern { act: &act }).await?;
        let role = self.role(&name).await?;
        let target_role = with_target(&room, &mut act);
        if let Err(wait) = self.rooms.may_create(self.user(), &room) {
            self.rooms.counters.refuse(|limited| &mut limited.created);
            return Err(Refused::TooEarly(wait));
        }
        let act = NewAct::new(self.user().clone(), act).with_role(role).with_target_role(target_role);
        Ok(Done::Outcome(Outcome::Changed(govern(&room, act, &self.rooms).await?)))
    }

    /// Checks that the user may join a room, which need not be open. Returns the rules of the room.
    pub(super) async fn may_join(&self, name: &RoomName) -> Result<RoomRules, Refused> {
        self.may_join_by_name(name).await?;
        let granted = self.role(name).await?;
        let rules = self.rooms.rules_for(name, &self.user().key(), granted).await?;
        rules.ok_or(ErrorCode::Forbidden.into())
    }

    /// Decides if the user may stay in a room after a `hello`, which can only have changed the role. Acts on the user
    /// see the new role at once.
    async fn stays_after_hello(
        self,
        room: Arc<LiveRoom>,
        seat: Arc<Seat>,
        admitted: Admitted,
        until: Instant,
    ) -> Result<Option<Admitted>, Unavailable> {
        if let Ok(granted) = self.role(room.name()).await {
            self.rooms.set_granted(&room, self.user(), &seat, granted);
            if granted == admitted.granted {
                return Ok(Some(admitted));
            }
        }
        self.stays(room, until).await
    }

    /// Returns the time until which a store is asked if the user may stay in a room.
    fn checks_until(&self) -> Instant {
        Instant::now() + self.rooms.limits.rooms.catch_up_timeout
    }

    /// Decides if the user may stay in a room. A store that fails is asked again until this time. Returns `None` if the
    /// user must leave.
    async fn stays(self, room: Arc<LiveRoom>, until: Instant) -> Result<Option<Admitted>, Unavailable> {
        let mut backoff = Backoff::new(READ_PAUSE);
        loop {
            let decided = match self.role(room.name()).await {
                Ok(granted) => Admitted::again(&room, &self.rooms, &self.user().key(), granted).await,
                Err(Refused::Error(ErrorCode::Unavailable, _)) => Err(Unavailable::new("no role")),
                Err(_) => return Ok(None),
            };
            let pause = backoff.next_pause();
            match decided {
                Ok(decided) => return Ok(decided.ok()),
                Err(unavailable) if Instant::now() + pause > until => return Err(unavailable),
                Err(_) => sleep(pause).await,
            }
        }
    }
}

/// Sets the name of the user on whom an act acts, if the user is in the room, on any node. Returns the role that the
/// credentials of that user give.
pub(crate) fn with_target(room: &LiveRoom, act: &mut Act) -> Role {
    let mut granted = Role::None;
    if let Act::Role { user, .. } | Act::Restrict { user, .. } | Act::Purge { user } = act {
        let state = room.state();
        let id = user.id().to_owned();
        for (known, role) in state.roster().of_id(&id) {
            *user = known.clone();
            granted = granted.max(role);
        }
        for (known, seat) in state.members_of(&id) {
            *user = known.clone();
            granted = granted.max(seat.granted());
        }
    }
    granted
}

impl<C: Connection> Driver<'_, C> {
    /// Decides again about the rooms in which the rights of the session may have changed, and leaves those that it
    /// may not be in.
    pub(super) fn poll_rights(&mut self, cx: &mut Context<'_>) -> bool {
        if self.ticket.permit.inbox().take_rights_changed() {
            self.begin_checks();
        }
        if self.rights.0.is_empty() {
            return false;
        }
        if self.ticket.authorize.is_some() {
            OwnFlushes::write_started();
        }
        let mut decided = Vec::new();
        self.rights.0.retain_mut(|check| match check.decided.poll_unpin(cx) {
            Poll::Ready(admitted) => {
                decided.push((check.room.clone(), admitted));
                false
            }
            Poll::Pending => true,
        });
        let has_decided = !decided.is_empty();
        for (name, admitted) in decided {
            match (admitted, self.session.membership_mut(&name)) {
                (Ok(Some(admitted)), Some(membership)) => membership.stay(admitted),
                (Ok(None), Some(_)) => self.expel(&name),
                // The user may still have the right, so the client must come back.
                (Err(_), Some(_)) => self.end(End::Closing(CloseCode::InternalError)),
                (_, None) => {}
            }
        }
        if has_decided {
            // There may have been another change meanwhile.
            self.begin_checks();
        }
        has_decided
    }

    /// Decides again about all rooms after a `hello`.
    pub(super) fn renew_rights(&mut self) {
        self.watching.renew_rights(&self.ticket);
        for membership in self.session.memberships() {
            if let Some(host) = Host::of(&self.ticket)
                && let Some((seat, admitted)) = membership.place()
            {
                let (name, room) = (membership.name().clone(), Arc::clone(membership.room()));
                // A decision in flight has the role from before. It may have another cause, and is repeated then.
                let given_up = self.rights.give_up(&name);
                if given_up.is_some() {
                    membership.change_rights();
                }
                let until = given_up.unwrap_or_else(|| host.checks_until());
                let decided = host.stays_after_hello(room, seat, admitted, until).boxed();
                self.rights.0.push(Check { room: name, until, decided });
            }
        }
    }

    fn begin_checks(&mut self) {
        for membership in self.session.memberships() {
            let name = membership.name();
            if !self.rights.is_deciding(name)
                && membership.take_rights_changed()
                && let Some(host) = Host::of(&self.ticket)
            {
                let (until, room) = (host.checks_until(), Arc::clone(membership.room()));
                let decided = host.stays(room, until).boxed();
                self.rights.0.push(Check { room: name.clone(), until, decided });
            }
        }
        if self.rights.0.is_empty() {
            self.rights.0 = Vec::new();
        }
    }

    /// Ends the membership in a room that the session may not be in. The client gets the events so far, then `left`.
    fn expel(&mut self, name: &RoomName) {
        if let Some(membership) = self.session.membership(name) {
            membership.queue(false);
        }
        self.take_events();
        let Some(membership) = self.session.leave(name) else { return };
        membership.leave();
        self.stop_reading(name);
        self.reply(&Event::Left { reference: None, room: name.clone() });
        self.watch_rooms();
    }
}
