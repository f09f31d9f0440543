//! TLS of the connection to a server, with rustls.

mod error;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::ConnectError;

pub use error::{RootsError, TlsError};

/// The only protocol that a server may agree on: a WebSocket is an upgrade of HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// The roots of the operating system. They are read at the first use.
static SYSTEM: OnceCell<Roots> = OnceCell::const_new();

/// The root certificates that a client trusts.
///
/// A clone is cheap, and shares the memory of earlier TLS sessions.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chat_client::{Client, Roots};
///
/// let roots = Roots::from_file("/etc/chat/ca.pem")?;
/// let (client, events) = Client::builder("wss://chat.example/ws").roots(roots).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Roots(Arc<ClientConfig>);

impl Roots {
    /// Returns the roots in a file in the PEM format, and trusts no others. This reads a file, so it blocks.
    ///
    /// # Errors
    ///
    /// [`RootsError`] if the file cannot be read, or has no valid certificate.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, RootsError> {
        let path = path.as_ref();
        let pem = std::fs::read(path)
            .map_err(|source| RootsError::Read { path: path.to_owned(), source: Arc::new(source) })?;
        Self::from_pem(&pem)
    }

    /// Returns the roots in a text in the PEM format, and trusts no others.
    ///
    /// # Errors
    ///
    /// [`RootsError`] if a certificate is not valid, or if there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| RootsError::Invalid)?;
            roots.add(certificate).map_err(|_| RootsError::Invalid)?;
        }
        Self::with_store(roots)
    }

    /// Returns the roots of the operating system, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. This reads
    /// files, so it blocks.
    ///
    /// # Errors
    ///
    /// [`RootsError::Missing`] if there are none.
    pub fn system() -> Result<Self, RootsError> {
        let mut roots = RootCertStore::empty();
        // A system may have a few roots that rustls does not accept.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::with_store(roots)
    }

    fn with_store(roots: RootCertStore) -> Result<Self, RootsError> {
        if roots.is_empty() {
            return Err(RootsError::Missing);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(RootsError::SetUp)?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roots(..)")
    }
}

/// Does the handshake with a server of this name. Without `roots`, it trusts those of the operating system.
pub(crate) async fn handshake(
    stream: TcpStream,
    host: &str,
    roots: Option<&Roots>,
) -> Result<Box<TlsStream<TcpStream>>, ConnectError> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| ConnectError::Address("its host is no name that a certificate can have"))?;
    let roots = match roots {
        Some(roots) => roots,
        None => SYSTEM.get_or_try_init(read_system).await.map_err(TlsError::from)?,
    };
    match TlsConnector::from(Arc::clone(&roots.0)).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(handshake_error(&error, host)),
    }
}

async fn read_system() -> Result<Roots, RootsError> {
    tokio::task::spawn_blocking(Roots::system).await.unwrap_or(Err(RootsError::Missing))
}

fn handshake_error(error: &io::Error, host: &str) -> ConnectError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    cause.map_or(ConnectError::Io(error.kind()), |cause| TlsError::new(cause, host).into())
}
