use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::socket::{Received, Socket, Target};
use crate::{ConnectError, Lost, Welcome};

/// The connection, or the way to the next.
pub(crate) enum Link {
    Up(Box<Socket>),
    Down { until: Instant },
    Connecting(Connecting),
}

pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<(Socket, Welcome), ConnectError>> + Send>>;

/// What the network did.
pub(crate) enum Turn {
    Received(Received),
    Lost(Lost),
    Connected(Result<Box<Socket>, ConnectError>),
}

impl Link {
    /// What the network does next; frames are written meanwhile.
    pub(crate) async fn next(&mut self, outbox: &mut VecDeque<Utf8Bytes>, reads: bool) -> Turn {
        match self {
            Self::Down { .. } => pending().await,
            Self::Connecting(connecting) => {
                Turn::Connected(connecting.await.map(|(socket, _)| Box::new(socket)))
            }
            Self::Up(socket) => {
                let happened = poll_fn(|cx| socket.poll_exchange(cx, outbox, reads));
                happened.await.map_or_else(Turn::Lost, Turn::Received)
            }
        }
    }
}

/// Connects and takes the welcome, in the time that there is for both.
pub(crate) async fn connect(target: &Target, limit: Duration) -> Result<(Socket, Welcome), ConnectError> {
    let connected = async {
        let mut socket = Socket::connect(target).await?;
        let welcome = socket.welcome().await?;
        Ok((socket, welcome))
    };
    timeout(limit, connected).await.unwrap_or(Err(ConnectError::Timeout))
}
