use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_core::Chat;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::{Later, Renew, Server};

/// The time limit of a drain, after which the server abandons connections.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(6);

/// The time in which a server must stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A chat that is served in this process.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) chat: Chat,
    /// A drop stops the server.
    pub(super) stop: oneshot::Sender<()>,
    pub(super) task: JoinHandle<()>,
}

impl Served {
    async fn end(self) -> Result<(), String> {
        let was_over = self.task.is_finished();
        drop(self.stop);
        match timeout(STOP_TIMEOUT, self.task).await {
            Ok(Err(error)) if error.is_panic() => Err(format!(
                "the server did not run: `serve` ended with {}",
                chat_suite::panic_text(&*error.into_panic())
            )),
            Ok(Ok(())) if was_over => {
                Err("the server did not run: `serve` returned, but must await `stop`".to_owned())
            }
            // The suite does not test the stop of a server.
            _ => Ok(()),
        }
    }
}

/// Returns the server with these nodes of one chat. `closed` completes when the store that they share is closed.
pub(super) fn server(nodes: Vec<Served>, on_renew: Option<Renew>, closed: Later<()>) -> Server {
    let addresses = nodes.iter().map(|node| node.address).collect();
    let chats: Vec<_> = nodes.iter().map(|node| node.chat.clone()).collect();
    let limits = chats.first().map(|chat| Arc::clone(chat.limits())).unwrap_or_default();
    let draining = chats.clone();
    let on_drain = move || {
        let drain = |chat: Chat| async move { chat.drain(DRAIN_TIMEOUT).await.abandoned == 0 };
        // The drain goes on if nobody waits for it.
        let drained: JoinSet<_> = draining.iter().cloned().map(drain).collect();
        let drained = tokio::spawn(drained.join_all());
        Box::pin(async { drained.await.is_ok_and(|drained| drained.iter().all(|all| *all)) }) as Later<bool>
    };
    let end = async {
        let mut ended = Ok(());
        for node in nodes {
            ended = ended.and(node.end().await);
        }
        closed.await;
        ended
    };
    Server {
        addresses,
        host: "chat.test".to_owned(),
        path: "/ws".to_owned(),
        limits,
        is_shared: false,
        chats,
        on_drain: Some(Box::new(on_drain)),
        on_renew,
        end: Some(Box::pin(end)),
    }
}
