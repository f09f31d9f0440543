use std::net::SocketAddr;

use http::Extensions;

use super::GuardedRequest;

/// The facts about a request that are not in its head: its guard, the address of the peer, and the extensions that
/// the host's middleware has set.
///
/// An adapter makes one for each request. All fields are optional, because not every framework has them. `extensions`
/// is the type map of the crate `http`, so a type of the host gets to [`Identify`](crate::Identify) without a type of
/// the framework. An adapter of a framework with another type map copies the values that the host has named.
///
/// ```
/// use chat_core::{Extensions, RequestContext, UpgradeGuard};
///
/// let mut extensions = Extensions::new();
/// extensions.insert("the user of the host's own type");
/// let guard = UpgradeGuard::default();
/// let context = RequestContext::default()
///     .with_guard(guard.request())
///     .with_peer("192.0.2.7:50000".parse().ok())
///     .with_extensions(&extensions);
/// assert!(context.peer.is_some() && context.guard.is_some());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RequestContext<'a> {
    /// The request as the outermost layer guards it. Without it, the chat cannot check the response that the client
    /// gets, and refuses each upgrade.
    pub guard: Option<GuardedRequest>,
    /// The address of the peer of the connection. Behind a proxy, it is the address of the proxy: see
    /// [`Endpoint::trust_proxies`](crate::Endpoint::trust_proxies).
    pub peer: Option<SocketAddr>,
    /// The values that the host's middleware has set for this request.
    pub extensions: Option<&'a Extensions>,
    /// The address of a trusted proxy, if [`peer`](Self::peer) is that of its client.
    proxy: Option<SocketAddr>,
}

impl<'a> RequestContext<'a> {
    /// Sets the guard.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Into<Option<GuardedRequest>>) -> Self {
        self.guard = guard.into();
        self
    }

    /// Sets the address of the peer.
    #[must_use]
    pub fn with_peer(mut self, peer: impl Into<Option<SocketAddr>>) -> Self {
        self.peer = peer.into();
        self
    }

    /// Replaces the address of a trusted proxy by that of its client.
    pub(crate) fn with_client(mut self, client: SocketAddr) -> Self {
        self.proxy = self.peer.replace(client);
        self
    }

    /// Returns the address of the peer of the connection, even if it is a trusted proxy.
    pub(crate) fn direct_peer(&self) -> Option<SocketAddr> {
        self.proxy.or(self.peer)
    }

    /// Sets the extensions.
    #[must_use]
    pub fn with_extensions(mut self, extensions: &'a Extensions) -> Self {
        self.extensions = Some(extensions);
        self
    }
}
