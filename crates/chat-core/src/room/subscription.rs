use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use chat_proto::room::{Delivery, RoomEvent};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::Stream;
use tokio::time::timeout;

use crate::room::membership::READ_PAUSE;
use crate::room::{Backoff, Inbox, Membership};
use crate::{Event, InvalidEvent, Page, RoomName, Unavailable};

/// The events of one room, for host code: see [`Chat::subscribe`](crate::Chat::subscribe).
///
/// A subscription is a cursor in the room's log, like a member, but no user sees it. A slow subscription reads the
/// messages that it has missed from the log, and gets a `gap` event for those that the log no longer has. Dropping it
/// ends it.
///
/// It is a [`Stream`] of events. The stream ends without an error when the chat has drained. If the log has started a
/// new epoch, the last item is [`SubscriptionError::Renewed`], and the host subscribes again.
pub struct Subscription {
    membership: Membership,
    inbox: Arc<Inbox>,
    events: VecDeque<RoomEvent>,
    /// The page that is being read from the log, and the end of the catching up.
    reading: Option<(u64, BoxFuture<'static, Result<Page, Unavailable>>)>,
    backoff: Backoff,
    /// The pause before the next read, if the last one has failed.
    pause: Option<Duration>,
    drained: BoxFuture<'static, ()>,
    is_over: bool,
}

/// An error of a [`Subscription`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// The log has started a new epoch. It is the last item: the host subscribes again.
    #[error("the log has started a new epoch: subscribe again")]
    Renewed,
    /// The log cannot be read now. The next item is the result of another attempt, after a pause of 0.1 s to
    /// 5 s.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The log has returned a message that is not an [`Event`]. The next item is the event after it.
    #[error(transparent)]
    InvalidEvent(#[from] InvalidEvent),
}

impl Subscription {
    pub(crate) fn new(membership: Membership, inbox: Arc<Inbox>) -> Self {
        let mut drained = membership.rooms().drained.subscribe();
        let drained = async move {
            // An error means that the chat is gone, which ends the subscription too.
            let _drained = drained.wait_for(|drained| *drained).await;
        };
        let (events, reading, drained) = (VecDeque::new(), None, drained.boxed());
        let backoff = Backoff::new(READ_PAUSE);
        Self { membership, inbox, events, reading, backoff, pause: None, drained, is_over: false }
    }

    /// Returns the room.
    pub fn room(&self) -> &RoomName {
        self.membership.name()
    }

    /// Waits for the next event: a message, a change of presence, the number of users, typing, or a gap. Returns `None`
    /// once the chat has drained, and after [`SubscriptionError::Renewed`].
    ///
    /// A room with more users than [`RoomLimits::presence_threshold`](crate::RoomLimits::presence_threshold) sends
    /// their number, and neither presence nor typing.
    ///
    /// No event is lost if the future is dropped.
    ///
    /// # Errors
    ///
    /// [`SubscriptionError`]. Only [`SubscriptionError::Renewed`] ends the subscription.
    pub async fn next(&mut self) -> Option<Result<Event, SubscriptionError>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Waits for the next event, as the text that a client gets. It is otherwise the same as [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next), but a frame is not read, so [`SubscriptionError::InvalidEvent`] does not occur.
    pub async fn next_frame(&mut self) -> Option<Result<Bytes, SubscriptionError>> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SubscriptionError>>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(Some(Ok(event.frame)));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            if let Some((up_to, reading)) = &mut self.reading {
                let (up_to, page) = (*up_to, ready!(reading.poll_unpin(cx)));
                self.reading = None;
                self.pause = if page.is_err() {
                    Some(self.backoff.next_pause())
                } else {
                    self.backoff.reset();
                    None
                };
                match page.map(|page| self.membership.catch_up(page, up_to)) {
                    Ok(Some(events)) => self.events.extend(events),
                    Ok(None) => return self.end(SubscriptionError::Renewed),
                    Err(error) => {
                        // The store of a chat that has drained is closed, and does not open again.
                        self.is_over = *self.membership.rooms().drained.borrow();
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
                continue;
            }
            match self.membership.take() {
                Delivery::Events(events) => self.events.extend(events),
                Delivery::CatchUp { up_to } => {
                    self.reading = Some((up_to, self.read_on()));
                }
                Delivery::Renewed => return self.end(SubscriptionError::Renewed),
                Delivery::Nothing => {
                    self.inbox.waker.register(cx.waker());
                    if self.inbox.pop().is_none() {
                        ready!(self.drained.poll_unpin(cx));
                        self.is_over = true;
                    }
                }
            }
        }
    }

    /// Reads the log, after a pause if the last read has failed. The end of the drain ends the pause.
    fn read_on(&mut self) -> BoxFuture<'static, Result<Page, Unavailable>> {
        let page = self.membership.read_on();
        let Some(pause) = self.pause.take() else { return page.boxed() };
        let mut drained = self.membership.rooms().drained.subscribe();
        async move {
            drop(timeout(pause, drained.wait_for(|drained| *drained)).await);
            page.await
        }
        .boxed()
    }

    fn end(&mut self, error: SubscriptionError) -> Poll<Option<Result<Bytes, SubscriptionError>>> {
        self.is_over = true;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Subscription {
    type Item = Result<Event, SubscriptionError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(self.poll_frame(cx)).map(|frame| {
            let frame = frame?;
            let text = str::from_utf8(&frame).map_err(|_| InvalidEvent::NotAnEvent)?;
            Ok(Event::parse(text)?)
        });
        Poll::Ready(event)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("room", self.room()).finish_non_exhaustive()
    }
}
