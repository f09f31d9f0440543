use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;

use chat_proto::handshake::{Accept, Refusal};
use futures_util::future::Either;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::handler::MakeHandler;
use super::refused::Refused;
use crate::stats::count;
use crate::{Answer, Connection, GuardedRequest, Limits, Ticket};

/// An upgrade that the chat allows. [`accept`](Self::accept) carries it out. A drop of it cancels the upgrade.
#[must_use = "an upgrade that is dropped is an upgrade refused"]
pub struct Upgrade {
    answer: SwitchingProtocols,
    ticket: UpgradeTicket,
    guard: GuardedRequest,
}

impl Upgrade {
    pub(super) fn new(
        ticket: Ticket,
        handler: Option<MakeHandler>,
        accept: &Accept,
        guard: GuardedRequest,
    ) -> Self {
        let confirmed = guard.accept(ticket.peer());
        let ticket = UpgradeTicket { ticket, handler, confirmed };
        Self { answer: SwitchingProtocols { headers: accept.headers() }, ticket, guard }
    }

    /// Returns the guarded request.
    pub fn guard(&self) -> &GuardedRequest {
        &self.guard
    }

    /// Returns the limits of the chat.
    pub fn limits(&self) -> &Arc<Limits> {
        self.ticket.limits()
    }

    /// Cancels the upgrade, because the framework cannot provide a connection. Returns the response to send.
    pub fn refuse(self) -> Answer {
        self.ticket.ticket.counters().refuse_handshake(Refusal::Internal);
        self.guard.refuse(Refused::internal(), self.ticket.ticket.peer());
        Answer::refusal(Refusal::Internal, self.ticket.limits())
    }

    /// Cancels the upgrade, because the framework does not carry out this form of a handshake, for example a list in
    /// `Upgrade`. Returns the response to send, which is 426.
    pub fn refuse_form(self) -> Answer {
        let ticket = &self.ticket.ticket;
        ticket.counters().refuse_handshake(Refusal::UpgradeRequired);
        self.guard.refuse(Refused::unsupported(ticket.lines()), ticket.peer());
        Answer::refusal(Refusal::UpgradeRequired, self.ticket.limits())
    }

    /// Carries out the upgrade. Returns the response to send, and the ticket that starts the session once it was sent.
    pub fn accept(self) -> (SwitchingProtocols, UpgradeTicket) {
        (self.answer, self.ticket)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}

/// The response to an accepted upgrade: status 101 and these header lines, and nothing else.
#[derive(Debug)]
pub struct SwitchingProtocols {
    headers: Vec<(&'static str, String)>,
}

impl SwitchingProtocols {
    /// Returns the status, 101.
    pub fn status(&self) -> u16 {
        101
    }

    /// Returns the header lines. The names are lower case.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }
}

/// The right to one session, once the 101 of its request has passed the [`UpgradeGuard`](crate::UpgradeGuard).
#[must_use = "a ticket that is dropped starts no session"]
pub struct UpgradeTicket {
    ticket: Ticket,
    handler: Option<MakeHandler>,
    confirmed: oneshot::Receiver<()>,
}

impl UpgradeTicket {
    /// Returns the limits of the chat.
    pub fn limits(&self) -> &Arc<Limits> {
        self.ticket.limits()
    }

    /// Runs the session on the connection that `upgrade` yields, to its end.
    ///
    /// `upgrade` turns the answered request into a connection. No session starts if the 101 did not go out, if
    /// `upgrade` fails, or if either takes longer than
    /// [`HttpLimits::upgrade_timeout`](crate::HttpLimits::upgrade_timeout).
    pub fn start<C, E>(self, upgrade: impl Future<Output = Result<C, E>>) -> impl Future<Output = ()>
    where
        C: Connection,
        E: fmt::Display,
    {
        // Boxed, so that the session keeps no space for its beginning.
        let connecting = Box::pin(self.connect(upgrade));
        async move {
            let Some(session) = connecting.await else { return };
            session.await;
        }
    }

    /// Waits for the 101 and for the connection. Returns the session on it, or `None` if there is none.
    async fn connect<C, E>(
        self,
        upgrade: impl Future<Output = Result<C, E>>,
    ) -> Option<impl Future<Output = ()>>
    where
        C: Connection,
        E: fmt::Display,
    {
        let Self { mut ticket, handler, confirmed } = self;
        let deadline = Instant::now() + ticket.limits().http.upgrade_timeout;
        let mut status = None;
        let upgraded = timeout_at(deadline, async {
            confirmed.await.map_err(|_| "no 101 was sent".to_owned())?;
            status = Some(101);
            upgrade.await.map_err(|error| error.to_string())
        });
        let cause = match upgraded.await {
            Ok(Ok(connection)) => {
                count(&ticket.counters().upgrades);
                ticket.log(|| info!(status = 101, "upgrade accepted"));
                return Some(match handler {
                    None => Either::Left(ticket.serve(connection)),
                    Some(handler) => Either::Right(Box::pin(handle(handler, ticket, connection))),
                });
            }
            Ok(Err(cause)) => cause,
            Err(_) => "timed out".to_owned(),
        };
        count(&ticket.counters().abandoned_upgrades);
        ticket.log(|| info!(status, cause, "upgrade abandoned"));
        None
    }
}

/// Serves a connection with code of the host.
async fn handle(handler: MakeHandler, ticket: Ticket, mut connection: impl Connection) {
    let mut handler = handler.make(ticket);
    // The 101 may wait for the first flush, and the handler may have nothing to send. It sees an error at its next use.
    let mut is_answered = false;
    poll_fn(|cx| {
        is_answered = is_answered || connection.poll_flush(cx).is_ready();
        handler.poll(cx, &mut connection)
    })
    .await;
}

impl fmt::Debug for UpgradeTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeTicket").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
