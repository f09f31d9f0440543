//! The task `health`: a request to the server with the same options, for health checks in images without a shell.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::Config;
use crate::{complain, refuse, show};

/// Time for the response.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of a response up to its status.
const STATUS_BYTES: usize = "HTTP/1.1 200".len();

/// Asks the server for `/readyz`. The exit code is 0 if it is ready, and 1 if it is not or does not answer.
pub(crate) fn run(config: &Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("cannot start the request: {error}")),
    };
    let listen = &config.listen;
    match runtime.block_on(async { timeout(TIMEOUT, status(config)).await }) {
        Ok(Ok(200)) => show("ready\n"),
        Ok(Ok(status)) => unhealthy(&format!("the server at {listen} is not ready: status {status}")),
        Ok(Err(error)) => unhealthy(&format!("the server at {listen} does not answer: {error}")),
        Err(_) => {
            unhealthy(&format!("the server at {listen} does not answer within {} s", TIMEOUT.as_secs()))
        }
    }
}

fn unhealthy(problem: &str) -> ExitCode {
    complain(problem);
    ExitCode::FAILURE
}

/// Asks the server at each address of its name, as the server tries them, until one answers.
async fn status(config: &Config) -> io::Result<u16> {
    let mut answer = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for address in lookup_host(&config.listen).await? {
        answer = status_at(config, reachable(address)).await;
        if answer.is_ok() {
            break;
        }
    }
    answer
}

async fn status_at(config: &Config, address: SocketAddr) -> io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    if config.proxy_protocol && config.trusted_proxies().contains(address.ip()) {
        stream.write_all(b"PROXY UNKNOWN\r\n").await?;
    }
    if !config.tls.is_on() {
        return ask(stream, address).await;
    }
    let connector = TlsConnector::from(Arc::new(dangerous_client()?));
    ask(connector.connect(ServerName::from(address.ip()), stream).await?, address).await
}

/// Returns an address of this machine on which a server with this address listens.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr) -> io::Result<u16> {
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut start = [0; STATUS_BYTES];
    stream.read_exact(&mut start).await?;
    let status =
        std::str::from_utf8(&start).ok().and_then(|start| start.strip_prefix("HTTP/1.1 ")?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the response is not HTTP/1.1"))
}

/// Returns a client that accepts every certificate. It reads a status from its own machine and sends no secret, and the
/// certificate has a public name, which the request does not know.
fn dangerous_client() -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.dangerous();
    Ok(builder.with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
