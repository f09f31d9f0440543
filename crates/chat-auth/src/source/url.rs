use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::{KeySource, LoadError};
use crate::{InvalidKey, KeySet};

/// The largest key set in bytes. Sets with certificates have about 20 KB.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// The URL of a JSON Web Key Set, such as the `jwks_uri` of an `OpenID` Connect provider.
///
/// Only `https` is allowed, and `http` to a loopback address. Redirects are not followed. The certificates of the
/// operating system are trusted, or those that `SSL_CERT_FILE` names.
#[derive(Clone, Debug)]
pub struct KeyUrl {
    uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// A URL that no keys are loaded from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// The text is not an absolute URL of `https`, or of `http` to a loopback address. It has no user and no password.
    #[error("the URL of a key set begins with https://, or with http:// and a loopback address")]
    Url,
    /// A root certificate is not valid.
    #[error("the root certificates are not valid PEM certificates")]
    Roots,
    /// The operating system has no root certificates.
    #[error("no root certificates: install the package ca-certificates, or set SSL_CERT_FILE")]
    NoRoots,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
}

/// A key set that could not be loaded from its URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The server cannot be reached.
    #[error("the server of the key set cannot be reached")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The server did not answer with 200.
    #[error("the server of the key set answered with status {0}")]
    Status(u16),
    /// The body is larger than 256 KiB, or ended early.
    #[error("the body of the key set is too large or not complete")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    /// The body is no key set.
    #[error(transparent)]
    Invalid(#[from] InvalidKey),
}

impl KeyUrl {
    /// Returns the source for a URL.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] for a URL that is not allowed, or without root certificates.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let uri = parse(url)?;
        let mut roots = RootCertStore::empty();
        if uri.scheme_str() == Some("https") {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(InvalidUrl::NoRoots);
            }
        }
        Self::with_store(uri, roots)
    }

    /// Returns the source for a URL whose server has a certificate of these roots, and no other. They are in the PEM
    /// format.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] for a URL or roots that are not valid.
    pub fn with_roots(url: &str, pem: &[u8]) -> Result<Self, InvalidUrl> {
        let (uri, mut roots) = (parse(url)?, RootCertStore::empty());
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| InvalidUrl::Roots)?).map_err(|_| InvalidUrl::Roots)?;
        }
        if roots.is_empty() { Err(InvalidUrl::Roots) } else { Self::with_store(uri, roots) }
    }

    fn with_store(uri: Uri, roots: RootCertStore) -> Result<Self, InvalidUrl> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| InvalidUrl::Tls(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        // The keys are loaded so rarely that no connection is kept.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { uri, client })
    }

    async fn fetch(&self) -> Result<KeySet, UrlError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.uri.clone();
        let accept = http::HeaderValue::from_static("application/json, application/jwk-set+json");
        request.headers_mut().insert(http::header::ACCEPT, accept);
        let response = self.client.request(request).await.map_err(|error| UrlError::Connect(error.into()))?;
        if response.status() != StatusCode::OK {
            return Err(UrlError::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        Ok(KeySet::from_jwks(&body.map_err(UrlError::Body)?.to_bytes())?)
    }
}

#[async_trait]
impl KeySource for KeyUrl {
    fn name(&self) -> String {
        // A query may have a secret.
        format!(
            "{}://{}{}",
            self.uri.scheme_str().unwrap_or(""),
            self.uri.host().unwrap_or(""),
            self.uri.path()
        )
    }

    async fn load(&self) -> Result<KeySet, LoadError> {
        self.fetch().await.map_err(LoadError::new)
    }
}

fn parse(url: &str) -> Result<Uri, InvalidUrl> {
    let uri: Uri = url.parse().map_err(|_| InvalidUrl::Url)?;
    let authority = uri.authority().ok_or(InvalidUrl::Url)?;
    if authority.as_str().contains('@') {
        return Err(InvalidUrl::Url);
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback => Ok(uri),
        _ => Err(InvalidUrl::Url),
    }
}
