//! TLS for tests: certificates of openssl, and a tunnel through which clients without TLS reach a server with it.

use std::fs;
use std::mem;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use chat_adapter::Tls;
use chat_conformance::{InProcess, Mounted};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::SockRef;
use tempfile::TempDir;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The size of the kernel's buffers of a tunnel, as the small buffer of the suite's client, and the bytes that it
/// copies at once.
const SMALL_BUFFER: u32 = 16 * 1024;
const CHUNK: usize = 4 * 1024;

/// A certificate for 127.0.0.1 and chat.example, which is its own root, and its key. The files are removed at the end.
#[derive(Debug)]
pub struct CertificateFiles(TempDir);

impl CertificateFiles {
    /// Makes a certificate and a key.
    pub fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        files.renew();
        files
    }

    /// Puts another certificate and another key into the files.
    pub fn renew(&self) {
        openssl(
            self.0.path(),
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
             -subj /CN=chat -addext subjectAltName=IP:127.0.0.1,DNS:chat.example \
             -addext basicConstraints=critical,CA:FALSE",
        );
    }

    /// Returns the file of the certificate.
    pub fn certificate(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    /// Returns the file of the key.
    pub fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }
}

/// A root certificate that issues certificates of servers. Its files are removed at the end.
#[derive(Debug)]
pub struct Authority(TempDir);

impl Authority {
    /// Makes a root certificate.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        // Roots of one name would fail another check than those of two names.
        let name = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        openssl(
            dir.path(),
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.pem -days 2 \
                 -subj /CN={name} -addext basicConstraints=critical,CA:TRUE"
            ),
        );
        Self(dir)
    }

    /// Returns the file of the root certificate.
    pub fn root(&self) -> PathBuf {
        self.0.path().join("root.pem")
    }

    /// Issues a certificate for these names, such as `DNS:localhost`, which expires after this number of days.
    pub fn issue(&self, names: &str, days: i32) -> CertificateFiles {
        let (files, root) = (CertificateFiles(TempDir::new().unwrap()), self.0.path().display());
        openssl(
            files.0.path(),
            &format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out request.pem \
                 -subj /CN=chat -addext subjectAltName={names}"
            ),
        );
        openssl(
            files.0.path(),
            &format!(
                "x509 -req -in request.pem -out cert.pem -copy_extensions copy -days {days} \
                 -CA {root}/root.pem -CAkey {root}/root.key"
            ),
        );
        files
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(dir).output();
    let output = output.expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the key of another certificate, in the PEM format.
pub fn other_key() -> Vec<u8> {
    fs::read(CertificateFiles::new().key()).unwrap()
}

impl Default for CertificateFiles {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a connector that trusts this certificate only, and offers HTTP/1.1.
pub fn connector(certificate: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(certificate).unwrap()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Connects to a server with TLS.
///
/// # Errors
///
/// An error of the connection or of the handshake.
pub async fn connect(server: SocketAddr, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    handshake(TcpSocket::new_v4()?, server, connector).await
}

async fn handshake(
    socket: TcpSocket,
    server: SocketAddr,
    connector: &TlsConnector,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    connector.connect(ServerName::IpAddress(server.ip().into()), stream).await
}

/// Returns true if the suite also runs with TLS, which takes a minute more for each adapter: the variable
/// `CHAT_CONFORMANCE_TLS` is set.
pub fn is_wanted() -> bool {
    std::env::var_os("CHAT_CONFORMANCE_TLS").is_some()
}

/// Returns a target for the suite whose server has TLS. `serve` runs the server. The clients of the suite reach it
/// through a tunnel.
pub fn target<F>(name: &str, serve: impl Fn(Mounted, Tls) -> F + Clone + Send + Sync + 'static) -> InProcess
where
    F: Future<Output = ()> + Send + 'static,
{
    let files = CertificateFiles::new();
    let tls = Tls::open(files.certificate(), files.key()).unwrap();
    let connector = connector(&files.certificate());
    InProcess::new(name, move |mut server| {
        let (serve, tls, connector) = (serve.clone(), tls.clone(), connector.clone());
        async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let clients = mem::replace(&mut server.listener, listener);
            tokio::select! {
                () = tunnel(clients, address, connector) => {}
                () = serve(server, tls) => {}
            }
        }
    })
}

/// Passes the connections of a listener on to a server with TLS, until it is dropped. It holds few bytes, so that the
/// server notices a client that does not read.
pub async fn tunnel(listener: TcpListener, server: SocketAddr, connector: TlsConnector) {
    while let Ok((mut plain, _)) = listener.accept().await {
        let connector = connector.clone();
        tokio::spawn(async move {
            let _no_delay = plain.set_nodelay(true).is_ok();
            let _small = SockRef::from(&plain).set_send_buffer_size(SMALL_BUFFER as usize).is_ok();
            let socket = TcpSocket::new_v4().unwrap();
            let _small = socket.set_recv_buffer_size(SMALL_BUFFER).is_ok();
            if let Ok(mut stream) = handshake(socket, server, &connector).await {
                // A connection that fails ends here, on both sides.
                let _ended = copy_bidirectional_with_sizes(&mut plain, &mut stream, CHUNK, CHUNK).await;
            }
        });
    }
}
