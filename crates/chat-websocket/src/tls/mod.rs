//! TLS on accepted connections.

mod certificate;
mod handshake;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chat_core::{HttpLimits, LogThrottle};
use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, info};

use certificate::Certificate;
use handshake::{HandshakeError, discard, handshake};

/// A TLS stream over TCP. In a box, because its state is much larger than a socket.
pub type TlsSocket = Box<tokio_rustls::server::TlsStream<TcpStream>>;

/// The only protocol that a client may agree on: a WebSocket of chat.v1 is an upgrade of HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// TLS 1.2 and 1.3 for the connections of a server, with a certificate from files.
///
/// A clone shares the certificate.
///
/// ```no_run
/// use chat_websocket::{ServeOptions, Tls};
///
/// let tls = Tls::open("/etc/chat/chain.pem", "/etc/chat/key.pem")?;
/// let options = ServeOptions::default().tls(tls.clone());
/// // Later, after the files were renewed:
/// tls.reload()?;
/// # drop(options);
/// # Ok::<(), chat_websocket::TlsError>(())
/// ```
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
    failures: Arc<LogThrottle>,
}

/// The reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file of certificates has none in the PEM format.
    #[error("{0} has no certificate in the PEM format")]
    NoCertificate(PathBuf),
    /// The file of the key has none in the PEM format.
    #[error("{0} has no private key in the PEM format")]
    NoKey(PathBuf),
    /// The key cannot be used, or belongs to another certificate.
    #[error("the certificate in {certificates} cannot be used with the key in {key}: {source}")]
    Mismatch {
        /// The file of certificates.
        certificates: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// The system has no random numbers, or the library does not know the versions.
    #[error("TLS cannot be set up")]
    SetUp(#[source] rustls::Error),
}

impl Tls {
    /// Reads a certificate and its key from files in the PEM format. The first file has the certificate of the server
    /// first, then the chain up to the root, which may be left out.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a file cannot be read, or if the key does not belong to the certificate.
    pub fn open(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let certificate = Certificate::open(
            certificates.as_ref().to_owned(),
            key.as_ref().to_owned(),
            Arc::clone(&provider),
        )?;
        let certificate = Arc::new(certificate);
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::SetUp)?;
        let mut config =
            builder.with_no_client_auth().with_cert_resolver(Arc::<Certificate>::clone(&certificate));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Clients that come back, such as all of them after a restart of a proxy, need no signature.
        config.ticketer = Ticketer::new().map_err(TlsError::SetUp)?;
        Ok(Self { config: Arc::new(config), certificate, failures: Arc::default() })
    }

    /// Reads the files again. New connections then get the new certificate, and other connections stay as they are.
    /// This reads files, so it blocks.
    ///
    /// # Errors
    ///
    /// [`TlsError`], as [`open`](Self::open). The certificate stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.certificate.reload()
    }

    /// Does the handshake with a client. Returns `None` if it fails, and logs the cause.
    ///
    /// The handshake has [`HttpLimits::head_timeout`] in all, and a client that gets an answer has it once more to read
    /// that.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        limits: &HttpLimits,
    ) -> Option<TlsSocket> {
        let handshake = handshake(Arc::clone(&self.config), stream);
        let cause = match timeout(limits.head_timeout, handshake).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(HandshakeError::NoBytes)) => {
                // Load balancers test a port by a connection without a byte.
                debug!(%peer, "connection without a byte");
                return None;
            }
            Ok(Err(error)) => error,
            Err(_) => HandshakeError::Late,
        };
        if let Some(suppressed) = self.failures.permit(limits.log_interval) {
            info!(%peer, %cause, suppressed, "TLS handshake failed");
        }
        if let HandshakeError::PlainHttp(stream) = cause {
            let _ended = timeout(limits.head_timeout, discard(stream)).await.is_ok();
        }
        None
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
