use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, NewMessage, Page, Range, Room, RoomName,
    Search, SearchError, SearchPage, Unavailable,
};
use chat_room_conformance::Store;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::kept::Kept;

type Answer = Result<AppendReceipt, AppendError>;

/// A sound store that is never done at once: a task writes, as that of a database would, and what was handed to it
/// is written, whoever still waits for the answer.
#[derive(Default)]
pub(crate) struct Queued(Kept);

struct Queue {
    log: Arc<dyn Room>,
    drafts: mpsc::UnboundedSender<(NewMessage, oneshot::Sender<Answer>)>,
}

#[async_trait]
impl Store for Queued {
    fn room(&self, name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Arc<dyn Room> {
        let log = self.0.room(name, limits, outlet);
        let (drafts, queue) = mpsc::unbounded_channel();
        drop(tokio::spawn(write(Arc::clone(&log), queue)));
        Arc::new(Queue { log, drafts })
    }

    async fn reopen(self: Box<Self>) -> Box<dyn Store> {
        self
    }
}

async fn write(
    log: Arc<dyn Room>,
    mut queue: mpsc::UnboundedReceiver<(NewMessage, oneshot::Sender<Answer>)>,
) {
    while let Some((draft, asked)) = queue.recv().await {
        let answer = log.append(draft).await;
        if answer.as_ref().is_ok_and(|appended| appended.seq % 16 == 0) {
            sleep(Duration::from_millis(1)).await;
        }
        // Who has dropped the append does not wait.
        let _nobody = asked.send(answer);
    }
}

#[async_trait]
impl Room for Queue {
    async fn append(&self, draft: NewMessage) -> Answer {
        let (asked, answer) = oneshot::channel();
        let gone = || AppendError::Unavailable("the writer is gone".to_owned());
        self.drafts.send((draft, asked)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
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
