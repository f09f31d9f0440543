//! Serves one session, from the welcome to the end of the stream.

use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};
use std::time::Duration;

use chat_proto::Event;
use futures_util::future::FutureExt;
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info};

use crate::chat::{Chat, Permit};
use crate::connection::{Connection, Outgoing};
use crate::driver::Driver;
use crate::{CloseCode, Message, User};

/// Serves one user on one connection, from the welcome to the end of the stream.
pub(crate) async fn run<M: Message, C: Connection>(
    chat: Chat<M>,
    permit: Permit,
    user: User,
    mut connection: C,
) {
    let started = Instant::now();
    let mut driver = Driver::new(chat.clone(), &permit, user, &mut connection);
    let end = End::of(|cx| driver.poll(cx)).await;
    let (unsent, received, sent) = driver.leave();
    permit.discharge();
    let last_words = end.code().map(|code| {
        let reconnect = reconnect_in(code, permit.connection(), chat.limits().http.retry_after);
        Outgoing::Text(Event::closing(code, reconnect).encode())
    });
    let last = unsent.into_frames().chain(last_words);
    let sent = sent + end.close(&mut connection, last, chat.limits().connection.close_timeout).await;
    end.log(permit.connection(), started.elapsed(), received, sent);
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The server closes.
    Closing(CloseCode),
    /// The session failed.
    Panicked,
    /// The peer sent a close frame.
    PeerClosed(Option<u16>),
    /// The peer's stream ended without a close frame.
    PeerGone,
    /// The transport failed.
    Lost(io::Error),
}

impl End {
    /// The end that a loop comes to, or a panic in it.
    pub(crate) async fn of(poll: impl FnMut(&mut Context<'_>) -> Poll<Self>) -> Self {
        AssertUnwindSafe(poll_fn(poll)).catch_unwind().await.unwrap_or(Self::Panicked)
    }

    /// Sends these last frames and closes, each in this time at the most; the number of frames sent.
    pub(crate) async fn close<C: Connection>(
        &self,
        connection: &mut C,
        last: impl Iterator<Item = Outgoing>,
        limit: Duration,
    ) -> u64 {
        if let Self::Lost(_) = self {
            return 0;
        }
        let code = self.code();
        // A peer that takes nothing is not told more.
        let tells = code != Some(CloseCode::SlowConsumer);
        let sent = if tells { say(connection, last, limit).await } else { 0 };
        // A peer that does not take part in the closing handshake has had its time for it.
        let _unfinished = timeout(limit, poll_fn(|cx| connection.poll_close(cx, code))).await;
        sent
    }

    /// What the server closes with, unless the peer did first or is gone.
    fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Closing(code) => Some(*code),
            Self::Panicked => Some(CloseCode::InternalError),
            Self::PeerClosed(_) | Self::PeerGone | Self::Lost(_) => None,
        }
    }

    pub(crate) fn log(&self, connection: u64, duration: Duration, received: u64, sent: u64) {
        let (cause, close) = match self {
            Self::Closing(code) => (code.reason(), Some(code.code())),
            Self::Panicked => ("panic", Some(CloseCode::InternalError.code())),
            Self::PeerClosed(code) => ("closed by peer", *code),
            Self::PeerGone => ("peer gone", None),
            Self::Lost(error) => {
                debug!(connection, %error, "connection lost");
                ("connection lost", None)
            }
        };
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if let Self::Panicked = self {
            error!(connection, close, cause, duration_ms, received, sent, "session ended");
        } else {
            info!(connection, close, cause, duration_ms, received, sent, "session ended");
        }
    }
}

/// Spreads the return of a drained server's clients over one more `retry_after`.
fn reconnect_in(code: CloseCode, connection: u64, retry_after: Duration) -> Option<u64> {
    let base = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).max(1);
    (code == CloseCode::Restarting).then(|| base.saturating_add(connection.wrapping_mul(7_919) % base))
}

/// Sends what is left to say, as far as the peer takes it in time; the number of frames.
async fn say<C: Connection>(
    connection: &mut C,
    mut frames: impl Iterator<Item = Outgoing>,
    limit: Duration,
) -> u64 {
    let mut sent = 0;
    let said = timeout(limit, async {
        loop {
            poll_fn(|cx| connection.poll_ready(cx)).await?;
            let Some(frame) = frames.next() else { break };
            connection.send(frame)?;
            sent += 1;
        }
        poll_fn(|cx| connection.poll_flush(cx)).await
    });
    // A peer that is gone or takes nothing misses these; there is nobody else to tell.
    let _unsaid = said.await;
    sent
}
