//! Joins of rooms, for each protocol.

use anyhow::{Context, Result, bail};
use chat_client::socket::{Socket, Target};
use chat_client::{Command, JoinFrom, RawEvent, RoomName};
use tokio::time::timeout;

use crate::load::{CONNECT_TIMEOUT, Load};
use crate::options::Protocol;
use crate::workload::{PING, PONG};

impl Load {
    /// Connects and joins a room. Returns the connection and the newest message.
    pub(crate) async fn member(&self, n: usize, room: &RoomName) -> Result<(Socket, u64)> {
        let joined = async {
            match self.common.protocol {
                Protocol::Chat | Protocol::ChatBare => {
                    // A user per room, because the number of rooms of one user is limited.
                    let target = Target { name: Some(room.to_string()), ..self.target(n) };
                    let mut socket = self.connect_to(&target).await?;
                    let seq = join(&mut socket, room).await?;
                    Ok((socket, seq))
                }
                Protocol::Plain => {
                    let mut socket = self.connect_plainly(n, format!("{}/{room}", self.common.url)).await?;
                    expect(&mut socket, "joined").await?;
                    Ok((socket, 0))
                }
                Protocol::Socketio => {
                    let url = format!("{}/?EIO=4&transport=websocket", self.common.url);
                    let mut socket = self.connect_plainly(n, url).await?;
                    expect(&mut socket, "0{").await?;
                    socket.send("40").await?;
                    expect(&mut socket, "40").await?;
                    socket.send(format!(r#"42["join","{room}"]"#)).await?;
                    expect(&mut socket, r#"42["joined""#).await?;
                    Ok((socket, 0))
                }
            }
        };
        timeout(CONNECT_TIMEOUT, joined).await.context("not joined in time")?
    }

    /// Connects to a server that does not know the subprotocol.
    async fn connect_plainly(&self, n: usize, url: String) -> Result<Socket> {
        let target = Target { url, name: None, offer: false, ..self.target(n) };
        Socket::connect(&target).await.context("connecting (see ulimit -n)")
    }
}

/// Joins a room. Returns its newest message.
async fn join(socket: &mut Socket, room: &RoomName) -> Result<u64> {
    let join = Command::Join { room: room.clone(), from: JoinFrom::Now };
    socket.send(join.encode(Some("join"))).await?;
    loop {
        let text = socket.receive().await?;
        let event = RawEvent::parse(&text).context("no event")?;
        match (&*event.kind, &*event.reference) {
            ("joined", "join") => return Ok(event.seq.unwrap_or(0)),
            ("error", _) => bail!("joining: {}", event.message),
            _ => {}
        }
    }
}

/// Receives a text that starts with `start`. A ping of Engine.IO may come first, and is answered.
async fn expect(socket: &mut Socket, start: &str) -> Result<()> {
    loop {
        let text = socket.receive().await.with_context(|| format!("waiting for {start}"))?;
        if text.as_str() == PING {
            socket.send(PONG).await?;
            continue;
        }
        anyhow::ensure!(text.starts_with(start), "expected {start}, received {text}");
        return Ok(());
    }
}
