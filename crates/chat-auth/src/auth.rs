use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use chat_core::{Denied, Identify, IdentifyRequest, Identity, Unavailable, User};

use crate::credential::{Credential, visible};
use crate::rejection::Rejections;
use crate::{CacheStats, Claims, KeyCache, KeySet, ProxyHeader, Rejection, Tickets, TokenVerifier};

/// The users of a chat, by the credentials of their requests.
///
/// A request has at most one kind of credentials: a ticket, a token, or the header of a trusted proxy. Credentials that
/// are not valid never make a guest. The client does not learn the reason. The log and [`rejections`](Self::rejections)
/// have it.
///
/// A clone is another handle to the same counters, tickets and keys.
///
/// ```
/// use chat_auth::{Auth, KeySet, Tickets, TokenVerifier, VerifyingKey};
/// use chat_core::{Chat, Endpoint};
///
/// let keys = KeySet::new([VerifyingKey::from_secret(b"a secret of 32 bytes, or longer.")?])?;
/// let auth = Auth::new().tokens(TokenVerifier::new().audience("chat"), keys).tickets(Tickets::default());
/// let endpoint = Endpoint::new(Chat::default()).identify(auth);
/// # drop(endpoint);
/// # Ok::<(), chat_auth::InvalidKey>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Auth {
    tokens: Option<(TokenVerifier, Keys)>,
    tickets: Option<Tickets>,
    proxy: Option<ProxyHeader>,
    has_guests: bool,
    has_hello: bool,
    rejections: Arc<Rejections>,
    /// The loads of keys of the `Auth` that this one replaces.
    earlier_loads: (u64, u64),
}

/// The keys of tokens: a set that does not change, or a [`KeyCache`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Keys {
    /// A set that does not change.
    Fixed(KeySet),
    /// Keys that are loaded again from time to time.
    Cached(KeyCache),
}

impl From<KeySet> for Keys {
    fn from(keys: KeySet) -> Self {
        Self::Fixed(keys)
    }
}

impl From<KeyCache> for Keys {
    fn from(keys: KeyCache) -> Self {
        Self::Cached(keys)
    }
}

impl Auth {
    /// Returns a host without users: each request is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts tokens: in `Authorization: Bearer`, as the subprotocol `chat.token.` with the token after it, or in a
    /// `hello`, with which a client renews its token before it expires.
    #[must_use]
    pub fn tokens(mut self, verifier: TokenVerifier, keys: impl Into<Keys>) -> Self {
        self.tokens = Some((verifier, keys.into()));
        self
    }

    /// Accepts tickets, in `?ticket=`.
    #[must_use]
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Accepts the users that a trusted proxy names.
    #[must_use]
    pub fn proxy(mut self, header: ProxyHeader) -> Self {
        self.proxy = Some(header);
        self
    }

    /// Admits requests without credentials as guests.
    ///
    /// The `rooms` of tokens do not restrict guests. A user who connects as a guest can enter a room that the user's
    /// token forbids. To restrict guests, use [`Builder::authorize`](chat_core::Builder::authorize).
    #[must_use]
    pub fn guests(mut self) -> Self {
        self.has_guests = true;
        self
    }

    /// Opens connections without credentials, whose first command must be a `hello` with a token. Otherwise, their
    /// requests are refused with 401. It needs [`tokens`](Self::tokens). With [`guests`](Self::guests), requests
    /// without credentials are guests.
    #[must_use]
    pub fn hello_later(mut self) -> Self {
        self.has_hello = true;
        self
    }

    /// Returns the numbers of refused credentials since the start, by [`Rejection::as_str`].
    pub fn rejections(&self) -> BTreeMap<&'static str, u64> {
        self.rejections.counts()
    }

    /// Continues the counters of an `Auth` that this one replaces, for example after a change of its keys.
    #[must_use]
    pub fn continuing(mut self, replaced: &Self) -> Self {
        self.rejections = Arc::clone(&replaced.rejections);
        self.earlier_loads = replaced.key_loads();
        self
    }

    /// Returns the numbers of loads of keys that succeeded and that failed. It includes those of the `Auth` that this
    /// one [continues](Self::continuing).
    pub fn key_loads(&self) -> (u64, u64) {
        let (loads, failures) = self.earlier_loads;
        let stats = self.key_stats().unwrap_or_default();
        (loads + stats.loads, failures + stats.failures)
    }

    /// Returns the counters of the [`KeyCache`], if the keys of tokens are in one.
    pub fn key_stats(&self) -> Option<CacheStats> {
        match &self.tokens {
            Some((_, Keys::Cached(cache))) => Some(cache.stats()),
            _ => None,
        }
    }

    async fn find(&self, request: &IdentifyRequest<'_>) -> Result<Identity, Rejection> {
        let named = self.proxy.as_ref().map(|proxy| proxy.identify(request)).transpose()?.flatten();
        match (Credential::of(request)?, named) {
            (Some(_), Some(_)) => Err(Rejection::Ambiguous),
            (None, Some(identity)) => Ok(identity),
            (Some(Credential::Ticket(ticket)), None) => {
                let tickets = self.tickets.as_ref().ok_or(Rejection::Unsupported)?;
                tickets.redeem(&ticket).ok_or(Rejection::Ticket)
            }
            (Some(Credential::Token(token)), None) => self.verify(token).await,
            (None, None) if self.has_guests => guest(request),
            (None, None) => Err(Rejection::Missing),
        }
    }

    async fn verify(&self, token: &str) -> Result<Identity, Rejection> {
        let (verifier, keys) = self.tokens.as_ref().ok_or(Rejection::Unsupported)?;
        keys.verify(verifier, token).await.map(Identity::from)
    }

    fn refuse(&self, rejection: Rejection, peer: Option<SocketAddr>) -> Denied {
        self.rejections.record(rejection, peer);
        match rejection {
            Rejection::StaleKeys => Denied::Unavailable(Unavailable::new("the keys are too old")),
            _ => Denied::Unauthorized,
        }
    }
}

fn guest(request: &IdentifyRequest<'_>) -> Result<Identity, Rejection> {
    let named = request.guest().cloned();
    let unnamed = || getrandom::u64().map(User::unnamed_guest).map_err(|_| Rejection::User);
    named.map_or_else(unnamed, Ok).map(Identity::from)
}

impl Keys {
    /// Returns the claims of a token. If no key fits, it loads the keys again first.
    ///
    /// # Errors
    ///
    /// The [`Rejection`] for the log.
    pub async fn verify(&self, verifier: &TokenVerifier, token: &str) -> Result<Claims, Rejection> {
        let now = SystemTime::now();
        let cache = match self {
            Self::Fixed(keys) => return verifier.verify(token, keys, now),
            Self::Cached(cache) => cache,
        };
        match verifier.verify(token, &*cache.keys().await?, now) {
            Err(Rejection::UnknownKey) => verifier.verify(token, &*cache.reload().await?, now),
            result => result,
        }
    }
}

#[async_trait]
impl Identify for Auth {
    async fn identify(&self, request: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
        match self.find(request).await {
            Err(Rejection::Missing) if self.has_hello && self.tokens.is_some() => Err(Denied::HelloRequired),
            found => found.map_err(|rejection| self.refuse(rejection, request.peer())),
        }
    }

    async fn hello(&self, token: &str, peer: Option<SocketAddr>) -> Result<Identity, Denied> {
        if self.tokens.is_none() {
            return Err(Denied::Unsupported);
        }
        let verified = match visible(token.as_bytes()) {
            Ok(token) => self.verify(token).await,
            Err(rejection) => Err(rejection),
        };
        verified.map_err(|rejection| self.refuse(rejection, peer))
    }
}
