use std::fmt;
use std::future::Future;
use std::sync::Arc;

use chat_proto::handshake::{Accept, Refusal};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info};

use crate::chat::{Chat, Permit};
use crate::{Answer, Connection, Limits, Message, User, echo, serve};

/// An upgrade that the chat agreed to. It has to be carried out or dropped; either ends it.
#[must_use = "an upgrade that is dropped is an upgrade refused"]
pub struct Upgrade<M: Message> {
    answer: SwitchingProtocols,
    ticket: Ticket<M>,
    watch: Watch,
}

impl<M: Message> Upgrade<M> {
    pub(crate) fn new(
        chat: Chat<M>,
        purpose: Purpose,
        permit: Permit,
        accept: &Accept,
        watch: &Watch,
    ) -> Self {
        let (confirm, confirmed) = oneshot::channel();
        let user = accept.guest.clone().unwrap_or_else(|| chat.next_guest());
        watch.set(Watched::Accepted(confirm));
        let ticket = Ticket { chat, purpose, permit, user, confirmed };
        Self { answer: SwitchingProtocols { headers: accept.headers() }, ticket, watch: watch.clone() }
    }

    /// The watch of its request.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Gives the upgrade up, because the framework has no connection to give; the answer is to be sent.
    pub fn refuse(self) -> Answer {
        self.watch.refuse(Refusal::Internal);
        Answer::refusal(Refusal::Internal, Vec::new())
    }

    /// Carries the upgrade out: the answer is to be sent, the ticket starts the session once it was.
    pub fn accept(self) -> (SwitchingProtocols, Ticket<M>) {
        (self.answer, self.ticket)
    }
}

impl<M: Message> fmt::Debug for Upgrade<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}

/// The answer to an accepted upgrade: status 101 and these header lines, and nothing else.
#[derive(Debug)]
pub struct SwitchingProtocols {
    headers: Vec<(&'static str, String)>,
}

impl SwitchingProtocols {
    /// The status: 101.
    pub fn status(&self) -> u16 {
        101
    }

    /// The header lines. The names are lower case.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Chat,
    Echo,
}

/// The right to one session. It is good once, and only after the 101 has passed the [`Watch`] of its
/// request.
#[must_use = "a ticket that is dropped starts no session"]
pub struct Ticket<M: Message> {
    chat: Chat<M>,
    purpose: Purpose,
    permit: Permit,
    user: User,
    confirmed: oneshot::Receiver<()>,
}

impl<M: Message> Ticket<M> {
    /// What was decided when the chat was built.
    pub fn limits(&self) -> &Arc<Limits> {
        self.chat.limits()
    }

    /// Runs the session on the connection that `upgrade` yields, to its end.
    ///
    /// `upgrade` is whatever turns the answered request into a connection. No session starts if the 101
    /// did not go out, if `upgrade` fails, or if either takes longer than
    /// [`HttpLimits::upgrade_timeout`](crate::HttpLimits::upgrade_timeout). A panic in the session, the host's
    /// [`Message`] included, closes the connection with 1011 and goes no further.
    pub async fn start<C, E>(self, upgrade: impl Future<Output = Result<C, E>>)
    where
        C: Connection,
        E: fmt::Display,
    {
        let Self { chat, purpose, permit, user, confirmed } = self;
        let connection = permit.connection();
        let deadline = Instant::now() + chat.limits().http.upgrade_timeout;
        let mut status = None;
        let taken = timeout_at(deadline, async {
            confirmed.await.map_err(|_| "no 101 went out".to_owned())?;
            status = Some(101);
            upgrade.await.map_err(|error| error.to_string())
        });
        let transport = match taken.await {
            Ok(Ok(transport)) => transport,
            Ok(Err(cause)) => {
                info!(connection, status, cause, "upgrade abandoned");
                return;
            }
            Err(_) => {
                info!(connection, status, cause = "it took too long", "upgrade abandoned");
                return;
            }
        };
        info!(connection, user = %user.id().escape_debug(), status = 101, "upgrade");
        match purpose {
            Purpose::Chat => serve::run(chat, permit, user, transport).await,
            Purpose::Echo => echo::run(chat, permit, transport).await,
        }
    }
}

impl<M: Message> fmt::Debug for Ticket<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("connection", &self.permit.connection()).finish_non_exhaustive()
    }
}

/// Follows one request through the framework and its answer back out, so that what the chat believes of an
/// upgrade is what went onto the wire.
///
/// The outermost layer of an adapter makes one for each request, lets it travel with the request, and shows
/// it the status of the response that leaves.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
enum Watched {
    #[default]
    Nothing,
    Refused(Refusal),
    Accepted(oneshot::Sender<()>),
    Abandoned,
}

impl Watch {
    /// The response that leaves has this status.
    ///
    /// Returns what is to be sent in its place if the chat accepted an upgrade and something between has
    /// answered otherwise, or if nobody is left to start the session.
    #[must_use = "the answer replaces the response"]
    pub fn leaving(&self, status: u16) -> Option<Answer> {
        match std::mem::take(&mut *self.0.lock()) {
            Watched::Nothing => None,
            Watched::Refused(refusal) => {
                info!(status, code = refusal.code(), "upgrade");
                None
            }
            accepted => {
                let problem = match (status, accepted) {
                    // Nobody takes the confirmation if the ticket has been dropped or has waited too long.
                    (101, Watched::Accepted(confirm)) => match confirm.send(()) {
                        Ok(()) => return None,
                        Err(()) => "nobody starts its session",
                    },
                    (101, _) => "its connection was taken out of the answer",
                    _ => "another layer answered it",
                };
                let answer = Answer::refusal(Refusal::Internal, Vec::new());
                error!(
                    status = answer.status(),
                    replaced = status,
                    problem,
                    "upgrade accepted and not carried out"
                );
                Some(answer)
            }
        }
    }

    /// The 101 can no longer become a connection: what of it was to carry that is gone.
    ///
    /// For frameworks to which a part of the response is the connection, whose loss its status does not show.
    /// Nothing changes once the response has left.
    pub fn abandon(&self) {
        let mut watched = self.0.lock();
        if matches!(*watched, Watched::Accepted(_)) {
            *watched = Watched::Abandoned;
        }
    }

    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.set(Watched::Refused(refusal));
    }

    fn set(&self, watched: Watched) {
        *self.0.lock() = watched;
    }
}
