//! The bytes that a peer has asked for: replies, and entries that a join replays.

use chat_proto::{Bucket, Event};
use tokio::time::Instant;

use super::driver::{Driver, State};
use super::registry::Phase;
use crate::connection::Connection;
use crate::stats::count;
use crate::{ErrorCode, Outgoing};

/// The bytes that one connection may ask for.
#[derive(Debug, Default)]
pub(super) struct RequestedBytes {
    bucket: Bucket,
    /// The time at which the peer may ask for more. `None` if it may ask now.
    ///
    /// The timer uses this time and not the clock, because the debt may end before the timer is polled.
    pub(super) resumes: Option<Instant>,
}

impl<C: Connection> Driver<'_, C> {
    /// Returns true if the peer has asked for more bytes than it may, so that its commands wait. The last commands of
    /// a session do not wait: they are few, and must not delay a drain.
    pub(super) fn owes_bytes(&self) -> bool {
        self.requested.resumes.is_some()
            && self.ticket.permit.phase() == Phase::Open
            && !matches!(self.state, State::Deferred(..))
    }

    /// Looks once in each round whether the peer still owes bytes, so that all parts of the round agree.
    pub(super) fn note_owed_bytes(&mut self) {
        if self.requested.bucket == Bucket::default() {
            return;
        }
        let (rate, now) = (self.limits().rates.reply_bytes, self.now());
        let debt = self.requested.bucket.debt(rate, now);
        let was_owing = self.requested.resumes.take().is_some();
        if !debt.is_zero() {
            self.requested.resumes = Some(self.started + now + debt);
            return;
        }
        if self.requested.bucket.is_full(now) {
            // The next rounds need no clock.
            self.requested.bucket = Bucket::default();
        }
        if was_owing {
            self.requeue_waiting();
        }
    }

    /// Counts bytes that the peer has asked for.
    pub(super) fn charge_requested(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let (rate, now) = (self.limits().rates.reply_bytes, self.now());
        self.requested.bucket.charge(rate, now, bytes);
    }

    /// Queues the reply to a command.
    pub(super) fn reply(&mut self, event: &Event) {
        if let Event::Error { code, .. } = event {
            let counters = &self.ticket.rooms.counters;
            counters.send_error(*code);
            if *code == ErrorCode::RateLimited {
                counters.refuse_for_rate(self.session.take_rate_refusals());
            }
        }
        if let Event::Gap { .. } = event {
            count(&self.ticket.rooms.counters.gaps);
        }
        let frame = event.encode();
        self.charge_requested(frame.len());
        self.output.reply(Outgoing::Text(frame));
    }
}
