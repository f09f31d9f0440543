//! The events of rooms for the session, from their tails or, if it is behind, from their logs.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use chat_proto::room::{Delivery, RoomEvent};
use futures_util::future::{BoxFuture, FutureExt};

use super::driver::Driver;
use super::end::End;
use crate::connection::Connection;
use crate::room::Membership;
use crate::stats::count;
use crate::{CloseCode, Page, RoomName, Unavailable};

/// The rooms whose tails the session is behind. One log is read at a time.
#[derive(Default)]
pub(super) struct CatchUps {
    reading: Option<Box<CatchUp>>,
    /// Rooms that wait for their turn.
    waiting: Vec<RoomName>,
}

struct CatchUp {
    room: RoomName,
    up_to: u64,
    page: BoxFuture<'static, Result<Page, Unavailable>>,
}

impl<C: Connection> Driver<'_, C> {
    /// Drops the entries that were taken from a room and not yet sent, and all its events if it has been left.
    pub(super) fn forget(&mut self, room: &RoomName, has_left: bool) {
        self.output.forget(room, has_left);
        self.stop_reading(room);
    }

    /// Gives up the read of a room's log.
    pub(super) fn stop_reading(&mut self, room: &RoomName) {
        if self.catch_ups.reading.as_ref().is_some_and(|catch_up| catch_up.room == *room) {
            self.catch_ups.reading = None;
            self.requeue(room.clone());
            self.requeue_waiting();
        }
    }

    /// Takes the events of the rooms while there is space for them. Returns true if a log must be read for more.
    pub(super) fn take_events(&mut self) -> bool {
        let mut reads = false;
        while self.output.takes_events(self.limits().wire.max_batch_bytes) {
            let Some(room) = self.ticket.permit.inbox().pop() else { break };
            let Some(membership) = self.session.membership_mut(&room) else {
                continue;
            };
            let is_replaying = membership.is_replaying();
            if is_replaying && self.requested.resumes.is_some() {
                self.catch_ups.waiting.push(room);
                continue;
            }
            match membership.take() {
                Delivery::Nothing => {}
                Delivery::Events(events) => {
                    self.queue_events(&room, events, is_replaying);
                    self.requeue(room);
                }
                Delivery::CatchUp { .. } if self.catch_ups.reading.is_some() => {
                    self.catch_ups.waiting.push(room);
                }
                Delivery::CatchUp { up_to } => {
                    let lag = up_to.saturating_sub(membership.seq());
                    metrics::histogram!("chat_reader_lag_entries").record(lag as f64);
                    let lagging = membership.rooms().counters.lag();
                    let page = membership.read_on_with_retries();
                    let page = async move {
                        let _lagging = lagging;
                        page.await
                    }
                    .boxed();
                    self.catch_ups.reading = Some(Box::new(CatchUp { room, up_to, page }));
                    reads = true;
                }
                Delivery::Renewed => self.end(End::Closing(CloseCode::LogRenewed)),
            }
        }
        reads
    }

    pub(super) fn poll_catch_up(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(CatchUp { page, .. }) = self.catch_ups.reading.as_deref_mut() else {
            return false;
        };
        let Poll::Ready(page) = page.poll_unpin(cx) else {
            return false;
        };
        if let Some(CatchUp { room, up_to, .. }) = self.catch_ups.reading.take().map(|reading| *reading)
            && let Some(membership) = self.session.membership_mut(&room)
        {
            let is_replaying = membership.is_replaying();
            match page.map(|page| catch_up(membership, page, up_to)) {
                Ok(Some(events)) => self.queue_events(&room, events, is_replaying),
                // The client resumes, and gets a gap for the entries that are lost.
                Ok(None) => self.end(End::Closing(CloseCode::LogRenewed)),
                Err(_) if !membership.is_current() => self.end(End::Closing(CloseCode::LogRenewed)),
                Err(_) => self.end(End::Closing(CloseCode::InternalError)),
            }
            self.requeue(room);
        }
        self.requeue_waiting();
        true
    }

    /// Queues events of a room. Those of a replay count as bytes that the peer has asked for.
    fn queue_events(&mut self, room: &RoomName, events: Vec<RoomEvent>, is_replaying: bool) {
        if is_replaying {
            self.charge_requested(events.iter().map(|event| event.frame.len()).sum());
        }
        let counters = &self.ticket.rooms.counters;
        counters.delivered_by_session.add(self.ticket.permit.connection(), events.len() as u64);
        for event in events {
            self.output.event(room.clone(), event);
        }
    }

    fn requeue(&self, room: RoomName) {
        self.ticket.permit.inbox().requeue(room);
    }

    /// Continues the rooms that waited for a read of a log, or because the peer had asked for too many bytes.
    pub(super) fn requeue_waiting(&mut self) {
        for room in std::mem::take(&mut self.catch_ups.waiting) {
            self.requeue(room);
        }
    }
}

/// Takes a page of a log, and counts it and its gaps.
fn catch_up(membership: &mut Membership, page: Page, up_to: u64) -> Option<Vec<RoomEvent>> {
    let entries = page.messages.iter().take_while(|message| message.seq <= up_to).count();
    let events = membership.catch_up(page, up_to)?;
    let counters = &membership.rooms().counters;
    count(&counters.catch_up_pages);
    counters.gaps.fetch_add(events.len().saturating_sub(entries) as u64, Ordering::Relaxed);
    Some(events)
}
