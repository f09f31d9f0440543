use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use chat_proto::handshake::Refusal;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::error;

use super::refusals::Refused;
use crate::{Answer, Limits};

/// A guard of one request. It compares the chat's decision about an upgrade with the response that the client gets.
///
/// The outermost layer of an adapter makes one for each request, puts it into the request's extensions, and shows it
/// the status of the response that leaves.
///
/// ```
/// use chat_core::{Chat, Decision, Endpoint, RequestHead, UpgradeGuard, Version};
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
/// let Decision::Upgrade(upgrade) = endpoint.handle(&head, Some(&guard)).await else { panic!() };
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
#[derive(Clone, Debug, Default)]
pub struct UpgradeGuard {
    state: Arc<Mutex<State>>,
    address: Option<IpAddr>,
}

#[derive(Debug, Default)]
enum State {
    /// The request was not for the chat.
    #[default]
    Unused,
    Refused(Box<Refused>),
    Accepted(oneshot::Sender<()>),
    Abandoned,
}

impl UpgradeGuard {
    /// Returns the guard of a request from this address, for the log.
    pub fn from_peer(address: Option<SocketAddr>) -> Self {
        Self { address: address.map(|address| address.ip().to_canonical()), ..Self::default() }
    }

    /// Compares the status of the response that leaves with the chat's decision.
    ///
    /// Returns the response to send in its place if the chat has accepted an upgrade that cannot happen, because a layer
    /// has changed the answer, or because no task is left to start the session.
    #[must_use = "the answer replaces the response"]
    pub fn observe(&self, status: u16) -> Option<Answer> {
        match std::mem::take(&mut *self.state.lock()) {
            State::Unused => None,
            State::Refused(refused) => {
                refused.log(status, self.address);
                None
            }
            accepted => {
                let cause = match (status, accepted) {
                    // The receiver is gone if the ticket was dropped or has waited too long.
                    (101, State::Accepted(confirm)) => match confirm.send(()) {
                        Ok(()) => return None,
                        Err(()) => "no task waits for the connection",
                    },
                    (101, _) => "the body that carries the connection was taken out of the response",
                    _ => "another layer changed the response",
                };
                let answer = Answer::refusal(Refusal::Internal, &Limits::default());
                error!(status = answer.status(), replaced = status, cause, "upgrade failed");
                Some(answer)
            }
        }
    }

    /// Records that the 101 can no longer become a connection, because the part of the response that carries it is
    /// gone.
    ///
    /// It is for frameworks in which a part of the response is the connection: the status does not show its loss. It
    /// changes nothing once the response has left.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Accepted(_)) {
            *state = State::Abandoned;
        }
    }

    pub(super) fn refuse(&self, refused: Refused) {
        *self.state.lock() = State::Refused(Box::new(refused));
    }

    pub(super) fn accept(&self) -> oneshot::Receiver<()> {
        let (confirm, confirmed) = oneshot::channel();
        *self.state.lock() = State::Accepted(confirm);
        confirmed
    }
}
