use std::io;
use std::sync::Arc;

use bytes::Bytes;
use chat_core::{Answer, Limits, Refusal};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::TlsSocket;

/// Bytes that TLS holds for a peer that does not read, beside those that the kernel holds: one record.
const MAX_UNSENT_BYTES: usize = 16 * 1024;

/// Bytes of a plain request that are read and discarded, so that they do not reset the connection before the client has
/// the answer.
const MAX_DISCARDED_BYTES: u64 = 64 * 1024;

/// The reason why a connection has no TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("the connection ended without a byte")]
    NoBytes,
    #[error("the client speaks plain HTTP on a TLS port; its address must begin with https:// or wss://")]
    PlainHttp(TcpStream),
    #[error("the handshake did not end in time")]
    Late,
    #[error("{0}")]
    Failed(#[from] io::Error),
}

/// Does the handshake with a client. A client that speaks plain HTTP gets an answer. The caller sets a time limit.
pub(super) async fn handshake(
    config: Arc<ServerConfig>,
    mut stream: TcpStream,
) -> Result<TlsSocket, HandshakeError> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(HandshakeError::NoBytes);
    }
    // A handshake begins with the byte 22, and a method with a letter.
    if first[0].is_ascii_alphabetic() {
        stream.write_all(&response(Answer::refusal(Refusal::TlsRequired, &Limits::default()))).await?;
        stream.shutdown().await?;
        return Err(HandshakeError::PlainHttp(stream));
    }
    let limit = |connection: &mut ServerConnection| connection.set_buffer_limit(Some(MAX_UNSENT_BYTES));
    Ok(Box::new(TlsAcceptor::from(config).accept_with(stream, limit).await?))
}

/// Reads the rest of a plain request until the client ends the connection. The caller sets a time limit.
pub(super) async fn discard(stream: TcpStream) -> io::Result<u64> {
    tokio::io::copy(&mut stream.take(MAX_DISCARDED_BYTES), &mut tokio::io::sink()).await
}

/// Writes an answer as a response of HTTP/1.1.
fn response(answer: Answer) -> Bytes {
    let mut head = format!("HTTP/1.1 {} Bad Request\r\n", answer.status());
    for (name, value) in answer.headers() {
        head += &format!("{name}: {value}\r\n");
    }
    let body = answer.into_body();
    head += &format!("content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), &body].concat().into()
}
