#![expect(clippy::missing_errors_doc, reason = "each method fails if the store does something else")]

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::{
    Chat, CommitSink, Health, Limits, Range, Room, RoomName, Store, Subscription, SubscriptionError, Text,
    Unavailable,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::room::{ann, guest};
use super::{Peer, room_name};
use crate::{Failure, TIME_LIMIT, Verdict};

/// A chat over the store of a case.
#[derive(Clone)]
pub struct TestChat(Chat);

impl TestChat {
    pub(super) fn new(store: Arc<dyn Store>, limits: &Limits) -> Self {
        Self(Chat::builder().store(SharedStore(store)).limits(limits.clone()).build())
    }

    /// Starts a session of a guest with this name.
    pub fn connect(&self, name: &str) -> Result<Peer, Failure> {
        let ticket = self.0.admit(guest(name).into());
        Ok(Peer::new(ticket.map_err(|refusal| Failure::new("a ticket", format!("{refusal:?}")))?))
    }

    /// Starts a session that has joined a room. `from` adds fields to the `join` command. Returns the `joined` event.
    pub async fn join(&self, name: &str, room: &str, from: &Value) -> Result<(Peer, Value), Failure> {
        let mut peer = self.connect(name)?;
        let mut command = json!({"type": "join", "room": room});
        for (field, value) in from.as_object().into_iter().flatten() {
            command[field] = value.clone();
        }
        peer.send(&command)?;
        let joined = peer.event("joined").await?;
        Ok((peer, joined))
    }

    /// Follows a room from now on.
    pub async fn subscribe(&self, room: &str) -> Result<Subscriber, Failure> {
        let subscription = self.0.subscribe(&room_name(room)?).await;
        Ok(Subscriber(subscription.map_err(|unavailable| Failure::new("a subscription", unavailable))?))
    }

    /// Returns the names of the users in a room, sorted.
    ///
    /// # Errors
    ///
    /// A failure if it is not the name of a room.
    pub fn members(&self, room: &str) -> Result<Vec<String>, Failure> {
        let members = self.0.members(&room_name(room)?);
        Ok(members.iter().map(|user| user.name().to_owned()).collect())
    }

    /// Closes the connections of the guest with this name. Returns the number of those on this node.
    pub fn kick(&self, name: &str) -> usize {
        self.0.kick(guest(name))
    }

    /// Ends the chat.
    pub async fn drain(&self) {
        self.0.drain(TIME_LIMIT).await;
    }

    /// Posts a text of Ann.
    pub async fn post(&self, room: &str, text: &str) -> Result<u64, Failure> {
        let posted = self.0.post(&room_name(room)?, &ann(), &Text::new(text)).await;
        Ok(posted.map_err(|error| Failure::new("a message that is stored", error))?.seq)
    }

    /// Reads the frames of the oldest messages of a room.
    pub async fn history(&self, room: &str) -> Result<Vec<Bytes>, Failure> {
        let page = self.0.history(&room_name(room)?, Range::After { seq: 0, limit: usize::MAX }).await;
        let page = page.map_err(|unavailable| Failure::new("a page", unavailable))?;
        Ok(page.messages.into_iter().map(|stored| stored.frame).collect())
    }

    /// Posts this number of texts, one after the other.
    pub async fn post_all(&self, room: &str, count: u64) -> Verdict {
        for number in 1..=count {
            self.post(room, &number.to_string()).await?;
        }
        Ok(())
    }
}

impl From<Chat> for TestChat {
    fn from(chat: Chat) -> Self {
        Self(chat)
    }
}

impl std::fmt::Debug for TestChat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestChat").finish_non_exhaustive()
    }
}

/// A subscriber of a room in a [`TestChat`].
#[derive(Debug)]
pub struct Subscriber(Subscription);

impl Subscriber {
    /// Waits for the frame of the next event. `None` if the log has started a new epoch.
    pub async fn next_frame(&mut self) -> Result<Option<Bytes>, Failure> {
        let next = timeout(TIME_LIMIT, self.0.next_frame()).await;
        let next = next.map_err(|_| Failure::new("an event", format!("none within {TIME_LIMIT:?}")))?;
        match next {
            None | Some(Err(SubscriptionError::Renewed)) => Ok(None),
            Some(next) => next.map(Some).map_err(|error| Failure::new("an event", error)),
        }
    }

    /// Waits for the next event. `None` if the log has started a new epoch.
    pub async fn next(&mut self) -> Result<Option<Value>, Failure> {
        let frame = self.next_frame().await?;
        frame
            .map(|frame| serde_json::from_slice(&frame))
            .transpose()
            .map_err(|error| Failure::new("an event that is JSON", error))
    }

    /// Waits for this number of messages, and returns their frames in the order of delivery.
    pub async fn messages(&mut self, count: usize) -> Result<Vec<Value>, Failure> {
        let mut messages = Vec::new();
        while messages.len() < count {
            match self.next().await? {
                Some(event) if event["type"] == "message" => messages.push(event),
                Some(event) if event["type"] == "gap" => return Err(Failure::new("no gap", event)),
                Some(_) => {}
                None => return Err(Failure::new("a log that goes on", "another life")),
            }
        }
        Ok(messages)
    }
}

/// A store that several chats share.
struct SharedStore(Arc<dyn Store>);

#[async_trait]
impl Store for SharedStore {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        self.0.open(room, limits, sink).await
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    async fn close(&self) -> Result<(), Unavailable> {
        self.0.close().await
    }
}
