use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longer than anything here takes on a busy machine: a bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must happen.
///
/// # Errors
///
/// If it has not happened after a time that is long for anything here.
pub async fn within<T>(what: impl Future<Output = T>) -> Result<T> {
    timeout(PATIENCE, what).await.context("nothing happened for 30 s")
}

/// A well-behaved chat client.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    /// Connects as the guest `name` and takes the welcome.
    ///
    /// # Errors
    ///
    /// If the upgrade is refused or the first event is no welcome for that guest.
    pub async fn connect(address: SocketAddr, name: &str) -> Result<Self> {
        let mut request = format!("ws://{address}/ws?name={name}").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "chat.v1".parse()?);
        let stream = within(TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let (socket, _) = within(client_async(request, stream)).await??;
        let mut client = Self { socket };
        let welcome = client.next().await?;
        if welcome["type"] != "welcome" || welcome["user"]["id"] != name {
            bail!("no welcome for {name}: {welcome}");
        }
        Ok(client)
    }

    /// Sends a command.
    ///
    /// # Errors
    ///
    /// The transport's.
    pub async fn send(&mut self, command: Value) -> Result<()> {
        self.send_raw(Message::text(command.to_string())).await
    }

    /// Sends any message.
    ///
    /// # Errors
    ///
    /// The transport's.
    pub async fn send_raw(&mut self, message: Message) -> Result<()> {
        within(self.socket.send(message)).await?.context("sending")
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// If the connection ends instead.
    pub async fn next(&mut self) -> Result<Value> {
        loop {
            match within(self.socket.next()).await? {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text)?),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => bail!("no event but {other:?}"),
            }
        }
    }

    /// The next event of a type; others are passed over.
    ///
    /// # Errors
    ///
    /// If the connection ends before.
    pub async fn until(&mut self, kind: &str) -> Result<Value> {
        loop {
            let event = self.next().await?;
            if event["type"] == kind {
                return Ok(event);
            }
        }
    }

    /// Sends a command with a `ref` and waits for its reply; other events are passed over.
    ///
    /// # Errors
    ///
    /// If the connection ends before.
    pub async fn ask(&mut self, mut command: Value, reference: &str) -> Result<Value> {
        command["ref"] = json!(reference);
        self.send(command).await?;
        loop {
            let event = self.next().await?;
            if event["ref"] == reference {
                return Ok(event);
            }
        }
    }

    /// Closes with a code and waits for the echo; the code that the server closed with.
    ///
    /// # Errors
    ///
    /// If the stream ends otherwise.
    pub async fn close(mut self, code: u16) -> Result<Option<u16>> {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.send_raw(Message::Close(Some(frame))).await?;
        self.closed().await
    }

    /// Waits for the server to close; the events until then are passed over. The code it closed with.
    ///
    /// # Errors
    ///
    /// If the stream ends without a close frame.
    pub async fn closed(&mut self) -> Result<Option<u16>> {
        loop {
            match within(self.socket.next()).await? {
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map(|frame| frame.code.into());
                    // Reads the end of the stream, which the server's side brings about.
                    while let Some(Ok(_)) = within(self.socket.next()).await? {}
                    return Ok(code);
                }
                Some(Ok(_)) => {}
                Some(Err(Error::ConnectionClosed)) | None => bail!("ended without a close frame"),
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Drops the connection as a lost network would: without a close frame.
    pub fn vanish(self) {
        drop(self);
    }
}

/// Sends bytes and returns all that comes back until the server ends the stream.
///
/// # Errors
///
/// If it does not end.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = within(TcpStream::connect(address)).await??;
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await??;
    Ok(answer)
}
