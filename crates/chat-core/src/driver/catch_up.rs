//! What the rooms have for the session, from their tails or, where it has fallen behind, from their logs.

use std::sync::Arc;
use std::task::{Context, Poll};

use chat_proto::Next;
use futures_util::future::{BoxFuture, FutureExt};

use super::Driver;
use crate::chat::within;
use crate::connection::Connection;
use crate::serve::End;
use crate::{CloseCode, ErrorCode, Message, Page, Range, RoomName};

/// Messages on their way from a room's log to a member who fell behind the room's tail.
pub(super) struct CatchUp {
    room: RoomName,
    up_to: u64,
    page: BoxFuture<'static, Result<Page, ErrorCode>>,
}

impl<M: Message, C: Connection> Driver<'_, M, C> {
    /// Drops the messages that were taken from a room and not yet sent, and all else if it has been left.
    pub(super) fn forget(&mut self, room: &RoomName, left: bool) {
        self.output.forget(room, left);
        if self.catch_up.as_ref().is_some_and(|catch_up| catch_up.room == *room) {
            self.catch_up = None;
            self.inbox.requeue(room.clone());
            self.resume_lagging();
        }
    }

    fn resume_lagging(&mut self) {
        for room in self.lagging.drain(..) {
            self.inbox.requeue(room);
        }
    }

    /// Takes what the rooms have, as far as there is room for it; true if a log is to be read for more.
    pub(super) fn take_events(&mut self) -> bool {
        let mut reads = false;
        while self.output.takes_events(self.chat.limits().wire.max_batch_bytes) {
            let Some(room) = self.inbox.pop() else { break };
            let Some(membership) = self.memberships.get_mut(&room) else {
                continue;
            };
            match membership.take() {
                Next::Nothing => {}
                Next::Events(frames) => {
                    for frame in frames {
                        self.output.event(room.clone(), frame);
                    }
                    self.inbox.requeue(room);
                }
                Next::CatchUp { .. } if self.catch_up.is_some() => self.lagging.push(room),
                Next::CatchUp { up_to } => {
                    let rooms = Arc::clone(self.chat.rooms());
                    let range =
                        Range::After { seq: membership.seq(), limit: rooms.limits.wire.max_page_messages };
                    let log = Arc::clone(membership.room());
                    let page = async move { within(&rooms, log.log.read(range)).await }.boxed();
                    self.catch_up = Some(CatchUp { room, up_to, page });
                    reads = true;
                }
            }
        }
        reads
    }

    pub(super) fn poll_catch_up(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(CatchUp { page, .. }) = &mut self.catch_up else {
            return false;
        };
        let Poll::Ready(page) = page.poll_unpin(cx) else {
            return false;
        };
        if let Some(CatchUp { room, up_to, .. }) = self.catch_up.take()
            && let Some(membership) = self.memberships.get_mut(&room)
        {
            match page.ok().and_then(|page| membership.catch_up(page, up_to)) {
                Some(frames) => {
                    for frame in frames {
                        self.output.event(room.clone(), frame);
                    }
                }
                // The client resumes, and is told then what cannot be had.
                None => self.end = self.end.take().or(Some(End::Closing(CloseCode::InternalError))),
            }
            self.inbox.requeue(room);
        }
        self.resume_lagging();
        true
    }
}
