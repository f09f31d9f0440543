//! The input of a session: frames from the peer.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::driver::{BURST, Driver, MAX_REPLIES, State};
use super::end::End;
use crate::connection::{Connection, Incoming};

/// Bytes that each frame counts besides its payload, so that small frames are limited too.
const FRAME_BYTES: u32 = 64;

impl<C: Connection> Driver<'_, C> {
    /// Returns true if the session takes the next frame.
    pub(super) fn wants_input(&self) -> bool {
        matches!(self.state, State::Open) && self.session.wants_text() && self.may_reply()
    }

    /// Returns true if the next frame can be read. Otherwise, if the peer sends bytes or commands faster than it may or
    /// owes bytes that it has asked for, it records the time at which the peer is read again. The timer uses this time
    /// and not the clock, because the debt may end before the timer is polled.
    fn reads(&mut self) -> bool {
        self.resumes = None;
        if !self.wants_input() {
            return false;
        }
        let now = self.now();
        let debt = self.read_bytes.debt(self.limits().rates.read_bytes, now);
        let wait = debt.max(self.session.reading_pause(now));
        if !wait.is_zero() {
            self.resumes = Some(self.started + now + wait);
        }
        self.resumes = self.resumes.max(self.requested.resumes);
        self.resumes.is_none()
    }

    fn charge_read(&mut self, incoming: &Incoming) {
        let payload = match incoming {
            Incoming::Text(payload) | Incoming::Binary(payload) => payload.len(),
            _ => 0,
        };
        let payload = u32::try_from(payload).unwrap_or(u32::MAX);
        self.uncounted.0 = self.uncounted.0.saturating_add(payload);
        let bytes = payload.saturating_add(FRAME_BYTES);
        let now = self.now();
        self.read_bytes.charge(self.ticket.limits().rates.read_bytes, now, bytes);
    }

    /// Returns true if the peer reads its replies fast enough to get more.
    pub(super) fn may_reply(&self) -> bool {
        self.output.takes_replies(MAX_REPLIES, self.limits().wire.max_batch_bytes)
    }

    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is_busy() && matches!(self.state, State::Deferred(..)) {
            self.handle_deferred();
            return true;
        }
        let mut moved = false;
        for _ in 0..BURST {
            if !self.has_input || !self.reads() {
                break;
            }
            let Poll::Ready(incoming) = self.connection.poll_receive(cx) else {
                self.has_input = false;
                break;
            };
            moved = true;
            self.charge_read(&incoming);
            self.received += u64::from(incoming.is_frame());
            let ends =
                !matches!(incoming, Incoming::Text(_) | Incoming::Ping | Incoming::Pong | Incoming::End);
            if ends && self.is_busy() {
                // Earlier commands are served first.
                let limits = self.limits();
                let turn = if self.has_read() { limits.reads.wait_timeout } else { Duration::ZERO };
                let host = if self.hello.is_some() { limits.http.identify_timeout } else { Duration::ZERO };
                let opening = if self.may_open() { limits.rooms.opening_wait } else { Duration::ZERO };
                let until = Instant::now() + turn + host + opening + limits.rooms.call_timeout;
                self.state = State::Deferred(Box::new((incoming, until)));
                if self.is_lost() {
                    self.skip_read();
                }
                break;
            }
            self.handle(incoming);
        }
        moved
    }

    /// Returns true if an operation or a `hello` is in flight.
    fn is_busy(&self) -> bool {
        !self.in_flight.is_empty() || self.hello.is_some()
    }

    /// Returns true if the transport has failed while an earlier command is in flight.
    pub(super) fn is_lost(&self) -> bool {
        matches!(&self.state, State::Deferred(deferred) if matches!(deferred.0, Incoming::Lost(_)))
    }

    /// Handles the input that had to wait for the operation in flight.
    pub(super) fn handle_deferred(&mut self) {
        if let State::Deferred(deferred) = std::mem::replace(&mut self.state, State::Open) {
            self.handle(deferred.0);
        }
    }

    fn handle(&mut self, incoming: Incoming) {
        let now = self.now();
        let effects = match incoming {
            Incoming::Text(text) => {
                // Events from before the command are sent before its reply.
                self.session
                    .memberships()
                    .filter(|member| member.is_flushing())
                    .for_each(|member| member.queue(false));
                self.take_events();
                self.session.handle_text(now, text)
            }
            Incoming::Binary(_) => self.session.handle_binary(),
            Incoming::Ping | Incoming::Pong => {
                self.pong_waits();
                self.session.handle_sign_of_life(now);
                Vec::new()
            }
            Incoming::Violation(violation) => self.session.handle_violation(violation),
            Incoming::Close(code) => {
                self.end(End::PeerClosed(code));
                Vec::new()
            }
            Incoming::End => {
                self.state = State::PeerEnded;
                Vec::new()
            }
            Incoming::Lost(error) => {
                self.end(End::Lost(error));
                Vec::new()
            }
        };
        self.perform(effects);
    }
}
