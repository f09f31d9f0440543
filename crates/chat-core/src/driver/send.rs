//! What goes out to the peer.

use std::io;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::Driver;
use crate::Message;
use crate::connection::Connection;
use crate::output::Output;

impl<M: Message, C: Connection> Driver<'_, M, C> {
    /// Sends what is there, at most one batch of the rooms' events, and flushes once.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = self.can_send() && self.take_events();
        while self.can_send() && !self.output.is_empty() {
            let Poll::Ready(ready) = self.connection.poll_ready(cx) else { break };
            let Some(frame) = self.output.pop() else { break };
            moved = true;
            self.unflushed = true;
            match ready.and_then(|()| self.connection.send(frame)) {
                Ok(()) => self.sent += 1,
                Err(error) => self.fall_mute(error),
            }
        }
        if self.can_send()
            && self.unflushed
            && let Poll::Ready(flushed) = self.connection.poll_flush(cx)
        {
            self.unflushed = false;
            if let Err(error) = flushed {
                self.fall_mute(error);
            }
        }
        if self.mute.is_some() && !self.output.is_empty() {
            self.output = Output::default();
            // Commands that waited for room among the replies can go on.
            moved = true;
        }
        self.unflushed &= self.mute.is_none();
        let waits = self.unflushed || !self.output.is_empty();
        self.stall.note(waits, self.connection.progress());
        moved
    }

    /// Sends nothing more.
    fn fall_mute(&mut self, error: io::Error) {
        self.mute = Some((error, Instant::now() + self.chat.limits().connection.close_timeout));
    }

    fn can_send(&self) -> bool {
        self.end.is_none() && self.mute.is_none()
    }
}
