use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::time::timeout;
use tracing::{debug, error, info};

use crate::connection::{Connection, Outgoing};
use crate::{CloseCode, SessionEnd};

/// The end of a session.
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
    /// Runs the loop of a session. Returns its end, which may be a panic.
    pub(crate) async fn of(poll: impl FnMut(&mut Context<'_>) -> Poll<Self>) -> Self {
        AssertUnwindSafe(poll_fn(poll)).catch_unwind().await.unwrap_or(Self::Panicked)
    }

    /// Sends these last frames and closes, each within `limit`. Returns the number of frames sent.
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
        // A peer that reads nothing gets no more frames.
        let is_reading = code != Some(CloseCode::SlowConsumer);
        let sent = if is_reading { send_last(connection, last, limit).await } else { 0 };
        // A peer that does not answer the close frame has had enough time.
        let _unfinished = timeout(limit, poll_fn(|cx| connection.poll_close(cx, code))).await;
        sent
    }

    /// Returns the server's close code; `None` if the peer closed first or is gone.
    pub(crate) fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Closing(code) => Some(*code),
            Self::Panicked => Some(CloseCode::InternalError),
            Self::PeerClosed(_) | Self::PeerGone | Self::Lost(_) => None,
        }
    }

    /// Returns the cause and the close code, for counters.
    pub(crate) fn counted(&self) -> SessionEnd {
        let (cause, code) = match self {
            Self::Closing(code) => ("server", Some(code.code())),
            Self::Panicked => ("panic", Some(CloseCode::InternalError.code())),
            Self::PeerClosed(code) => ("peer_closed", code.filter(|code| matches!(code, 1000 | 1001))),
            Self::PeerGone => ("peer_gone", None),
            Self::Lost(_) => ("connection_lost", None),
        };
        SessionEnd { cause, code }
    }

    pub(crate) fn log(&self, duration: Duration, received: u64, sent: u64) {
        let (cause, close) = match self {
            Self::Closing(code) => (code.reason(), Some(code.code())),
            Self::Panicked => ("panic", Some(CloseCode::InternalError.code())),
            Self::PeerClosed(code) => ("closed by peer", *code),
            Self::PeerGone => ("peer gone", None),
            Self::Lost(error) => {
                debug!(%error, "connection lost");
                ("connection lost", None)
            }
        };
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if let Self::Panicked = self {
            error!(close, cause, duration_ms, received, sent, "session ended");
        } else {
            info!(close, cause, duration_ms, received, sent, "session ended");
        }
    }
}

/// Sends the last frames that the peer accepts in time. Returns their number.
async fn send_last<C: Connection>(
    connection: &mut C,
    mut frames: impl Iterator<Item = Outgoing>,
    limit: Duration,
) -> u64 {
    let mut sent = 0;
    let sending = timeout(limit, async {
        loop {
            poll_fn(|cx| connection.poll_ready(cx)).await?;
            let Some(frame) = frames.next() else { break };
            connection.send(frame)?;
            sent += 1;
        }
        poll_fn(|cx| connection.poll_flush(cx)).await
    });
    // A peer that is gone or reads nothing misses these frames.
    let _unfinished = sending.await;
    sent
}
