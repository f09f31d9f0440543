use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Health, Limits, LogBounds, NewMessage, Page, Range, Room,
    RoomName, Search, SearchError, SearchPage, Store, Unavailable,
};
use chat_store_conformance::Fixture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::held::Held;

type Answer = Result<AppendReceipt, AppendError>;

/// A store that never answers at once. A task writes what was handed to it, although the caller may be gone.
pub(crate) struct Queued(Held);

struct Node(Arc<dyn Store>);

struct Queue {
    log: Arc<dyn Room>,
    messages: mpsc::UnboundedSender<(NewMessage, oneshot::Sender<Answer>)>,
}

impl Queued {
    pub(crate) fn new() -> Self {
        Self(Held::new())
    }
}

#[async_trait]
impl Fixture for Queued {
    fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
        self.0.store(node).map(|store| Arc::new(Node(store)) as Arc<dyn Store>)
    }

    async fn restart(&mut self) {
        self.0.restart().await;
    }

    fn set_reachable(&self, reachable: bool) -> bool {
        self.0.set_reachable(reachable)
    }

    async fn renew(&self) -> bool {
        self.0.renew().await
    }
}

#[async_trait]
impl Store for Node {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        yield_now().await;
        let log = self.0.open(room, limits, sink).await?;
        let (messages, queue) = mpsc::unbounded_channel();
        drop(tokio::spawn(write(Arc::clone(&log), queue)));
        Ok(Arc::new(Queue { log, messages }))
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    async fn close(&self) -> Result<(), Unavailable> {
        self.0.close().await
    }
}

async fn write(
    log: Arc<dyn Room>,
    mut queue: mpsc::UnboundedReceiver<(NewMessage, oneshot::Sender<Answer>)>,
) {
    while let Some((message, asked)) = queue.recv().await {
        let answer = log.append(message).await;
        if answer.as_ref().is_ok_and(|appended| appended.seq % 16 == 0) {
            sleep(Duration::from_millis(1)).await;
        }
        // A caller that has dropped the append does not wait for the answer.
        let _gone = asked.send(answer);
    }
}

#[async_trait]
impl Room for Queue {
    async fn append(&self, message: NewMessage) -> Answer {
        message.judge_without_threads()?;
        let (asked, answer) = oneshot::channel();
        let ended = || Unavailable::new("the writer has ended");
        self.messages.send((message, asked)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        yield_now().await;
        self.log.read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        yield_now().await;
        self.log.bounds().await
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        yield_now().await;
        self.log.search(search).await
    }
}
