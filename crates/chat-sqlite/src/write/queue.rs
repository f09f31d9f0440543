use std::sync::Arc;
use std::sync::mpsc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::batch::PreparedMessage;
use super::notifier::Reply;

/// An append that waits for its transaction.
#[derive(Debug)]
pub(crate) struct AppendRequest {
    pub(crate) message: PreparedMessage,
    pub(crate) reply: oneshot::Sender<Reply>,
    /// Permit of the queue, released when the message is published or refused.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The bounded queue of the writer thread.
#[derive(Debug)]
pub(crate) struct AppendQueue {
    /// `None` after [`close`](Self::close).
    sender: Mutex<Option<mpsc::Sender<AppendRequest>>>,
    permits: Arc<Semaphore>,
    max_appends: usize,
}

impl AppendQueue {
    pub(super) fn new(max_appends: usize) -> (Self, mpsc::Receiver<AppendRequest>) {
        let (sender, receiver) = mpsc::channel();
        let max_appends = max_appends.clamp(1, Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(max_appends));
        (Self { sender: Mutex::new(Some(sender)), permits, max_appends }, receiver)
    }

    /// Returns the number of appends that are neither published nor refused yet.
    pub(crate) fn len(&self) -> usize {
        self.max_appends - self.permits.available_permits()
    }

    /// Waits for a permit. Returns `None` if the queue is closed.
    pub(crate) async fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Adds an append. If the queue is closed, the append is dropped, which closes its reply channel.
    pub(crate) fn push(&self, request: AppendRequest) {
        if let Some(sender) = &*self.sender.lock() {
            let _closed = sender.send(request);
        }
    }

    /// Refuses further appends. The writer thread commits those that wait, and ends.
    pub(crate) fn close(&self) {
        self.permits.close();
        drop(self.sender.lock().take());
    }
}
