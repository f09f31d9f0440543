use std::net::SocketAddr;
use std::sync::Arc;

use chat_proto::handshake::Refusal;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::error;
use tracing::field::display;

use super::refused::Refused;
use crate::{Answer, Limits};

/// A guard of one request. It compares the chat's decision about an upgrade with the response that the client gets.
///
/// The outermost layer of an adapter makes one for each request, puts its [`request`](Self::request) into the request's
/// extensions, and shows it the status of the response that leaves.
///
/// ```
/// use chat_core::{Chat, Decision, Endpoint, RequestContext, RequestHead, UpgradeGuard, Version};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (endpoint, guard) = (Endpoint::new(Chat::default()), UpgradeGuard::default());
/// let head = RequestHead {
///     method: "GET",
///     version: Version::Http11,
///     target: "/ws",
///     headers: vec![
///         ("Host", b"chat.example"),
///         ("Connection", b"Upgrade"),
///         ("Upgrade", b"websocket"),
///         ("Sec-WebSocket-Version", b"13"),
///         ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
///     ],
/// };
/// let context = RequestContext::default().with_guard(guard.request());
/// let Decision::Upgrade(upgrade) = endpoint.handle(&head, &context).await else { panic!() };
/// let (response, ticket) = upgrade.accept();
/// assert_eq!(response.status(), 101);
///
/// // Another layer has replaced the 101: no session starts, and the client gets a 500.
/// let replacement = guard.observe(200).expect("a replacement");
/// assert_eq!(replacement.status(), 500);
/// # drop(ticket);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A handler of the host sees only the [`GuardedRequest`], which cannot confirm an upgrade.
#[derive(Debug, Default)]
pub struct UpgradeGuard(GuardedRequest);

/// A request that an [`UpgradeGuard`] guards. It travels in the request's extensions to the routes of the chat.
///
/// It takes the chat's decision, and shows nothing of the response. So no handler that gets it can confirm an upgrade
/// whose 101 has not left:
///
/// ```compile_fail,E0599
/// fn handler(request: chat_core::GuardedRequest) {
///     request.observe(101);
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct GuardedRequest(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    peer: Option<SocketAddr>,
    decision: Decision,
}

#[derive(Debug, Default)]
enum Decision {
    /// The request was not for the chat.
    #[default]
    Unused,
    Refused(Box<Refused>),
    Accepted(oneshot::Sender<()>),
    Abandoned,
}

impl UpgradeGuard {
    /// Returns the request, for its extensions.
    pub fn request(&self) -> GuardedRequest {
        self.0.clone()
    }

    /// Compares the status of the response that leaves with the chat's decision.
    ///
    /// Returns the response to send in its place if the chat has accepted an upgrade that cannot happen, because a
    /// layer has changed the answer, or because no task is left to start the session.
    #[must_use = "the answer replaces the response"]
    pub fn observe(self, status: u16) -> Option<Answer> {
        let State { peer, decision } = std::mem::take(&mut *self.0.0.lock());
        match decision {
            Decision::Unused => None,
            Decision::Refused(refused) => {
                refused.log(status, peer);
                None
            }
            accepted => {
                let cause = match (status, accepted) {
                    // The receiver is gone if the ticket was dropped or has waited too long.
                    (101, Decision::Accepted(confirm)) => match confirm.send(()) {
                        Ok(()) => return None,
                        Err(()) => "no task waits for the connection",
                    },
                    (101, _) => "the body that carries the connection was taken out of the response",
                    _ => "another layer changed the response",
                };
                let answer = Answer::refusal(Refusal::Internal, &Limits::default());
                let peer = peer.map(display);
                error!(status = answer.status(), replaced = status, cause, peer, "upgrade failed");
                Some(answer)
            }
        }
    }
}

impl GuardedRequest {
    /// Records that the 101 can no longer become a connection, because the part of the response that carries it is
    /// gone.
    ///
    /// It is for frameworks in which a part of the response is the connection: the status does not show its loss. It
    /// changes nothing once the response has left.
    pub fn abandon(&self) {
        let mut state = self.0.lock();
        if matches!(state.decision, Decision::Accepted(_)) {
            state.decision = Decision::Abandoned;
        }
    }

    pub(super) fn refuse(&self, refused: Refused, peer: Option<SocketAddr>) {
        *self.0.lock() = State { peer, decision: Decision::Refused(Box::new(refused)) };
    }

    pub(super) fn accept(&self, peer: Option<SocketAddr>) -> oneshot::Receiver<()> {
        let (confirm, confirmed) = oneshot::channel();
        *self.0.lock() = State { peer, decision: Decision::Accepted(confirm) };
        confirmed
    }
}
