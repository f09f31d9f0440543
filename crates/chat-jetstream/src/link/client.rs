use std::fmt;

use async_nats::client::traits::Publisher;
use async_nats::client::{PublishError, RequestError};
use async_nats::message::OutboundMessage;
use async_nats::{HeaderMap, Message, Request, SubscribeError};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

/// The messages of a subscription, which ends when it is dropped.
pub(crate) type Subscription = BoxStream<'static, Message>;

/// The operations of a connection to the servers that a store needs. All else is in the messages, so that a model of
/// the servers can take the place of the connection in tests.
#[async_trait]
pub(crate) trait Client: fmt::Debug + Send + Sync {
    /// Hands a message to the connection. It may be lost later.
    async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<(), PublishError>;

    /// Sends a message, and waits for the answer.
    async fn request(&self, subject: String, request: Request) -> Result<Message, RequestError>;

    /// Subscribes to a subject. Of the members of a group, one gets each message.
    async fn subscribe(&self, subject: String, group: Option<String>)
    -> Result<Subscription, SubscribeError>;

    /// Waits until the messages and subscriptions so far are sent. Without a connection, this waits for the next one.
    async fn flush(&self);

    /// Ends all subscriptions, and the connection.
    async fn drain(&self);

    /// Returns a subject that nobody else uses.
    fn new_inbox(&self) -> String;

    /// Returns the version of the server.
    fn version(&self) -> String;

    /// Returns the largest payload that the server takes, with room for headers.
    fn max_payload(&self) -> usize;
}

#[async_trait]
impl Client for async_nats::Client {
    async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        let (subject, reply) = (subject.into(), reply.map(Into::into));
        self.publish_message(OutboundMessage { subject, reply, payload, headers }).await
    }

    async fn request(&self, subject: String, request: Request) -> Result<Message, RequestError> {
        self.send_request(subject, request).await
    }

    async fn subscribe(
        &self,
        subject: String,
        group: Option<String>,
    ) -> Result<Subscription, SubscribeError> {
        Ok(match group {
            Some(group) => self.queue_subscribe(subject, group).await?.boxed(),
            None => async_nats::Client::subscribe(self, subject).await?.boxed(),
        })
    }

    async fn flush(&self) {
        // Without an answer, the client has ended.
        let _ended = async_nats::Client::flush(self).await;
    }

    async fn drain(&self) {
        let _closed_before = async_nats::Client::drain(self).await;
    }

    fn new_inbox(&self) -> String {
        async_nats::Client::new_inbox(self)
    }

    fn version(&self) -> String {
        self.server_info().version
    }

    fn max_payload(&self) -> usize {
        super::max_payload(self)
    }
}
