//! The options of TLS.

use std::path::PathBuf;

use chat_websocket::{Tls, TlsError};
use clap::Args;
use tracing::{info, warn};

#[derive(Debug, Args)]
pub(crate) struct TlsOptions {
    /// Serve https and wss with the certificate chain in this PEM file; needs --tls-key
    #[arg(long, env = "CHATD_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// Use the private key in this PEM file for the certificate; needs --tls-cert
    #[arg(long, env = "CHATD_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl TlsOptions {
    /// Returns true if the server speaks TLS.
    pub(crate) fn is_on(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// Returns the error of an option without the other.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => Some("--tls-cert: name the file of the private key with --tls-key"),
            (None, Some(_)) => Some("--tls-key: name the file of the certificate with --tls-cert"),
            _ => None,
        }
    }

    /// Reads the certificate. Returns `None` without the options.
    pub(crate) fn open(&self) -> Result<Option<Tls>, TlsError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificates), Some(key)) => Tls::open(certificates, key).map(Some),
            _ => Ok(None),
        }
    }
}

/// Reads the files of the certificate again, and logs the result. After an error, the certificate is the one that it
/// was.
pub(crate) fn reload(tls: &Tls) -> Result<(), TlsError> {
    let reloaded = tls.reload();
    match &reloaded {
        Ok(()) => info!("certificate reloaded"),
        Err(error) => warn!(%error, "certificate not reloaded, the previous one stays"),
    }
    reloaded
}
