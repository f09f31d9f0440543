//! What comes in from the peer.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{BURST, Driver, REPLIES};
use crate::Message;
use crate::connection::{Connection, Incoming};
use crate::serve::End;

impl<M: Message, C: Connection> Driver<'_, M, C> {
    pub(super) fn reads(&self) -> bool {
        self.end.is_none()
            && self.parting.is_none()
            && !self.peer_ended
            && self.session.wants_text()
            && self.may_reply()
    }

    /// Whether the peer takes its replies fast enough to get more of them.
    pub(super) fn may_reply(&self) -> bool {
        self.output.takes_replies(REPLIES, self.chat.limits().wire.max_batch_bytes)
    }

    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>) -> bool {
        if self.operation.is_none()
            && let Some((incoming, _)) = self.parting.take()
        {
            self.handle(incoming);
            return true;
        }
        let mut moved = false;
        for _ in 0..BURST {
            if !self.reads() {
                break;
            }
            let Poll::Ready(incoming) = self.connection.poll_receive(cx) else {
                break;
            };
            moved = true;
            self.received += u64::from(incoming.is_frame());
            let parts =
                !matches!(incoming, Incoming::Text(_) | Incoming::Ping | Incoming::Pong | Incoming::End);
            if parts && self.operation.is_some() {
                // What came ahead of it is served first.
                let until = Instant::now() + self.chat.limits().rooms.call_timeout;
                self.parting = Some((incoming, until));
                break;
            }
            self.handle(incoming);
        }
        moved
    }

    pub(super) fn handle(&mut self, incoming: Incoming) {
        let now = self.now();
        let effects = match incoming {
            Incoming::Text(text) => {
                // What had happened before the command is told before its reply.
                self.take_events();
                self.session.handle_text(now, text)
            }
            Incoming::Binary(_) => self.session.handle_binary(),
            Incoming::Ping | Incoming::Pong => {
                // The pong leaves with the next flush.
                self.unflushed = true;
                self.session.handle_sign_of_life(now);
                Vec::new()
            }
            Incoming::Violation(code) => self.session.handle_violation(code),
            Incoming::Close(code) => {
                self.end = Some(End::PeerClosed(code));
                Vec::new()
            }
            Incoming::End => {
                self.peer_ended = true;
                Vec::new()
            }
            Incoming::Lost(error) => {
                self.end = Some(End::Lost(error));
                Vec::new()
            }
        };
        self.perform(effects);
    }
}
