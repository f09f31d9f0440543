//! One connection and nothing more: no reconnecting, no replies matched to commands. A load test makes ten
//! thousand of these; everybody else wants a [`Client`](crate::Client).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, Response, Uri};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::{ConnectError, Lost, RawEvent, Welcome};

/// Bytes of commands written at once.
const WRITE_BUFFER: usize = 64 * 1024;

/// How long the server has to end its side after a close.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where to connect to, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// `ws://host:port/path`.
    pub url: String,
    /// The guest's name; without one the server makes one up.
    pub name: Option<String>,
    /// The address of this machine to connect from.
    pub local_address: Option<IpAddr>,
    /// Bytes of one event: a server that sends more breaks the protocol. Default 1 MiB.
    pub max_event: usize,
    /// Bytes read at once, and kept for each connection. Default 8 KiB.
    pub read_buffer: usize,
    /// Bytes that the kernel may hold unread. Default: the system's choice.
    pub receive_buffer: Option<u32>,
    /// Offer the subprotocol. Default yes; a server that echoes frames knows none.
    pub offer: bool,
}

impl Target {
    /// A server, with the defaults.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: None,
            local_address: None,
            max_event: 1024 * 1024,
            read_buffer: 8 * 1024,
            receive_buffer: None,
            offer: true,
        }
    }

    fn request(&self) -> Result<Request<()>, ConnectError> {
        const ADDRESS: ConnectError = ConnectError::Address("it is not like ws://host:port/ws");
        let mut url = self.url.clone();
        if let Some(name) = &self.name {
            let separator = if url.contains('?') { '&' } else { '?' };
            url = format!("{url}{separator}name={}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        }
        let mut request = url.into_client_request().map_err(|_| ADDRESS)?;
        match request.uri().scheme_str() {
            Some("ws") if port(request.uri()).is_some() => {}
            Some("wss") => return Err(ConnectError::Address("this client has no TLS")),
            _ => return Err(ADDRESS),
        }
        if self.offer {
            let offered = HeaderValue::from_static(chat_proto::SUBPROTOCOL);
            request.headers_mut().insert("sec-websocket-protocol", offered);
        }
        Ok(request)
    }
}

/// A WebSocket connection to a chat, without its comforts.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Connects and upgrades. The caller limits how long that may take.
    ///
    /// # Errors
    ///
    /// All of [`ConnectError`] but [`Timeout`](ConnectError::Timeout).
    pub async fn connect(target: &Target) -> Result<Self, ConnectError> {
        let request = target.request()?;
        let stream = tcp(request.uri(), target).await.map_err(|e| ConnectError::Io(e.kind()))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(target.read_buffer)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(target.max_event))
            .max_frame_size(Some(target.max_event));
        let upgraded = client_async_with_config(request, stream, Some(config)).await;
        let (stream, _) = upgraded.map_err(refused)?;
        Ok(Self { stream })
    }

    /// Takes the first event, which must be the welcome.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Protocol`] if it is another, [`ConnectError::Ended`] if none comes.
    pub async fn welcome(&mut self) -> Result<Welcome, ConnectError> {
        let text = self.receive().await.map_err(ConnectError::Ended)?;
        let welcome = RawEvent::parse(&text).and_then(|raw| Welcome::read(&raw));
        welcome.ok_or(ConnectError::Protocol)
    }

    /// The next text frame; pings are answered on the way.
    ///
    /// # Errors
    ///
    /// If the connection has ended.
    pub async fn receive(&mut self) -> Result<Utf8Bytes, Lost> {
        loop {
            if let Received::Text(text) = poll_fn(|cx| self.poll_receive(cx)).await? {
                return Ok(text);
            }
        }
    }

    /// Writes a text frame.
    ///
    /// # Errors
    ///
    /// If the connection has ended.
    pub async fn send(&mut self, frame: impl Into<Utf8Bytes>) -> Result<(), Lost> {
        self.stream.send(Message::Text(frame.into())).await.map_err(lost)
    }

    /// What comes next. After an error there is nothing more.
    ///
    /// # Errors
    ///
    /// How the connection has ended.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Lost>> {
        Poll::Ready(match ready!(self.stream.poll_next_unpin(cx)) {
            Some(Ok(Message::Text(text))) => Ok(Received::Text(text)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Received::Other),
            Some(Ok(Message::Close(frame))) => Err(closed(frame)),
            Some(Ok(Message::Binary(_) | Message::Frame(_))) => Err(Lost::Breach("a binary frame")),
            Some(Err(error)) => Err(lost(error)),
            None => Err(Lost::End),
        })
    }

    /// Writes what waits in `outbox` and, if `reads`, takes what comes next: neither waits for the other, so a
    /// server that does not read cannot keep this side from reading.
    ///
    /// # Errors
    ///
    /// How the connection has ended.
    pub fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut VecDeque<Utf8Bytes>,
        reads: bool,
    ) -> Poll<Result<Received, Lost>> {
        match self.write(cx, outbox) {
            Ok(()) if reads => self.poll_receive(cx),
            Ok(()) => Poll::Pending,
            // A server that has closed takes no more, and its close frame says whether to come back.
            Err(error) => match self.poll_receive(cx) {
                Poll::Ready(Ok(received)) => Poll::Ready(Ok(received)),
                Poll::Ready(Err(closed @ Lost::Close { .. })) => Poll::Ready(Err(closed)),
                // A broken connection is at its end for reading, too, and is about to say so.
                Poll::Pending if matches!(error, tungstenite::Error::Io(_)) => Poll::Pending,
                _ => Poll::Ready(Err(lost(error))),
            },
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut VecDeque<Utf8Bytes>,
    ) -> Result<(), tungstenite::Error> {
        while !outbox.is_empty() && self.stream.poll_ready_unpin(cx)?.is_ready() {
            if let Some(frame) = outbox.pop_front() {
                self.stream.start_send_unpin(Message::Text(frame))?;
            }
        }
        // Whether it is done shows when there is more to write.
        let _flushed = self.stream.poll_flush_unpin(cx)?.is_ready();
        Ok(())
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    ///
    /// If the connection has ended.
    pub fn ping(&mut self) -> Result<(), Lost> {
        self.stream.start_send_unpin(Message::Ping(Default::default())).map_err(lost)
    }

    /// Closes with `code` and waits, for a second at most, until the server has ended its side.
    pub async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: Default::default() };
        let farewell = async {
            if self.stream.send(Message::Close(Some(frame))).await.is_ok() {
                self.until_end().await;
            }
        };
        // Then it is dropped as it is.
        let _ended = timeout(FAREWELL, farewell).await.is_ok();
    }

    /// Answers the server's close and waits, for a second at most, until the server has ended its side.
    pub async fn finish(mut self) {
        let _ended = timeout(FAREWELL, self.until_end()).await.is_ok();
    }

    /// The TCP connection under it.
    pub fn tcp(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    async fn until_end(&mut self) {
        while let Some(Ok(_)) = self.stream.next().await {}
    }
}

/// What came.
#[derive(Debug)]
pub enum Received {
    /// An event.
    Text(Utf8Bytes),
    /// A sign of life.
    Other,
}

/// The port; none if it is no port, which `http` does not tell from none at all.
fn port(uri: &Uri) -> Option<u16> {
    let authority = uri.authority()?;
    if authority.as_str().ends_with(authority.host()) { Some(80) } else { authority.port_u16() }
}

async fn tcp(uri: &Uri, target: &Target) -> io::Result<TcpStream> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let host = uri.host().ok_or_else(missing)?.trim_matches(['[', ']']);
    let mut problem = missing();
    for address in lookup_host((host, port(uri).ok_or_else(missing)?)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bytes) = target.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(local) = target.local_address {
            socket.bind(SocketAddr::new(local, 0))?;
        }
        match socket.connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

fn refused(error: tungstenite::Error) -> ConnectError {
    match error {
        tungstenite::Error::Http(response) => refusal(&response),
        tungstenite::Error::Io(error) => ConnectError::Io(error.kind()),
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::HandshakeIncomplete) => {
            ConnectError::Ended(Lost::End)
        }
        _ => ConnectError::Protocol,
    }
}

fn refusal(response: &Response<Option<Vec<u8>>>) -> ConnectError {
    #[derive(serde::Deserialize)]
    struct Body {
        error: Code,
    }
    #[derive(serde::Deserialize)]
    struct Code {
        code: String,
    }
    let body = response.body().as_deref().and_then(|body| serde_json::from_slice::<Body>(body).ok());
    let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    ConnectError::Refused {
        status: response.status().as_u16(),
        code: body.map(|body| body.error.code).unwrap_or_default(),
        retry_after: seconds.map(Duration::from_secs),
    }
}

fn closed(frame: Option<CloseFrame>) -> Lost {
    match frame {
        Some(frame) => Lost::Close { code: frame.code.into(), reason: frame.reason.to_string() },
        None => Lost::Close { code: 1005, reason: String::new() },
    }
}

fn lost(error: tungstenite::Error) -> Lost {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError;
    match error {
        Error::Io(error) => Lost::Io(error.kind()),
        Error::Capacity(_) => Lost::Breach("more than an event may have"),
        Error::Utf8(_) => Lost::Breach("text that is not UTF-8"),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => {
            Lost::End
        }
        _ => Lost::Breach("frames that RFC 6455 forbids"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_close_that_has_come_is_told_although_writing_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let target = Target { offer: false, ..Target::new(url) };
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            tokio_tungstenite::accept_async(stream).await.unwrap()
        };
        let (mut server, client) = tokio::join!(server, Socket::connect(&target));
        let mut client = client.unwrap();
        client.send("unread").await.unwrap();
        server.get_ref().readable().await.unwrap();
        server
            .send(Message::Close(Some(CloseFrame { code: 4503.into(), reason: "kicked".into() })))
            .await
            .unwrap();
        // What it has not read makes this a reset.
        drop(server);
        let mut outbox = VecDeque::from(["lost".into()]);
        let lost = poll_fn(|cx| client.poll_exchange(cx, &mut outbox, true)).await.unwrap_err();
        assert_eq!(lost, Lost::Close { code: 4503, reason: "kicked".to_owned() });
    }
}
