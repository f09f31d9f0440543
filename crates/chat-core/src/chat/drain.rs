//! The end of a chat.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared, join};
use tokio::time::{Instant, timeout};

use super::Chat;
use crate::Unavailable;
use crate::session::Phase;

/// The part of a drain's time that is reserved for the store. It is at most a fifth of the drain's time.
const CLOSE_SHARE: Duration = Duration::from_secs(1);

/// The time for the bus to tell the other nodes that this one leaves.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The closing of a store, for each drain that waits for it.
pub(crate) type Closing = Shared<BoxFuture<'static, Result<(), Unavailable>>>;

/// The result of a drain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Drained {
    /// Connections at the beginning.
    pub connections: usize,
    /// Connections that were still open at the end.
    pub abandoned: usize,
    /// The result of closing the store, or an error if the limit was over before. A later drain then waits for the same
    /// closing. No acknowledged message is lost, even after an error.
    pub store: Result<(), Unavailable>,
}

impl Chat {
    /// Returns true once [`drain`](Self::drain) has begun.
    pub fn is_draining(&self) -> bool {
        self.shared.sessions.phase() != Phase::Open
    }

    /// Ends the chat within `limit`, without losing an acknowledged message.
    ///
    /// No further connection is admitted. Each session finishes the commands that it has, sends `closing`, and closes
    /// with 1012. A room that waits for its turn to be opened is not opened for users any more. Shortly before `limit`
    /// is over, the remaining sessions are closed without waiting for their commands. Then the store is closed, and the
    /// other nodes are told that this one leaves.
    ///
    /// ```
    /// use std::time::Duration;
    /// use chat_core::Chat;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let chat = Chat::default();
    /// let drained = chat.drain(Duration::from_secs(20)).await;
    /// assert_eq!((drained.connections, drained.abandoned), (0, 0));
    /// assert!(drained.store.is_ok() && chat.is_draining());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn drain(&self, limit: Duration) -> Drained {
        let started = Instant::now();
        let sessions = &self.shared.sessions;
        let connections = sessions.connections();
        let limit_of_sessions = limit - CLOSE_SHARE.min(limit / 5);
        sessions.enter(Phase::Draining);
        self.rooms().openings.close();
        // The last frames of a session and its closing handshake each have the close timeout.
        let closing = (self.limits().connection.close_timeout * 2).min(limit_of_sessions / 2);
        if timeout(limit_of_sessions - closing, sessions.all_closed()).await.is_err() {
            sessions.enter(Phase::Ended);
            // The connections that are left are counted below.
            let _left = timeout(closing, sessions.all_closed()).await;
        }
        sessions.enter(Phase::Ended);
        let abandoned = sessions.connections();
        self.rooms().drained.send_replace(true);
        // The process may end before the last endpoint is dropped.
        self.shared.lines.log_counts();
        let left = limit.saturating_sub(started.elapsed());
        // A store that hangs does not keep the other nodes waiting.
        let disconnected = self.rooms().nodes.disconnect(left.min(DISCONNECT_TIMEOUT));
        let (store, ()) = join(timeout(left, self.close_store()), disconnected).await;
        let store = store.unwrap_or_else(|_| Err(Unavailable::new("the store was not closed in time")));
        Drained { connections, abandoned, store }
    }

    /// Closes the store. Each call waits for the same closing, which continues if a call is dropped.
    fn close_store(&self) -> Closing {
        let begin = || {
            let store = Arc::clone(&self.rooms().store);
            let close = async move { AssertUnwindSafe(store.close()).catch_unwind().await };
            let closed = close.map(|closed| {
                closed.unwrap_or_else(|_| Err(Unavailable::new("the store panicked while it was closed")))
            });
            let closing = closed.boxed().shared();
            tokio::spawn(closing.clone());
            closing
        };
        self.shared.closing.get_or_init(begin).clone()
    }
}
