//! The options of TLS.

use std::fs;
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

    /// Returns the mistakes in both files, each with the id of its option.
    pub(crate) fn mistakes_in_files(&self) -> Vec<(&'static [&'static str], String)> {
        let Err(error) = self.open() else { return Vec::new() };
        let is_of_key = match &error {
            TlsError::NoKey(_) => true,
            TlsError::Read { path, .. } => Some(path) == self.tls_key.as_ref(),
            _ => false,
        };
        if is_of_key {
            return vec![(&["tls_key"], format!("--tls-key: {error}"))];
        }
        let mut found: Vec<(&'static [&'static str], String)> =
            vec![(&["tls_cert"], format!("--tls-cert: {error}"))];
        // Certificates are read first, so the error does not say if the key can be read.
        if let Some((key, error)) = self.tls_key.iter().find_map(|key| Some((key, fs::read(key).err()?))) {
            found.push((&["tls_key"], format!("--tls-key: cannot read {}: {error}", key.display())));
        }
        found
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
