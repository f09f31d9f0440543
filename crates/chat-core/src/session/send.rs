//! The output of a session: frames for the peer.

use std::io;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::driver::{Driver, Writer};
use super::output::Output;
use crate::connection::Connection;
use crate::room::Left;

impl<C: Connection> Driver<'_, C> {
    /// Sends the waiting frames, at most one batch of the rooms' events, and flushes once.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = self.can_send() && self.take_events();
        while self.can_send() && !self.output.is_empty() {
            let Poll::Ready(ready) = self.connection.poll_ready(cx) else { break };
            let Some(frame) = self.output.pop() else { break };
            moved = true;
            let bytes = u32::try_from(frame.payload_bytes()).unwrap_or(u32::MAX);
            match ready.and_then(|()| self.connection.send(frame)) {
                Ok(()) => {
                    self.sent += 1;
                    self.uncounted.1 = self.uncounted.1.saturating_add(bytes);
                    self.writer = Writer::Open { unflushed: true };
                }
                Err(error) => self.write_failed(error),
            }
        }
        if self.can_send()
            && self.has_unflushed()
            && let Poll::Ready(flushed) = self.connection.poll_flush(cx)
        {
            match flushed {
                Ok(()) => {
                    self.writer = Writer::Open { unflushed: false };
                    // What waits for a quiet connection can continue.
                    moved = true;
                }
                Err(error) => self.write_failed(error),
            }
        }
        if self.has_failed() && !self.output.is_empty() {
            self.output = Output::default();
            // Commands that waited for space among the replies can continue.
            moved = true;
        }
        self.note_stall();
        moved
    }

    /// Keeps the rooms from the connection while the session uses it, and takes over what they have begun.
    pub(super) fn close_outlet(&mut self) {
        let taken = self.ticket.permit.inbox().outlet.close();
        self.sent += taken.frames;
        let done = match taken.left.map(|left| *left) {
            None => return,
            Some(Left::Bytes(rest)) => self.connection.send_rest(rest),
            Some(Left::Buffered) => Ok(()),
            Some(Left::Panicked) => Err(io::Error::other("the direct writer has panicked")),
        };
        match done {
            Ok(()) => self.writer = Writer::Open { unflushed: true },
            Err(error) => self.write_failed(error),
        }
    }

    /// Records that a pong leaves with the next flush.
    pub(super) fn pong_waits(&mut self) {
        if let Writer::Open { unflushed } = &mut self.writer {
            *unflushed = true;
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.writer, Writer::Failed(..))
    }

    fn write_failed(&mut self, error: io::Error) {
        self.writer = Writer::Failed(error, Instant::now() + self.limits().connection.close_timeout);
    }

    fn can_send(&self) -> bool {
        !self.is_ended() && !self.has_failed()
    }
}
