use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use chat_core::{RoomName, StoredMessage, Unavailable};
use chat_sqlite::IndexStep;
use futures_util::StreamExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Question, SearchIndex};
use crate::life::{Life, Subject};
use crate::link::{From, LinkError, Stored, Subscription};
use crate::node::Node;
use crate::record::{Content, MessageState, Record};

/// The messages of the stream that are read in one request.
const BATCH: usize = 256;

/// The pauses between two looks at the stream: the first one while a search waits, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// The pause after a failure. Each further one is longer, up to the second value.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The questions of other nodes that are answered at the same time.
const MAX_ASKED: usize = 64;

impl Node {
    /// Keeps an index of the log: reads what is stored, in order, and answers the questions of other nodes.
    pub(crate) async fn keep_index(self: Arc<Self>, index: Arc<SearchIndex>) {
        let mut pause = RETRY.0;
        loop {
            let started = Instant::now();
            let Err(error) = self.follow(&index).await else { continue };
            tracing::warn!(%error, stream = %self.link.stream, "search index not written; it is tried again");
            pause = if started.elapsed() > RETRY.1 { RETRY.0 } else { (pause * 2).min(RETRY.1) };
            sleep(pause).await;
        }
    }

    /// Follows the log until it has another life, or the index must begin again.
    async fn follow(self: &Arc<Self>, index: &Arc<SearchIndex>) -> Result<(), Unavailable> {
        let life = self.life();
        let source = life.source();
        let mut place = index.begin(&source).await?;
        if place > life.highest() {
            // The stream may have lost its end while this node did not run.
            life.saw(place);
            self.nudge();
        }
        // The questions of other nodes are answered until this function returns.
        let (mut asked, mut pause) = (JoinSet::new(), PAUSES.1);
        while Arc::ptr_eq(&self.life(), &life) {
            let started = Instant::now();
            let Ok((steps, last, more)) = self.steps_after(&life, place).await else {
                sleep(RETRY.0).await;
                continue;
            };
            if last > place {
                if !index.apply(steps, last).await? {
                    return Ok(());
                }
                place = last;
            }
            if more {
                // While the index is built, half of the time is for others.
                sleep(if asked.is_empty() { started.elapsed() } else { Duration::ZERO }).await;
                continue;
            }
            if index.note_current(&source) {
                asked.spawn(Arc::clone(self).serve_index(self.questions().await?, Arc::clone(index)));
            }
            loop {
                index.erase_deleted().await?;
                if timeout(pause, index.wanted.notified()).await.is_ok() {
                    // The server that answers may be behind.
                    pause = PAUSES.0;
                    break;
                }
                pause = (pause * 2).min(PAUSES.1);
                if pause < PAUSES.1 || life.highest() > place || !Arc::ptr_eq(&self.life(), &life) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads the next messages of the stream. Returns the steps that they are, the place of the last one, and true if
    /// there are more.
    async fn steps_after(
        &self,
        life: &Life,
        place: u64,
    ) -> Result<(Vec<(u64, IndexStep)>, u64, bool), LinkError> {
        let batch = self.link.batch(&life.all(), From::Place(place + 1), BATCH).await?;
        let last = batch.messages.last().map_or(place, |last| last.place);
        let mut steps = Vec::with_capacity(batch.messages.len());
        for message in batch.messages {
            steps.extend(self.step(life, message).await?);
        }
        Ok((steps, last, batch.more))
    }

    async fn questions(&self) -> Result<Subscription, Unavailable> {
        let group = Some("searches".to_owned());
        let questions = self.link.client.subscribe(self.searches_subject(), group).await;
        questions.map_err(Unavailable::from_source)
    }

    /// Answers the questions of other nodes.
    async fn serve_index(self: Arc<Self>, mut questions: Subscription, index: Arc<SearchIndex>) {
        let permits = Arc::new(Semaphore::new(MAX_ASKED));
        while let Some(message) = questions.next().await {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let (node, index) = (Arc::clone(&self), Arc::clone(&index));
            tokio::spawn(async move {
                node.answer_search(message, &index).await;
                drop(permit);
            });
        }
    }

    async fn answer_search(&self, message: Message, index: &SearchIndex) {
        let Some(reply) = message.reply else { return };
        let found = match serde_json::from_slice::<Question>(&message.payload) {
            Ok(question) => index.answer(&question).await,
            Err(_) => None,
        };
        if let Ok(answer) = serde_json::to_vec(&found) {
            // Without the answer, the other node looks at the messages one by one.
            let _lost = self.link.client.publish(reply.to_string(), None, None, answer.into()).await;
        }
    }

    /// Returns the part of the log that a message of the stream is. A damaged message is left out: its positions are
    /// then candidates of each search.
    async fn step(&self, life: &Life, message: Stored) -> Result<Option<(u64, IndexStep)>, LinkError> {
        let Stored { place, subject, payload, .. } = message;
        Ok(match life.read(&subject) {
            Some(Subject::Record { room }) => {
                let mut record = Record::decode(place, payload).ok();
                if record.is_none() {
                    let found = self.link.next(&subject, place).await?.filter(|(at, _)| *at == place);
                    record = found.and_then(|(at, bytes)| Record::decode(at, bytes).ok());
                }
                record.map(|record| record_step(room, &record))
            }
            // It has the place of the record that it replaces.
            Some(Subject::Copy { room }) => {
                let mut record = Record::decode(place, payload).ok();
                if record.is_none() {
                    let last = self.link.last(&subject).await?;
                    record = last.and_then(|(at, bytes)| Record::decode(at, bytes).ok());
                }
                record.map(|record| record_step(room, &record))
            }
            Some(Subject::State { room, seq }) => {
                let mut state = MessageState::decode(payload);
                if state.is_none() {
                    let last = self.link.last(&subject).await?;
                    state = last.and_then(|(_, bytes)| MessageState::decode(bytes));
                }
                let step =
                    state.filter(MessageState::has_other_text).and_then(|state| form_step(room, seq, &state));
                step.map(|step| (place, step))
            }
            _ => None,
        })
    }
}

/// Returns the step, and the place of the record.
fn record_step(room: &str, record: &Record) -> (u64, IndexStep) {
    let entries = record.entries.iter().map(|entry| match &entry.content {
        Content::Message { frame, .. } => StoredMessage::new(entry.seq, frame.clone()),
        _ => StoredMessage::new(entry.seq, Bytes::new()),
    });
    let Record { place, id, previous, oldest, copy, .. } = *record;
    let (room, entries) = (room.to_owned(), entries.collect());
    (place, IndexStep::Record { room, id, previous, oldest, entries, is_copy: copy.is_some() })
}

fn form_step(room: &str, seq: u64, state: &MessageState) -> Option<IndexStep> {
    // The name of the room is not known here. A search looks at as many characters as the frame has bytes, so this one
    // is as long as the longest name.
    let name: RoomName = room.repeat(2).parse().ok()?;
    let (room, stored) = (room.to_owned(), state.stored(&name, seq));
    Some(IndexStep::Form { room, stored, is_deleted: state.is_deleted() })
}
