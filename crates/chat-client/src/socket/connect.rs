use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::http::{Response, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::target::port;
use super::{Stream, Target};
use crate::{ConnectError, Lost};

/// The largest number of bytes of commands that are written at once.
const WRITE_BUFFER: usize = 64 * 1024;

/// Connects and upgrades.
pub(super) async fn connect(target: &Target) -> Result<WebSocketStream<Stream>, ConnectError> {
    let request = target.request()?;
    let tcp = tcp(request.uri(), target).await.map_err(|error| ConnectError::Io(error.kind()))?;
    let stream = secure(tcp, request.uri(), target).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(target.read_buffer)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(target.max_event))
        .max_frame_size(Some(target.max_event));
    let upgraded = client_async_with_config(request, stream, Some(config)).await;
    let (stream, _) = upgraded.map_err(upgrade_error)?;
    Ok(stream)
}

#[cfg(feature = "tls")]
async fn secure(tcp: TcpStream, uri: &Uri, target: &Target) -> Result<Stream, ConnectError> {
    if !super::target::has_tls(uri) {
        return Ok(Stream::Left(tcp));
    }
    let host = host(uri).unwrap_or_default();
    crate::tls::handshake(tcp, host, target.roots.as_ref()).await.map(Stream::Right)
}

#[cfg(not(feature = "tls"))]
async fn secure(tcp: TcpStream, _: &Uri, _: &Target) -> Result<Stream, ConnectError> {
    Ok(tcp)
}

/// Returns the host, without the brackets of an IPv6 address.
fn host(uri: &Uri) -> Option<&str> {
    Some(uri.host()?.trim_matches(['[', ']']))
}

async fn tcp(uri: &Uri, target: &Target) -> io::Result<TcpStream> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let host = host(uri).ok_or_else(missing)?;
    let mut last_error = missing();
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
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn upgrade_error(error: tungstenite::Error) -> ConnectError {
    match error {
        tungstenite::Error::Http(response) => refused(&response),
        tungstenite::Error::Io(error) => ConnectError::Io(error.kind()),
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::HandshakeIncomplete) => {
            ConnectError::Ended { lost: Lost::End, reconnect_in: None }
        }
        _ => ConnectError::Protocol,
    }
}

fn refused(response: &Response<Option<Vec<u8>>>) -> ConnectError {
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
