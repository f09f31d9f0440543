//! The users of sessions: the host's answer to a `hello`, and the rights and limits that an identity gives.

use std::fmt;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chat_proto::Rate;
use chat_proto::command::Token;
use chat_proto::session::{Identified, NotIdentified};
use futures_util::future::{BoxFuture, FutureExt, ready};
use parking_lot::RwLock;
use tracing::{field, warn};

use super::driver::Driver;
use super::end::End;
use super::rates::UserRates;
use super::ticket::Ticket;
use crate::authorize::Both;
use crate::connection::Connection;
use crate::room::OwnFlushes;
use crate::{Authorize, Denied, Identify, IdentifyRequest, Identity, LogThrottle, Unavailable, timer};

/// Time between two warnings about an identity.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The `hello` in flight.
pub(super) type Hello = BoxFuture<'static, Result<Identity, Denied>>;

/// The rights and the rates of all users of a chat.
pub(crate) struct Identities {
    rates: UserRates,
    authorize: Option<Arc<dyn Authorize>>,
}

impl Identities {
    pub(crate) fn new(rate: Rate, authorize: Option<Arc<dyn Authorize>>) -> Self {
        Self { rates: UserRates::new(rate), authorize }
    }

    /// Sets the rate of the users that are identified from now on.
    pub(crate) fn set_rate(&self, rate: Rate) {
        self.rates.set_rate(rate);
    }

    /// Gives the rights and the limits of an identity to a ticket. The user of a ticket stays the same.
    pub(crate) fn apply(&self, identity: Identity, ticket: &mut Ticket) {
        let Identity { user, rights, expires_at, limits } = identity;
        ticket.authorize = match (rights, self.authorize.clone()) {
            (Some(first), Some(second)) => Some(Arc::new(Both { first, second })),
            (rights, host) => rights.or(host),
        };
        ticket.user_rate = self.rates.share(user.key(), limits.rate);
        ticket.set_expiry(expires_at);
        ticket.user.get_or_insert(user);
    }
}

/// The host's check of credentials, for the connections of one endpoint.
pub(crate) struct Identification {
    /// `None` if each client is a guest. The host may replace it.
    identify: RwLock<Option<Arc<dyn Identify>>>,
    identities: Arc<Identities>,
    warnings: LogThrottle,
}

impl Identification {
    pub(crate) fn new(identify: Option<Arc<dyn Identify>>, identities: Arc<Identities>) -> Self {
        Self { identify: RwLock::new(identify), identities, warnings: LogThrottle::default() }
    }

    /// Replaces the check, also for the next `hello` of open connections.
    pub(crate) fn set(&self, identify: Option<Arc<dyn Identify>>) {
        *self.identify.write() = identify;
    }

    fn current(&self) -> Option<Arc<dyn Identify>> {
        self.identify.read().clone()
    }

    /// Asks the host about a request. No answer within `limit`, and a panic, are [`Denied::Unavailable`]. Returns
    /// `None` if each client is a guest.
    pub(crate) async fn identify(
        &self,
        request: &IdentifyRequest<'_>,
        limit: Duration,
    ) -> Option<Result<Identity, Denied>> {
        let identify = self.current()?;
        // The call is inside the block, because it may panic before it returns a future.
        Some(self.wait(async { identify.identify(request).await }, request.peer(), limit).await)
    }

    /// Asks the host about the token of a `hello`.
    async fn hello(
        self: Arc<Self>,
        token: Token,
        peer: Option<SocketAddr>,
        limit: Duration,
    ) -> Result<Identity, Denied> {
        let identify = self.current().ok_or(Denied::Unsupported)?;
        self.wait(async { identify.hello(token.as_str(), peer).await }, peer, limit).await
    }

    async fn wait(
        &self,
        asked: impl Future<Output = Result<Identity, Denied>>,
        peer: Option<SocketAddr>,
        limit: Duration,
    ) -> Result<Identity, Denied> {
        let unavailable = match timer::timeout(limit, AssertUnwindSafe(asked).catch_unwind()).await {
            Ok(Ok(Err(Denied::Unavailable(unavailable)))) => unavailable,
            Ok(Ok(answer)) => return answer,
            Ok(Err(_)) => Unavailable::new("the host's Identify panicked"),
            Err(_) => Unavailable::new(format!("no answer within {limit:?}")),
        };
        if let Some(suppressed) = self.warnings.permit(LOG_INTERVAL) {
            let peer = peer.map(field::display);
            warn!(cause = unavailable.cause(), peer, suppressed, "identity unavailable");
        }
        Err(unavailable.into())
    }
}

impl<C: Connection> Driver<'_, C> {
    pub(super) fn begin_hello(&mut self, token: Token) {
        let (limit, peer) = (self.limits().http.identify_timeout, self.ticket.peer());
        self.hello = Some(match self.ticket.identification.clone() {
            Some(identification) => identification.hello(token, peer, limit).boxed(),
            None => ready(Err(Denied::Unsupported)).boxed(),
        });
    }

    pub(super) fn poll_hello(&mut self, cx: &mut Context<'_>) -> bool {
        if self.hello.is_none() || !self.may_reply() || self.owes_bytes() {
            return false;
        }
        OwnFlushes::write_started();
        let Some(hello) = &mut self.hello else { return false };
        let Poll::Ready(answer) = hello.poll_unpin(cx) else {
            return false;
        };
        self.hello = None;
        self.take_events();
        let answer = self.identified(answer);
        if let Some(code) = self.ticket.permit.close_now() {
            // The user was kicked while the host checked the credentials.
            self.end(End::Closing(code));
            return true;
        }
        let effects = self.session.handle_identification(self.now(), answer);
        self.perform(effects);
        true
    }

    /// Admits the user of a connection that has none, or renews the credentials of its user.
    fn identified(&mut self, answer: Result<Identity, Denied>) -> Result<Identified, NotIdentified> {
        let ticket = &mut *self.ticket;
        let identity = answer.map_err(|denied| match denied {
            Denied::Unavailable(_) => NotIdentified::Unavailable,
            Denied::Unsupported if ticket.user.is_some() => NotIdentified::Unsupported,
            _ => NotIdentified::Unauthorized,
        })?;
        let identified = Identified::new(identity.user.clone(), ticket.connection_id());
        match &ticket.user {
            // The session closes the connection.
            Some(user) if user.key() != identity.user.key() => return Ok(identified),
            Some(_) => {}
            None => {
                let admitted = ticket.permit.admit(&identity.user, identity.limits.max_connections);
                admitted.map_err(|_| NotIdentified::ConnectionLimit)?;
                ticket.span.record("user", field::display(identity.user.id().escape_debug()));
            }
        }
        if let Some(identification) = ticket.identification.clone() {
            identification.identities.apply(identity, ticket);
        }
        self.renew_rights();
        self.session.share_rate(self.ticket.user_rate.take().map(|rate| rate as _));
        Ok(identified.until(self.ticket.take_expiry(self.started)))
    }
}

impl fmt::Debug for Identification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identification").finish_non_exhaustive()
    }
}
