use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::mpsc;

use crate::driver::Ending;
use crate::{ClientEvent, Closed};

/// The stream of a client's events, in order. The last event is [`ClientEvent::Closed`].
///
/// The stream is bounded: see [slow consumers](crate#slow-consumers). A program that does not need the events drops
/// it.
///
/// # Examples
///
/// ```no_run
/// use chat_client::{ClientEvent, Events};
///
/// async fn print(mut events: Events) {
///     while let Some(event) = events.next().await {
///         if let ClientEvent::Message(message) = event {
///             println!("{}: {:?}", message.user.name(), message.text());
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<ClientEvent>,
    ended: Arc<OnceLock<Ending>>,
    done: bool,
}

impl Events {
    pub(crate) fn new(events: mpsc::Receiver<ClientEvent>, ended: Arc<OnceLock<Ending>>) -> Self {
        Self { events, ended, done: false }
    }

    /// Waits for the next event and returns `None` after the last one. To drop the future loses no event.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = ClientEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        if let Some(event) = ready!(self.events.poll_recv(cx)) {
            return Poll::Ready(Some(event));
        }
        if std::mem::replace(&mut self.done, true) {
            return Poll::Ready(None);
        }
        let reason = self.ended.get().map_or(Closed::Runtime, |ending| ending.reason.clone());
        Poll::Ready(Some(ClientEvent::Closed(reason)))
    }
}
