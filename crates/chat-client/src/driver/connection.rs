use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::time::Duration;

use chat_proto::command::Command;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::socket::{Received, Socket, Target};
use crate::{ConnectError, Lost, Welcome};

/// The time without a welcome after which a client without a token asks whether the server waits for one.
const SILENCE: Duration = Duration::from_secs(1);

/// The state of the connection.
pub(crate) enum ConnState {
    Connected(Box<Socket>),
    /// The client waits before it connects again.
    Waiting {
        until: Instant,
    },
    Connecting(Connecting),
}

pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<(Socket, Welcome), ConnectError>> + Send>>;

/// An event of the network.
pub(crate) enum NetEvent {
    Received(Received),
    Lost(Lost),
    Connected(Result<Box<Socket>, ConnectError>),
}

impl ConnState {
    /// Waits for the next event of the network, and writes the frames in `outbox` meanwhile.
    pub(crate) async fn next(&mut self, outbox: &mut VecDeque<Utf8Bytes>, reads: bool) -> NetEvent {
        match self {
            Self::Waiting { .. } => pending().await,
            Self::Connecting(connecting) => {
                NetEvent::Connected(connecting.await.map(|(socket, _)| Box::new(socket)))
            }
            Self::Connected(socket) => {
                let received = poll_fn(|cx| socket.poll_exchange(cx, outbox, reads));
                received.await.map_or_else(NetEvent::Lost, NetEvent::Received)
            }
        }
    }
}

/// Connects and reads the welcome. `limit` is the time for both.
pub(crate) async fn connect(target: &Target, limit: Duration) -> Result<(Socket, Welcome), ConnectError> {
    let connected = async {
        let mut socket = Socket::connect(target).await?;
        let welcome = match timeout(SILENCE, socket.welcome()).await {
            Ok(welcome) => welcome?,
            Err(_) => {
                if target.token.is_none() {
                    // Where only a `hello` is valid, the reply is an error. After a failure, the read tells why.
                    let _sent = socket.send(Command::Ping.encode(None)).await.is_ok();
                }
                socket.welcome().await?
            }
        };
        Ok((socket, welcome))
    };
    timeout(limit, connected).await.unwrap_or(Err(ConnectError::Timeout))
}
