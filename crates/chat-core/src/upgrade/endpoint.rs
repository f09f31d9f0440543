use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_proto::handshake::{Accept, OriginPolicy, Refusal, TrustedProxies, decide};
use parking_lot::RwLock;

use super::handler::{Handler, MakeHandler};
use super::refused::Refused;
use super::static_file::StaticFile;
use super::status_pages::{Readiness, STATUS_PAGES};
use crate::session::{Identification, Mechanism, Reservation};
use crate::{
    Answer, Chat, Denied, GuardedRequest, Identify, IdentifyRequest, Identity, Limits, RequestContext,
    RequestHead, Ticket, Upgrade,
};

/// The chat as part of an HTTP service: its path, the origins that may connect, and the identity of users.
///
/// An adapter makes a route of it for each of its [`paths`](Self::paths). A clone is another handle to the same chat.
///
/// ```
/// use chat_core::{Chat, Endpoint};
///
/// let endpoint = Endpoint::new(Chat::default())
///     .path("/chat")
///     .allow_origins(vec!["https://app.example".to_owned()])
///     .with_status_pages();
/// assert_eq!(endpoint.paths(), ["/chat", "/", "/healthz", "/readyz"]);
/// ```
#[derive(Clone)]
pub struct Endpoint {
    chat: Chat,
    pub(super) path: Arc<str>,
    origins: Arc<RwLock<Arc<OriginPolicy>>>,
    mode: UpgradeMode,
    pub(super) has_status_pages: bool,
    pub(super) files: &'static [StaticFile],
    pub(super) readiness: Option<Arc<dyn Fn() -> Readiness + Send + Sync>>,
    identification: Arc<Identification>,
    proxies: Arc<TrustedProxies>,
    handler: Option<MakeHandler>,
    has_logged_missing_layer: Arc<AtomicBool>,
}

/// The source of an adapter's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeMode {
    /// The adapter takes the connection over from the framework as a stream of bytes. All adapters are then the same
    /// on the wire.
    #[default]
    Hijack,
    /// The adapter uses the framework's own WebSocket, and the framework keeps the connection.
    Framework,
}

/// A decision about a request.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a decision lives for one request")]
pub enum Decision {
    /// The request becomes a connection.
    Upgrade(Upgrade),
    /// The request gets this response.
    Answer(Answer),
    /// The request is not for the chat.
    Pass,
}

impl Endpoint {
    /// Returns the chat at `/ws`, for pages of its own origin and for clients that are not browsers.
    pub fn new(chat: Chat) -> Self {
        Self {
            identification: chat.identification(None),
            chat,
            path: "/ws".into(),
            origins: Arc::default(),
            mode: UpgradeMode::default(),
            has_status_pages: false,
            files: &[],
            readiness: None,
            proxies: Arc::default(),
            handler: None,
            has_logged_missing_layer: Arc::default(),
        }
    }

    /// Puts the chat at another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// Admits pages of these origins too: `https://chat.example`, `https://*.chat.example` for the names one level
    /// below, or `*` for all. Each is an [`OriginPattern`](crate::OriginPattern); other texts admit nothing.
    #[must_use]
    pub fn allow_origins(mut self, origins: Vec<String>) -> Self {
        self.origins = Arc::new(RwLock::new(Arc::new(OriginPolicy::SameOriginOr(origins))));
        self
    }

    /// Replaces the origins of [`allow_origins`](Self::allow_origins) while the endpoint serves. It changes all clones
    /// of this endpoint. Open connections stay.
    ///
    /// ```
    /// use chat_core::{Chat, Endpoint};
    ///
    /// let endpoint = Endpoint::new(Chat::default()).allow_origins(vec!["https://old.example".to_owned()]);
    /// endpoint.set_origins(vec!["https://new.example".to_owned()]);
    /// ```
    pub fn set_origins(&self, origins: Vec<String>) {
        *self.origins.write() = Arc::new(OriginPolicy::SameOriginOr(origins));
    }

    /// Sets the host's decision about the user behind a request. Without it, each connection is a guest.
    #[must_use]
    pub fn identify(mut self, identify: impl Identify) -> Self {
        self.identification = self.chat.identification(Some(Arc::new(identify)));
        self
    }

    /// Replaces the decision of [`identify`](Self::identify) while the endpoint serves, for example to use other keys.
    /// It changes all clones of this endpoint. `None` makes each connection a guest. Open connections
    /// stay, and the next `hello` of each is checked by the new decision.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use chat_core::{Chat, Denied, Endpoint, Identity, IdentifyRequest};
    ///
    /// let endpoint = Endpoint::new(Chat::default());
    /// endpoint.set_identify(Some(Arc::new(|_: &IdentifyRequest<'_>| Err::<Identity, _>(Denied::Unauthorized))));
    /// ```
    pub fn set_identify(&self, identify: Option<Arc<dyn Identify>>) {
        self.identification.set(identify);
    }

    /// Trusts proxies to report the address of the client. It then is the address in the log, for
    /// [`Identify`](crate::Identify), for [`Ticket::peer`] and for
    /// [`ConnectionLimits::max_per_address`](crate::ConnectionLimits::max_per_address), with the port 0. Without it,
    /// these are the address of the proxy. Plain connections of the proxies have no
    /// [limit](crate::ConnectionLimits::max_plain_per_address), on any server of this chat.
    ///
    /// ```
    /// use chat_core::{Chat, Endpoint, TrustedProxies};
    ///
    /// let proxies = TrustedProxies::new(["127.0.0.1".parse()?, "10.0.0.0/8".parse()?]);
    /// let endpoint = Endpoint::new(Chat::default()).trust_proxies(proxies);
    /// # drop(endpoint);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn trust_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = Arc::new(proxies);
        self.chat.trust_proxies(Arc::clone(&self.proxies));
        self
    }

    /// Sets the source of the connections. Default [`UpgradeMode::Hijack`].
    #[must_use]
    pub fn mode(mut self, mode: UpgradeMode) -> Self {
        self.mode = mode;
        self
    }

    /// Also serves `/` (a page to try the chat), `/healthz` and `/readyz`. Requests from another machine, or through a
    /// proxy that says so, get only the field `ready` of `/readyz`: the numbers are for the operator.
    #[must_use]
    pub fn with_status_pages(mut self) -> Self {
        self.has_status_pages = true;
        self
    }

    /// Also serves files from memory. A file at the path of a status page replaces that page.
    ///
    /// ```
    /// use chat_core::{Chat, Endpoint, StaticFile};
    ///
    /// const PAGE: StaticFile = StaticFile {
    ///     path: "/",
    ///     content_type: "text/html; charset=utf-8",
    ///     content: b"<!doctype html><title>chat</title>",
    ///     gzip: None,
    ///     version: "1",
    ///     is_immutable: false,
    ///     headers: &[("content-security-policy", "default-src 'self'")],
    /// };
    ///
    /// let endpoint = Endpoint::new(Chat::default()).with_files(&[PAGE]);
    /// assert_eq!(endpoint.paths(), ["/ws", "/"]);
    /// ```
    #[must_use]
    pub fn with_files(mut self, files: &'static [StaticFile]) -> Self {
        self.files = files;
        self
    }

    /// Adds the host's readiness to `/readyz`.
    #[must_use]
    pub fn with_readiness(mut self, readiness: impl Fn() -> Readiness + Send + Sync + 'static) -> Self {
        self.readiness = Some(Arc::new(readiness));
        self
    }

    /// Serves upgraded connections with other code than the chat's session, for example an echo to test the layers
    /// below the chat.
    #[must_use]
    pub fn handler(mut self, make: impl Fn(Ticket) -> Box<dyn Handler> + Send + Sync + 'static) -> Self {
        self.handler = Some(MakeHandler::new(make));
        self
    }

    /// Returns the chat.
    pub fn chat(&self) -> &Chat {
        &self.chat
    }

    /// Returns the source of the connections, for the adapter.
    pub fn upgrade_mode(&self) -> UpgradeMode {
        self.mode
    }

    /// Returns the paths of the requests that are for the chat. [`handle`](Self::handle) passes all others on.
    pub fn paths(&self) -> Vec<&str> {
        let files = self.files.iter().map(|file| file.path);
        let pages = STATUS_PAGES.into_iter().filter(|_| self.has_status_pages);
        let mut paths = vec![&*self.path];
        for path in files.chain(pages) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// Decides about a request. Without a [guard](RequestContext::guard), the chat cannot check the response that the
    /// client gets, and refuses each upgrade.
    pub async fn handle(&self, head: &RequestHead<'_>, context: &RequestContext<'_>) -> Decision {
        if head.path() != &*self.path {
            return self.page(head, context).map_or(Decision::Pass, Decision::Answer);
        }
        let context = &self.with_client(head, context);
        if let Some(answer) = self.probe(head, context).await {
            return Decision::Answer(answer);
        }
        match self.upgrade(head, context).await {
            Ok(upgrade) => Decision::Upgrade(upgrade),
            Err(refusal) => {
                self.chat.counters().refuse_handshake(refusal);
                if let Some(guard) = &context.guard {
                    guard.refuse(Refused::new(refusal, head, self.chat.refusal_lines()), context.peer);
                }
                Decision::Answer(self.refusal(refusal))
            }
        }
    }

    /// Returns the answer to a refused handshake. A server that cannot serve now gives each client of a crowd its own
    /// time to return.
    pub(super) fn refusal(&self, refusal: Refusal) -> Answer {
        let answer = Answer::refusal(refusal, self.limits());
        if refusal.status() == 503 { answer.with_retry_after(self.chat.retry_after()) } else { answer }
    }

    pub(super) fn origins(&self) -> Arc<OriginPolicy> {
        Arc::clone(&self.origins.read())
    }

    fn limits(&self) -> &Limits {
        self.chat.limits()
    }

    /// Replaces the address of a trusted proxy by that of the client.
    fn with_client<'a>(&self, head: &RequestHead<'_>, context: &RequestContext<'a>) -> RequestContext<'a> {
        let context = context.clone();
        let Some(peer) = context.peer else { return context };
        let client = self.proxies.client(peer.ip(), head);
        if client == peer.ip().to_canonical() {
            context
        } else {
            context.with_client(SocketAddr::new(client, 0))
        }
    }

    async fn upgrade(
        &self,
        head: &RequestHead<'_>,
        context: &RequestContext<'_>,
    ) -> Result<Upgrade, Refusal> {
        let (accept, ticket, guard) = self.admit(head, context).await?;
        Ok(Upgrade::new(ticket, self.handler.clone(), &accept, guard))
    }

    /// Decides about a handshake, and counts its connection.
    pub(super) async fn admit(
        &self,
        head: &RequestHead<'_>,
        context: &RequestContext<'_>,
    ) -> Result<(Accept, Ticket, GuardedRequest), Refusal> {
        let accept = decide(head, &self.origins(), self.limits())?;
        let guard = context.guard.clone().ok_or_else(|| {
            self.log_missing_layer();
            Refusal::Internal
        })?;
        // The connection is counted first: the host must not be asked about more requests than the chat can serve.
        let mechanism = match self.mode {
            UpgradeMode::Hijack => Mechanism::Hijack,
            UpgradeMode::Framework => Mechanism::Framework,
        };
        let reservation = self.chat.reserve(context.peer.map(|peer| peer.ip()), mechanism)?;
        let ticket = self.ticket(reservation, head, context, &accept).await?;
        Ok((accept, ticket, guard))
    }

    /// Logs once that the host has forgotten the layer, because the fix is in the host's code.
    fn log_missing_layer(&self) {
        if !self.has_logged_missing_layer.swap(true, Ordering::Relaxed) {
            tracing::error!(
                path = &*self.path,
                fix = "add the adapter's UpgradeLayer around the routes, as the last layer",
                "upgrade refused: the chat's layer is missing"
            );
        }
    }

    /// Asks for the user behind a request, and admits the connection.
    async fn ticket(
        &self,
        reservation: Reservation,
        head: &RequestHead<'_>,
        context: &RequestContext<'_>,
        accept: &Accept,
    ) -> Result<Ticket, Refusal> {
        let guest = accept.guest.as_ref();
        let request = IdentifyRequest::new(head, context, guest);
        let identity = self.identification.identify(&request, self.limits().http.identify_timeout).await;
        let identity = identity
            .unwrap_or_else(|| Ok(guest.cloned().map_or_else(|| self.chat.next_guest(), Identity::from)));
        let ticket = match identity {
            Ok(identity) => self.chat.admit_reserved(reservation, identity, context.peer)?,
            // Other code than the session reads no `hello`.
            Err(Denied::HelloRequired) if self.handler.is_none() => {
                self.chat.open_reserved(reservation, context.peer)
            }
            Err(Denied::Unavailable(_)) => return Err(Refusal::Unavailable),
            Err(_) => return Err(Refusal::Unauthorized),
        };
        Ok(ticket.with_identification(Arc::clone(&self.identification)))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("chat", &self.chat)
            .field("path", &self.path)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
