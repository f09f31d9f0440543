use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::mpsc;

use crate::driver::Ending;
use crate::{Closed, Event};

/// What happens, in order. The last event is [`Event::Closed`].
///
/// The stream is bounded: see [what a slow consumer causes](crate#a-consumer-that-is-slow). Who does not want it
/// drops it.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
    ended: Arc<OnceLock<Ending>>,
    done: bool,
}

impl Events {
    pub(crate) fn new(events: mpsc::Receiver<Event>, ended: Arc<OnceLock<Ending>>) -> Self {
        Self { events, ended, done: false }
    }

    /// The next event; `None` after the last. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = ready!(self.events.poll_recv(cx)) {
            return Poll::Ready(Some(event));
        }
        if std::mem::replace(&mut self.done, true) {
            return Poll::Ready(None);
        }
        let why = self.ended.get().map_or(Closed::Runtime, |ending| ending.why.clone());
        Poll::Ready(Some(Event::Closed(why)))
    }
}
