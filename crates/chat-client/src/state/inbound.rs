//! The handling of the events that a server sends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::command::JoinFrom;
use chat_proto::{ErrorCode, Event as WireEvent, RoomName};
use tokio::time::Instant;

use super::cursor::{Delivery, Phase, RoomCursor};
use super::request::{Reply, Request};
use super::send_backoff::SendBackoff;
use super::{PendingCommand, State};
use crate::backoff::jittered;
use crate::{
    ClientEvent, Joined, ReceivedAct, ReceivedChange, ReceivedMessage, ReceivedPurge, ServerError, Violation,
};

/// The mean wait before a room is resumed again that refused for now, if the server gives no advice.
const RESUME_WAIT: Duration = Duration::from_secs(1);

/// The longest such wait, even if the server advises a longer one.
const MAX_RESUME_WAIT: Duration = Duration::from_secs(60);

impl State {
    /// Handles a text frame and adds the events for the consumer to `events`. If the consumer has no capacity, the
    /// rooms of dropped entries fall behind and are resumed later.
    ///
    /// # Errors
    ///
    /// The way in which the server broke the protocol.
    pub(crate) fn handle_text(
        &mut self,
        text: &str,
        now: Instant,
        has_capacity: bool,
        events: &mut Vec<ClientEvent>,
    ) -> Result<(), Violation> {
        let event = WireEvent::parse(text)?;
        if let Some(reference) = event.reference() {
            let reference = reference.parse().map_err(|_| Violation::UnknownReference)?;
            return self.handle_reply(reference, event, now, has_capacity, events);
        }
        if event.entry().is_some() {
            self.handle_entry(event, has_capacity, events);
            return Ok(());
        }
        match event {
            WireEvent::Gap { room, epoch, from, to, .. } => {
                let Some(cursor) = self.cursors.get_mut(&room) else { return Ok(()) };
                if !has_capacity {
                    cursor.fall_behind(from);
                    self.lagging = true;
                } else if let Some(from) = cursor.handle_gap(&epoch, from, to) {
                    events.push(gap(cursor, from, to));
                }
            }
            WireEvent::Left { reference: None, room } => {
                let error = ServerError {
                    code: ErrorCode::Forbidden,
                    message: "the room no longer allows the user".to_owned(),
                    room: Some(room.clone()),
                    retry_after: None,
                    detail: None,
                };
                self.expel(&room, error, events);
            }
            WireEvent::Presence { room, user, state } if has_capacity && self.cursors.contains_key(&room) => {
                events.push(ClientEvent::Presence { room, user, state });
            }
            WireEvent::Occupancy { room, members, presence }
                if has_capacity && self.cursors.contains_key(&room) =>
            {
                events.push(ClientEvent::Occupancy { room, members, presence });
            }
            WireEvent::Typing { room, user, active } if has_capacity && self.cursors.contains_key(&room) => {
                events.push(ClientEvent::Typing { room, user, active });
            }
            WireEvent::Read { room, user, seq, .. } if user.id() == self.user.id() => {
                if has_capacity {
                    events.push(ClientEvent::Read { room, seq });
                    return Ok(());
                }
                match self.cursors.get_mut(&room) {
                    Some(cursor) => cursor.miss_read(),
                    None => self.activity.miss(),
                }
                self.lagging = true;
            }
            WireEvent::Read { room, user, seq, .. } if has_capacity && self.cursors.contains_key(&room) => {
                events.push(ClientEvent::Receipt { room, user, seq });
            }
            // The activity of a room that was joined meanwhile is among its entries.
            WireEvent::Activity { room, with, seq, unread, mentions }
                if !self.cursors.contains_key(&room) =>
            {
                if has_capacity {
                    events.push(ClientEvent::Activity { room, with, seq, unread, mentions });
                } else {
                    self.activity.miss();
                    self.lagging = true;
                }
            }
            WireEvent::Expiring { at } => {
                self.expires = true;
                if has_capacity {
                    events.push(ClientEvent::Expiring { at });
                }
            }
            WireEvent::Closing { reconnect_in_ms, .. } => {
                self.advice = reconnect_in_ms.map(Duration::from_millis);
            }
            WireEvent::Error { .. } if has_capacity => {
                events.extend(server_error(event).map(ClientEvent::Error));
            }
            // An event of a later protocol, or one that the consumer has no capacity for.
            _ => {}
        }
        Ok(())
    }

    /// Handles an entry of a room's log. The cursor advances over entries of unknown types too.
    fn handle_entry(&mut self, event: WireEvent, has_capacity: bool, events: &mut Vec<ClientEvent>) {
        let Some((room, seq)) = event.entry() else { return };
        // The room was never joined, or was left.
        let Some(cursor) = self.cursors.get_mut(room) else { return };
        if !has_capacity {
            cursor.fall_behind(seq);
            self.lagging = true;
            return;
        }
        match cursor.handle_entry(seq) {
            Delivery::Deliver => {}
            Delivery::Drop => {
                self.lagging |= cursor.phase == Phase::Behind;
                return;
            }
            Delivery::DeliverAfterGap(from) => events.push(gap(cursor, from, seq - 1)),
        }
        let epoch = &cursor.epoch;
        events.extend(match event {
            WireEvent::Changed { .. } => ReceivedChange::from_wire(event, epoch).map(ClientEvent::Changed),
            WireEvent::Purged { .. } => ReceivedPurge::from_wire(event, epoch).map(ClientEvent::Purged),
            WireEvent::Role { .. } | WireEvent::Settings { .. } => {
                ReceivedAct::from_wire(event, epoch).map(ClientEvent::Act)
            }
            _ => ReceivedMessage::from_wire(event, epoch).map(ClientEvent::Message),
        });
    }

    fn handle_reply(
        &mut self,
        reference: u64,
        event: WireEvent,
        now: Instant,
        has_capacity: bool,
        events: &mut Vec<ClientEvent>,
    ) -> Result<(), Violation> {
        // The command may have expired.
        let pending = self.take_own(reference, now).or_else(|| self.pending.remove(&reference));
        let Some(pending) = pending else { return Ok(()) };
        if let WireEvent::Error { .. } = event {
            let Some(error) = server_error(event) else { return Ok(()) };
            match &pending.request {
                Request::Resume(room) => self.handle_refused_resume(room, error, now, events),
                Request::MissedActivity => self.handle_refused_activity(&error, now),
                Request::Send(_) => self.handle_refused_send(reference, pending, error, now),
                Request::Change(_) => {
                    let unsure = pending.unsure || error.code == ErrorCode::Unavailable;
                    PendingCommand { unsure, ..pending }.refuse(error);
                }
                _ => pending.refuse(error),
            }
            return Ok(());
        }
        let cursor = pending.request.room().and_then(|room| self.cursors.get(room));
        let epoch = cursor.map_or_else(|| Arc::from(""), |cursor| Arc::clone(&cursor.epoch));
        let reply = pending.request.read(event, &epoch)?;
        match (&pending.request, &reply) {
            (Request::Resume(_), Reply::Joined(joined)) => {
                self.handle_resumed(joined.clone(), has_capacity, events);
            }
            (Request::MissedActivity, Reply::Rooms(page)) => {
                self.handle_missed_activity(page.clone(), now, has_capacity, events);
            }
            (Request::Follow(_) | Request::Rooms, _) => self.activity.start(),
            (Request::Join(_, from) | Request::JoinDirect(from), Reply::Joined(joined)) => {
                let room = pending.request.room().unwrap_or(&joined.room);
                let cursor = RoomCursor::new(self.cursors.remove(room), joined, from);
                self.cursors.insert(room.clone(), cursor);
                self.send_pending(0);
            }
            (Request::Leave(room), _) => {
                self.cursors.remove(room);
                self.send_pending(0);
            }
            (Request::Send(room), _) => {
                let cursor = self.cursors.get_mut(room);
                if cursor.and_then(|cursor| cursor.send_backoff.take()).is_some() {
                    self.send_pending(0);
                }
            }
            _ => {}
        }
        pending.answer(Ok(reply));
        Ok(())
    }

    fn handle_resumed(&mut self, mut joined: Joined, has_capacity: bool, events: &mut Vec<ClientEvent>) {
        let Some(cursor) = self.cursors.get_mut(&joined.room) else { return };
        if has_capacity {
            joined.recovered = cursor.handle_resumed(&joined);
            if !cursor.announced || !joined.recovered {
                events.push(ClientEvent::Resumed(joined));
            } else if let Some(unread) = joined.unread.filter(|_| cursor.missed_read) {
                // The entries that were missed follow. A move of the marker is no entry.
                events.push(ClientEvent::Read { room: joined.room, seq: unread.read });
            }
            (cursor.announced, cursor.missed_read) = (true, false);
        } else {
            // The consumer would not get the event, so the room is resumed again when it has capacity.
            cursor.joined = true;
            cursor.phase = Phase::Behind;
            self.lagging = true;
        }
        self.send_pending(0);
    }

    /// Handles a refused `send`. A message that the room refuses for now is sent again if its deadline allows that.
    fn handle_refused_send(
        &mut self,
        reference: u64,
        mut pending: PendingCommand,
        error: ServerError,
        now: Instant,
    ) {
        pending.sent = false;
        pending.unsure |= error.code == ErrorCode::Unavailable;
        let cursor = pending.request.room().and_then(|room| self.cursors.get_mut(room));
        let Some(cursor) = cursor.filter(|_| error.code.is_temporary()) else {
            return pending.refuse(error);
        };
        let backoff = SendBackoff::after(cursor.send_backoff.take(), error.clone(), now, (self.random)());
        let until = cursor.send_backoff.insert(backoff).until();
        self.backing_off = true;
        if until.is_some_and(|until| until < pending.deadline) {
            self.pending.insert(reference, pending);
        } else {
            pending.refuse(error);
        }
    }

    fn handle_refused_resume(
        &mut self,
        room: &RoomName,
        error: ServerError,
        now: Instant,
        events: &mut Vec<ClientEvent>,
    ) {
        let Some(cursor) = self.cursors.get_mut(room) else { return };
        if error.code.is_temporary() {
            // The clients of a room that was not available return apart.
            let own = || RESUME_WAIT / 2 + jittered(RESUME_WAIT, RESUME_WAIT, 0, (self.random)());
            let wait = error.retry_after.unwrap_or_else(own).min(MAX_RESUME_WAIT);
            cursor.phase = Phase::Deferred(now + wait);
            self.lagging = true;
        } else if error.code == ErrorCode::BadCursor && cursor.phase != (Phase::Resuming { from_now: true }) {
            // The log has lost entries that this client has seen.
            cursor.phase = Phase::Resuming { from_now: true };
            self.resume(room.clone(), JoinFrom::Now, now);
        } else {
            self.expel(room, error, events);
        }
    }

    /// Ends a membership that the server refuses, with the commands for it that were not sent.
    fn expel(&mut self, room: &RoomName, error: ServerError, events: &mut Vec<ClientEvent>) {
        if self.cursors.remove(room).is_some() {
            let is_unsent = |pending: &PendingCommand| !pending.sent && pending.request.room() == Some(room);
            let pending = std::mem::take(&mut self.pending);
            let (unsent, kept) =
                pending.into_iter().partition::<BTreeMap<_, _>, _>(|(_, pending)| is_unsent(pending));
            self.pending = kept;
            for pending in unsent.into_values() {
                pending.refuse(error.clone());
            }
            events.push(ClientEvent::Expelled { room: room.clone(), error });
        }
    }
}

fn gap(cursor: &RoomCursor, from: u64, to: u64) -> ClientEvent {
    ClientEvent::Gap { room: cursor.room.clone(), epoch: Arc::clone(&cursor.epoch), from, to }
}

/// Takes the fields of an `error` event.
fn server_error(event: WireEvent) -> Option<ServerError> {
    match event {
        WireEvent::Error { code, message, room, retry_after_ms, detail, .. } => {
            let retry_after = retry_after_ms.map(Duration::from_millis);
            Some(ServerError { code, message, room, retry_after, detail })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
