use std::fmt;

use chat_core::{IdentifyRequest, Identity, TrustedProxies};
use subtle::ConstantTimeEq;

use crate::key::MIN_SECRET_BYTES;
use crate::{InvalidKey, Rejection, user};

/// The user that a trusted proxy names in a header, after its own login.
///
/// The header counts only if the request comes from the proxy: it has the shared secret in another header, or its
/// connection comes from a trusted network. With both, both are required. Configure the proxy to remove these headers
/// from the requests of its clients.
///
/// ```
/// use chat_auth::ProxyHeader;
///
/// let header = ProxyHeader::with_secret("x-user", "x-proxy-secret", "a secret of 32 bytes, or longer.")?
///     .from_networks(["127.0.0.1".parse()?])
///     .name_header("x-user-name");
/// # drop(header);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ProxyHeader {
    user: String,
    name: Option<String>,
    secret: Option<(String, String)>,
    networks: Option<TrustedProxies>,
}

impl ProxyHeader {
    /// Trusts requests that have this secret in the header `secret_header`. The user's id is in the header
    /// `user_header`. Names of headers are lower case.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::ShortSecret`] for less than 32 bytes.
    pub fn with_secret(user_header: &str, secret_header: &str, secret: &str) -> Result<Self, InvalidKey> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(InvalidKey::ShortSecret);
        }
        let secret = Some((secret_header.to_owned(), secret.to_owned()));
        Ok(Self { user: user_header.to_owned(), name: None, secret, networks: None })
    }

    /// Trusts requests whose connection comes from these networks. The user's id is in the header `user_header`.
    pub fn with_networks(user_header: &str, networks: TrustedProxies) -> Self {
        Self { user: user_header.to_owned(), name: None, secret: None, networks: Some(networks) }
    }

    /// Also requires that the connection comes from one of these networks.
    #[must_use]
    pub fn from_networks(mut self, networks: impl IntoIterator<Item = chat_core::Network>) -> Self {
        self.networks = Some(TrustedProxies::new(networks));
        self
    }

    /// Sets the header with the name that other users read. Without it, the id is the name.
    #[must_use]
    pub fn name_header(mut self, header: &str) -> Self {
        self.name = Some(header.to_owned());
        self
    }

    /// Returns the user that the request names, or `None` if it has no such header.
    pub(crate) fn identify(&self, request: &IdentifyRequest<'_>) -> Result<Option<Identity>, Rejection> {
        let has =
            |name: &str| request.head().headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
        if !has(&self.user) {
            return Ok(None);
        }
        if !self.is_trusted(request) {
            return Err(Rejection::Proxy);
        }
        let id = request.header(&self.user).ok_or(Rejection::User)?;
        let name = self.name.as_deref().and_then(|name| request.header(name));
        let user = user::named(id, name).map_err(|_| Rejection::User)?;
        Ok(Some(Identity::from(user)))
    }

    fn is_trusted(&self, request: &IdentifyRequest<'_>) -> bool {
        let has_secret = self.secret.as_ref().is_none_or(|(header, secret)| {
            request.header(header).is_some_and(|sent| sent.as_bytes().ct_eq(secret.as_bytes()).into())
        });
        let is_near = self
            .networks
            .as_ref()
            .is_none_or(|networks| request.direct_peer().is_some_and(|peer| networks.contains(peer.ip())));
        has_secret && is_near
    }
}

impl fmt::Debug for ProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyHeader")
            .field("user", &self.user)
            .field("networks", &self.networks)
            .finish_non_exhaustive()
    }
}
