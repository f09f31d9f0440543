use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use chat_proto::room::{Delivery, RoomEvent};
use futures_util::future::{Either, select};

use crate::room::{Inbox, Membership};
use crate::{Event, InvalidEvent, RoomName, Unavailable};

/// The events of one room, for host code: see [`Chat::subscribe`](crate::Chat::subscribe).
///
/// A subscription is a cursor in the room's log, like a member, but no user sees it. A slow subscription reads the
/// messages that it has missed from the log, and gets a `gap` event for those that the log no longer has. Dropping it
/// ends it.
#[derive(Debug)]
pub struct Subscription {
    membership: Membership,
    inbox: Arc<Inbox>,
    events: VecDeque<RoomEvent>,
}

impl Subscription {
    pub(crate) fn new(membership: Membership, inbox: Arc<Inbox>) -> Self {
        Self { membership, inbox, events: VecDeque::new() }
    }

    /// Returns the room.
    pub fn room(&self) -> &RoomName {
        self.membership.name()
    }

    /// Waits for the next event: a message, a change of presence, typing, or a gap. Returns `None` if the log has started
    /// a new epoch, or if the chat has drained. After a new epoch, the caller [subscribes](crate::Chat::subscribe) again.
    ///
    /// No event is lost if the future is dropped.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be read now. The next call tries again. If the log returns a message that is
    /// not an [`Event`], the error says so, and the next call returns the event after it.
    pub async fn next(&mut self) -> Result<Option<Event>, Unavailable> {
        let Some(frame) = self.next_frame().await? else { return Ok(None) };
        let text = str::from_utf8(&frame).map_err(|_| InvalidEvent::NotAnEvent);
        text.and_then(Event::parse).map(Some).map_err(Unavailable::from_source)
    }

    /// Waits for the next event, as the text that a client gets. It is otherwise the same as [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be read now. The next call tries again.
    pub async fn next_frame(&mut self) -> Result<Option<Bytes>, Unavailable> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event.frame));
            }
            match self.membership.take() {
                Delivery::Events(events) => self.events.extend(events),
                Delivery::CatchUp { up_to } => {
                    let page = self.membership.read_on().await?;
                    match self.membership.catch_up(page, up_to) {
                        Some(events) => self.events.extend(events),
                        None => return Ok(None),
                    }
                }
                Delivery::Nothing => {
                    let mut drained = self.membership.rooms().drained.subscribe();
                    let drained = pin!(drained.wait_for(|drained| *drained));
                    if let Either::Right(_) = select(pin!(self.woken()), drained).await {
                        return Ok(None);
                    }
                }
                Delivery::Renewed => return Ok(None),
            }
        }
    }

    async fn woken(&self) {
        poll_fn(|cx| {
            self.inbox.waker.register(cx.waker());
            if self.inbox.pop().is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
