use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::{Authorize, Rate, RequestContext, RequestHead, Unavailable, User};

/// The host's decision about the user behind a request.
///
/// [`Endpoint::identify`](crate::Endpoint::identify) sets it. Without it, each connection is a guest. The chat waits
/// for an answer for [`HttpLimits::identify_timeout`](crate::HttpLimits::identify_timeout). Without an answer in
/// time, or after a panic, the upgrade is refused with 503, and a `hello` with the error `unavailable`.
///
/// A closure that needs no `await` is an `Identify`:
///
/// ```
/// use chat_core::{Chat, Denied, Endpoint, Identity, IdentifyRequest, User};
///
/// let endpoint = Endpoint::new(Chat::default()).identify(|request: &IdentifyRequest<'_>| {
///     match request.header("x-user") {
///         Some("7") => Ok(Identity::from(User::new("7", "Ann").map_err(|_| Denied::Unauthorized)?)),
///         _ => Err(Denied::Unauthorized),
///     }
/// });
/// # drop(endpoint);
/// ```
#[async_trait]
pub trait Identify: Send + Sync + 'static {
    /// Returns the user for whom a connection will speak.
    ///
    /// # Errors
    ///
    /// [`Denied::Unauthorized`] answers the request with 401, and [`Denied::Unavailable`] with 503. After
    /// [`Denied::HelloRequired`], the connection opens without a user, and its first command must be `hello`.
    async fn identify(&self, request: &IdentifyRequest<'_>) -> Result<Identity, Denied>;

    /// Returns the user of the token in a `hello`: the user of a connection that has none, or newer credentials of the
    /// same user. Another user closes the connection with 4501. One call of a connection is in flight at a time.
    ///
    /// Without this method, there is no `hello`.
    ///
    /// # Errors
    ///
    /// [`Denied::Unauthorized`] closes the connection with 4501. After [`Denied::Unavailable`] the client may try
    /// again, and [`Denied::Unsupported`] is the error `already_identified`.
    async fn hello(&self, token: &str, peer: Option<SocketAddr>) -> Result<Identity, Denied> {
        let _unused = (token, peer);
        Err(Denied::Unsupported)
    }
}

#[async_trait]
impl<F> Identify for F
where
    F: Fn(&IdentifyRequest<'_>) -> Result<Identity, Denied> + Send + Sync + 'static,
{
    async fn identify(&self, request: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
        self(request)
    }
}

/// A request with a valid handshake, whose user must be identified.
///
/// Its `Debug` has neither the query nor the values of headers, because they may have credentials.
pub struct IdentifyRequest<'a> {
    head: &'a RequestHead<'a>,
    context: &'a RequestContext<'a>,
    guest: Option<&'a User>,
}

impl<'a> IdentifyRequest<'a> {
    pub(crate) fn new(
        head: &'a RequestHead<'a>,
        context: &'a RequestContext<'a>,
        guest: Option<&'a User>,
    ) -> Self {
        Self { head, context, guest }
    }

    /// Returns the request's head.
    pub fn head(&self) -> &RequestHead<'a> {
        self.head
    }

    /// Returns the value of a header that occurs once and is visible ASCII. `name` is lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        let is_only = values.next().is_none();
        str::from_utf8(value).ok().filter(|_| is_only).map(|value| value.trim_matches([' ', '\t']))
    }

    /// Returns the value of a cookie. If several cookies have the name, it is the first one.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.header("cookie")?.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Returns the first value of a parameter in the query, percent-decoded, if it is UTF-8.
    ///
    /// A token in the query is written to the logs of many proxies. A cookie or a header is safer.
    pub fn query(&self, name: &str) -> Option<String> {
        self.head.query(name)
    }

    /// Returns the address of the peer, if the adapter knows it. Behind a proxy, it is the address of the proxy, unless
    /// [`Endpoint::trust_proxies`](crate::Endpoint::trust_proxies) names it.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.context.peer
    }

    /// Returns the address of the peer of the connection, if the adapter knows it. Behind a proxy, it is the address of
    /// the proxy, also if [`Endpoint::trust_proxies`](crate::Endpoint::trust_proxies) names it.
    pub fn direct_peer(&self) -> Option<SocketAddr> {
        self.context.direct_peer()
    }

    /// Returns a value that the host's own middleware has set for this request, such as the user of its login.
    ///
    /// With axum and hyper, these are the extensions of the request. With actix-web and warp, it is the value of the
    /// type that the host names: see `routes_with_extension` of the adapter.
    ///
    /// ```
    /// use chat_core::{Chat, Denied, Endpoint, Identity, IdentifyRequest, User};
    ///
    /// /// The user that the host's login has put into the extensions of the request.
    /// #[derive(Clone)]
    /// struct Account(User);
    ///
    /// let endpoint = Endpoint::new(Chat::default()).identify(|request: &IdentifyRequest<'_>| {
    ///     let Account(user) = request.extension().ok_or(Denied::Unauthorized)?;
    ///     Ok(Identity::from(user.clone()))
    /// });
    /// # drop(endpoint);
    /// ```
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.context.extensions?.get()
    }

    /// Returns the guest that the request asks for with `?name=`.
    pub fn guest(&self) -> Option<&User> {
        self.guest
    }
}

impl fmt::Debug for IdentifyRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.head.headers.iter().map(|(name, _)| *name).collect();
        f.debug_struct("IdentifyRequest")
            .field("method", &self.head.method)
            .field("path", &self.head.path())
            .field("headers", &headers)
            .field("peer", &self.context.peer)
            .field("guest", &self.guest)
            .finish_non_exhaustive()
    }
}

/// The user for whom a connection speaks, and the conditions of the credentials.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use chat_core::{Identity, IdentityLimits, Rate, User};
///
/// let mut identity = Identity::from(User::new("7", "Ann")?);
/// identity.expires_at = Some(SystemTime::now() + Duration::from_secs(3_600));
/// identity.limits.max_connections = Some(4);
/// identity.limits.rate = Some(Rate::new(10, 40));
/// # Ok::<(), chat_core::InvalidUser>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Identity {
    /// The user. One [`User::key`](crate::User::key) is one user, on sockets and in
    /// [`Chat::post`](crate::Chat::post).
    pub user: User,
    /// The rights that the credentials give. They are asked before
    /// [`Builder::authorize`](crate::Builder::authorize), and both must allow an action.
    pub rights: Option<Arc<dyn Authorize>>,
    /// The time at which the credentials expire. The connection is then closed with 4005, unless a `hello` has brought
    /// others. The client is told [`ConnectionLimits::expiry_notice`](crate::ConnectionLimits::expiry_notice) before.
    /// `None` is no limit.
    pub expires_at: Option<SystemTime>,
    /// The limits that replace those of the chat for this user.
    pub limits: IdentityLimits,
}

/// Limits of one user, instead of those of the chat. `None` keeps the limit of the chat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdentityLimits {
    /// The number that replaces [`ConnectionLimits::max_per_user`](crate::ConnectionLimits::max_per_user) when this
    /// connection is admitted. 0 is no limit.
    pub max_connections: Option<usize>,
    /// The rate that replaces [`RateLimits::user`](crate::RateLimits::user) for the commands of this connection. All
    /// connections of the user take from one bucket, so all identities of a user should have the same rate. Otherwise
    /// the bucket, once it is empty, refuses the faster connection for as long as the slower one needs to fill it.
    pub rate: Option<Rate>,
}

impl From<User> for Identity {
    fn from(user: User) -> Self {
        Self { user, rights: None, expires_at: None, limits: IdentityLimits::default() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user", &self.user)
            .field("expires_at", &self.expires_at)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A refusal of [`Identify`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The request carries no valid credentials.
    #[error("the credentials are missing or not valid")]
    Unauthorized,
    /// The request carries no credentials, and the connection may open without a user. Its first command must be
    /// `hello`. The address counts the connection, and the user does from its `hello` on. With an
    /// [`Endpoint::handler`](crate::Endpoint::handler), it is the same as [`Unauthorized`](Self::Unauthorized).
    #[error("the credentials must follow in the first command")]
    HelloRequired,
    /// The host takes no credentials in a `hello`. For a connection without a user, it is the same as
    /// [`Unauthorized`](Self::Unauthorized).
    #[error("the host takes no credentials in a hello")]
    Unsupported,
    /// The host cannot identify the user now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
