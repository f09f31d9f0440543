use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way from one process to another one. It runs as long as the runtime.
pub(crate) struct Link {
    address: SocketAddr,
    state: watch::Sender<State>,
}

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing passes, and neither end is notified. What was sent arrives later.
    Silent,
}

impl Link {
    /// Starts a link to a port of this machine.
    pub(crate) async fn start(to: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = watch::Sender::new(State::Open);
        let receiver = state.subscribe();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(forward(from, to, receiver.clone()));
            }
        });
        Ok(Self { address, state })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing pass any more, without notice.
    pub(crate) fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// Lets everything pass, also what was sent meanwhile.
    pub(crate) fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn forward(from: TcpStream, to: u16, mut state: watch::Receiver<State>) -> Result<()> {
    // The other end does not learn of the connection earlier either.
    state.wait_for(|state| *state == State::Open).await?;
    let to = TcpStream::connect(("127.0.0.1", to)).await?;
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    let back = pump(to_read, from_write, state.clone());
    let (there, back) = tokio::join!(pump(from_read, to_write, state), back);
    there.and(back)
}

/// Copies until the end of the stream, which it passes on.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await.unwrap_or(0);
        state.wait_for(|state| *state == State::Open).await?;
        if length == 0 {
            return Ok(to.shutdown().await?);
        }
        to.write_all(&buffer[..length]).await?;
    }
}
