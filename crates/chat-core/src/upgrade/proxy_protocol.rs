use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use chat_proto::HttpLimits;
use chat_proto::handshake::TrustedProxies;
use proxy_header::{Error as ParseError, ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;
use tracing::{debug, info};

use crate::LogThrottle;

/// The bytes with which each header of version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes with which each header of version 1 begins.
const WORD: &[u8] = b"PROXY ";

/// The bytes of the shortest header, which is `PROXY UNKNOWN`. No more is read before the version is known.
const SHORTEST: usize = 15;

/// The bytes of a header of version 2 before its addresses. The last two are the number of bytes that follow.
const FIXED: usize = 16;

/// The place of the command in a header of version 2.
const COMMAND: usize = 12;

/// Version 2 with the command LOCAL: the proxy itself has made the connection, such as a health check.
const LOCAL: u8 = 0x20;

/// The PROXY protocol, versions 1 and 2: proxies that say who the client is, before the first byte of the client.
///
/// An adapter asks for the [`client`](Self::client) of each connection before it reads from the connection itself. Then
/// it uses that address as the address of the peer.
///
/// ```
/// use chat_core::{HttpLimits, ProxyProtocol, TrustedProxies};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let proxies = ProxyProtocol::new(TrustedProxies::new(["10.0.0.0/8".parse()?]));
/// let mut stream = &b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\nGET / HTTP/1.1\r\n"[..];
/// let client = proxies.client(&mut stream, "10.0.0.1:4000".parse()?, &HttpLimits::default()).await;
/// assert_eq!(client, Some("203.0.113.9:4711".parse()?));
/// assert_eq!(stream, b"GET / HTTP/1.1\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    proxies: TrustedProxies,
    refusals: Arc<LogThrottle>,
}

/// The reason why a proxy's connection is closed.
#[derive(Debug, thiserror::Error)]
enum HeaderError {
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header is longer than a request head may be")]
    TooLong,
    #[error("the PROXY header did not arrive in time")]
    Late,
    #[error("the connection ended in the PROXY header")]
    Ended(#[from] io::Error),
}

impl ProxyProtocol {
    /// Returns the protocol for connections from these proxies. They must begin each connection with a header. Another
    /// peer is the client itself, and sends none.
    pub fn new(proxies: TrustedProxies) -> Self {
        Self { proxies, refusals: Arc::default() }
    }

    /// Reads the header of a connection, and nothing after it. Returns the address of the client, which is `peer` if
    /// the header names none. Returns `None` if the connection must be closed.
    ///
    /// The header has [`HttpLimits::head_timeout`] to arrive and [`HttpLimits::max_head_bytes`] at most.
    pub async fn client(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        peer: SocketAddr,
        limits: &HttpLimits,
    ) -> Option<SocketAddr> {
        if !self.proxies.contains(peer.ip().to_canonical()) {
            return Some(peer);
        }
        let mut header = Vec::new();
        let read = timeout(limits.head_timeout, read(stream, &mut header, limits.max_head_bytes)).await;
        match read.unwrap_or(Err(HeaderError::Late)) {
            Ok(client) => return Some(client.unwrap_or(peer)),
            // Load balancers test a port by a connection without a byte.
            Err(HeaderError::Ended(_)) if header.is_empty() => debug!(%peer, "connection without a byte"),
            Err(cause) => {
                if let Some(suppressed) = self.refusals.permit(limits.log_interval) {
                    info!(%peer, %cause, suppressed, "connection of a proxy refused");
                }
            }
        }
        None
    }
}

/// Reads one header, and no byte after it. Returns the address of the client, if the header has one.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
    max_bytes: usize,
) -> Result<Option<SocketAddr>, HeaderError> {
    loop {
        let wanted = missing(header)?;
        if wanted == 0 {
            return Err(HeaderError::Malformed);
        }
        if header.len() + wanted > max_bytes {
            return Err(HeaderError::TooLong);
        }
        let read = (&mut *stream).take(u64::try_from(wanted).unwrap_or(u64::MAX)).read_buf(header).await?;
        if read == 0 {
            return Err(HeaderError::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
        // The parser does not look at the byte after the first word.
        let wanted = missing(header)?;
        // The addresses of a local connection are ignored (section 2.2 of the specification), even if they are invalid.
        if header.get(COMMAND) == Some(&LOCAL) && wanted == 0 {
            return Ok(None);
        }
        match ProxyHeader::parse(header, ParseConfig { include_tlvs: false, ..ParseConfig::default() }) {
            Ok((parsed, _)) => return Ok(parsed.proxied_address().map(|address| address.source)),
            Err(ParseError::BufferTooShort) => {}
            Err(_) => return Err(HeaderError::Malformed),
        }
    }
}

/// Returns a number of bytes that certainly belong to the header after these bytes of it.
fn missing(header: &[u8]) -> Result<usize, HeaderError> {
    let begins = |start: &[u8]| header.iter().zip(start).all(|(byte, expected)| byte == expected);
    match (header.len(), header.get(FIXED - 2..FIXED)) {
        _ if !begins(SIGNATURE) && !begins(WORD) => Err(HeaderError::Missing),
        (length @ ..SHORTEST, _) => Ok(SHORTEST - length),
        // The end of version 1 is a line end.
        _ if begins(WORD) => Ok(1),
        (length, Some(&[high, low])) => {
            Ok((FIXED + usize::from(u16::from_be_bytes([high, low]))).saturating_sub(length))
        }
        (length, _) => Ok(FIXED - length),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const PROXY: &str = "10.0.0.1:4000";

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("a short header");
        [SIGNATURE, &[command, family], &length.to_be_bytes(), rest].concat()
    }

    /// Returns the client of a connection, and the bytes that are left, if they come in parts of this size.
    async fn client(peer: &str, bytes: &[u8], part: usize) -> Option<(String, Vec<u8>)> {
        let protocol = ProxyProtocol::new(TrustedProxies::new(["10.0.0.0/8".parse().expect("a network")]));
        let (mut proxy, mut server) = tokio::io::duplex(64 * 1024);
        let parts: Vec<_> = bytes.chunks(part).map(<[u8]>::to_vec).collect();
        let sending = tokio::spawn(async move {
            for part in parts {
                proxy.write_all(&part).await.expect("an open stream");
                tokio::task::yield_now().await;
            }
        });
        let peer = peer.parse().expect("an address");
        let client = protocol.client(&mut server, peer, &HttpLimits::default()).await?;
        sending.await.expect("sent");
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.expect("an open stream");
        Some((client.to_string(), rest))
    }

    #[tokio::test]
    async fn a_header_of_a_trusted_proxy_names_the_client() {
        let ipv4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let ipv6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[9], &[0; 16], &[0x12, 0x67, 0, 80]].concat();
        let with_fields = [&ipv4[..], &[4, 0, 2, 0, 0]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n".to_vec(), "203.0.113.9:4711"),
            (b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n".to_vec(), "[2001:db8::9]:4711"),
            (b"PROXY UNKNOWN\r\n".to_vec(), PROXY),
            (version_2(0x21, 0x11, &ipv4), "203.0.113.9:4711"),
            (version_2(0x21, 0x11, &with_fields), "203.0.113.9:4711"),
            (version_2(0x21, 0x21, &ipv6), "[2001:db8::9]:4711"),
            (version_2(0x20, 0x11, &ipv4), PROXY),
            (version_2(0x20, 0, &[]), PROXY),
            (version_2(0x20, 0x11, &[]), PROXY),
            (version_2(0x20, 0xff, &ipv4), PROXY),
        ] {
            for part in [1, 7, 1_000] {
                let sent = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
                let (client, rest) = client(PROXY, &sent, part).await.expect("a valid header");
                assert_eq!(client, expected, "{}", header.escape_ascii());
                assert_eq!(rest, b"GET / HTTP/1.1\r\n", "{}", header.escape_ascii());
            }
        }
    }

    #[tokio::test]
    async fn a_connection_of_a_trusted_proxy_without_a_valid_header_is_closed() {
        let too_long = version_2(0x21, 0x11, &[0; 17 * 1024]);
        for bytes in [
            &b""[..],
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n\r\n",
            b"PROXY-UNKNOWN\r\nGET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 203.0.113.9 ",
            b"PROXY TCP4 203.0.113.9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
            &version_2(0x31, 0x11, &[0; 12]),
            &version_2(0x21, 0x11, &[0; 11]),
            &too_long,
        ] {
            for part in [1, 1_000] {
                assert_eq!(client(PROXY, bytes, part).await, None, "{}", bytes.escape_ascii());
            }
        }
    }

    #[tokio::test]
    async fn another_peer_is_the_client_itself() {
        let sent = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n";
        let peer = "192.0.2.7:4000";
        assert_eq!(client(peer, sent, 1_000).await, Some((peer.to_owned(), sent.to_vec())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_is_not_complete_in_time_is_refused() {
        let protocol = ProxyProtocol::new(TrustedProxies::new(["10.0.0.0/8".parse().expect("a network")]));
        let (mut proxy, mut server) = tokio::io::duplex(64);
        proxy.write_all(b"PROXY TCP4 ").await.expect("an open stream");
        let limits = HttpLimits::default();
        let start = tokio::time::Instant::now();
        let client = protocol.client(&mut server, PROXY.parse().expect("an address"), &limits).await;
        assert_eq!((client, start.elapsed()), (None, limits.head_timeout));
    }
}
