//! The connection of one node to the servers of the model.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::{PublishError, PublishErrorKind, RequestError, RequestErrorKind};
use async_nats::{HeaderMap, Message, Request, StatusCode, SubscribeError};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::link::{Client, Subscription};
use crate::node::Connection;

use super::network::{Frame, message};
use super::world::{Model, World};

/// The time for an answer, if the request has none.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest payload of a server with its default settings.
const MAX_PAYLOAD: usize = 1024 * 1024;

pub(crate) struct ModelClient {
    model: Model,
    number: usize,
}

impl Model {
    /// Connects a new client.
    pub(crate) fn connect(&self) -> (Arc<ModelClient>, Arc<Connection>) {
        let connection = Arc::new(Connection::default());
        let number = self.act(|world| world.add_client(Arc::clone(&connection)));
        (Arc::new(ModelClient { model: self.clone(), number }), connection)
    }
}

impl ModelClient {
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

/// The messages of a subscription. It is unsubscribed when it is dropped.
struct Messages {
    model: Model,
    client: usize,
    number: u64,
    messages: mpsc::UnboundedReceiver<Message>,
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.model.act(|world| world.unsubscribe(self.client, self.number));
    }
}

#[async_trait]
impl Client for ModelClient {
    async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(PublishError::new(PublishErrorKind::MaxPayloadExceeded));
        }
        let mut message = message(&subject, payload);
        (message.reply, message.headers) = (reply.map(Into::into), headers);
        self.model.act(|world| world.send(self.number, Frame::Publish(message)));
        Ok(())
    }

    async fn request(&self, subject: String, request: Request) -> Result<Message, RequestError> {
        let (waiting, answer) = oneshot::channel();
        let mut message = message(&subject, request.payload.unwrap_or_default());
        if message.payload.len() > MAX_PAYLOAD {
            return Err(RequestError::new(RequestErrorKind::MaxPayloadExceeded));
        }
        let inbox = self.model.act(|world| {
            let inbox = format!("_ANSWER.{}.{}", self.number, world.number());
            world.clients[self.number].waiting.insert(inbox.clone(), waiting);
            (message.reply, message.headers) = (Some(inbox.as_str().into()), request.headers);
            world.send(self.number, Frame::Publish(message));
            inbox
        });
        match timeout(request.timeout.flatten().unwrap_or(TIMEOUT), answer).await {
            Ok(Ok(answer)) if answer.status == Some(StatusCode::NO_RESPONDERS) => {
                Err(RequestError::new(RequestErrorKind::NoResponders))
            }
            Ok(Ok(answer)) => Ok(answer),
            _ => {
                // The client keeps a request without a subscription of its own until the answer comes.
                if request.inbox.is_some() {
                    self.model.act(|world| drop(world.clients[self.number].waiting.remove(&inbox)));
                }
                Err(RequestError::new(RequestErrorKind::TimedOut))
            }
        }
    }

    async fn subscribe(
        &self,
        subject: String,
        group: Option<String>,
    ) -> Result<Subscription, SubscribeError> {
        let (number, messages) = self.model.act(|world| world.subscribe(self.number, subject, group));
        let (model, client) = (self.model.clone(), self.number);
        let messages = Messages { model, client, number, messages };
        let next = |mut messages: Messages| async move {
            let message = messages.messages.recv().await?;
            Some((message, messages))
        };
        Ok(stream::unfold(messages, next).boxed())
    }

    async fn flush(&self) {
        // All frames of a connection arrive in order. Without one, they wait for the next one.
        loop {
            sleep(Duration::from_millis(1)).await;
            let has_ended = self.model.act(|world| {
                let client = &world.clients[self.number];
                client.is_dead || client.session.is_some()
            });
            if has_ended {
                return;
            }
        }
    }

    async fn drain(&self) {
        self.model.act(|world| world.end_client(self.number));
    }

    fn new_inbox(&self) -> String {
        format!("_INBOX.{}.{}", self.number, self.model.act(World::number))
    }

    fn version(&self) -> String {
        "2.15.1".to_owned()
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD - 1_024
    }
}

impl fmt::Debug for ModelClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelClient").field("number", &self.number).finish_non_exhaustive()
    }
}
