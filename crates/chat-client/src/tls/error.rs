use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::CertificateError;

/// The reason why roots cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: Arc<io::Error>,
    },
    /// A certificate is not valid, or is not in the PEM format.
    #[error("a root certificate is not valid")]
    Invalid,
    /// There is no certificate.
    #[error("there is no root certificate in the PEM format")]
    Missing,
    /// The library does not know the versions of TLS.
    #[error("TLS cannot be set up")]
    SetUp(#[source] rustls::Error),
}

/// The reason why a connection has no TLS. Another attempt would fail too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The operating system has no root certificates.
    #[error("no root certificates: install the package ca-certificates, or name a file with roots")]
    NoRoots,
    /// The roots of the client have not signed the certificate of the server.
    #[error(
        "no trusted root has issued the certificate: trust its issuer, or let the server send the whole chain"
    )]
    UnknownIssuer,
    /// The certificate is for other hosts.
    #[error("the certificate is not for {host}, but for {}", .names.join(", "))]
    WrongHost {
        /// The host in the address.
        host: String,
        /// The names in the certificate.
        names: Vec<String>,
    },
    /// The certificate has expired.
    #[error("the certificate has expired: renew it, or set the clock of this machine")]
    Expired,
    /// The certificate is not valid yet.
    #[error("the certificate is not valid yet: set the clock of this machine")]
    NotYetValid,
    /// The certificate failed another check.
    #[error("the certificate was not accepted: {0}")]
    Certificate(String),
    /// The server does not speak TLS.
    #[error("the server does not speak TLS: its address begins with ws://")]
    NoTls,
    /// The handshake failed otherwise.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
}

impl TlsError {
    pub(super) fn new(error: &rustls::Error, host: &str) -> Self {
        let certificate = match error {
            rustls::Error::InvalidCertificate(certificate) => certificate,
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => return Self::NoTls,
            other => return Self::Handshake(other.to_string()),
        };
        match certificate {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = presented.iter().map(|name| bare(name).to_owned()).collect();
                Self::WrongHost { host: host.to_owned(), names }
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            other => Self::Certificate(other.to_string()),
        }
    }
}

impl From<RootsError> for TlsError {
    fn from(error: RootsError) -> Self {
        match error {
            RootsError::Missing => Self::NoRoots,
            other => Self::Handshake(other.to_string()),
        }
    }
}

/// Returns the name in a text of rustls, such as `DnsName("chat.example")` or `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let (_, name) = name.split_once('(').unwrap_or(("", name));
    name.trim_end_matches(')').trim_matches('"')
}
