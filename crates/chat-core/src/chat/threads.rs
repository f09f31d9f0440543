//! The calls of a host for messages with links, and for threads.

use super::Chat;
use crate::error::PostError;
use crate::room;
use crate::{AppendReceipt, NewMessage, Page, Range, RoomName, ThreadError};

impl Chat {
    /// Posts a message with links into a room: an answer to another message, a message in a thread, or one that
    /// mentions users.
    ///
    /// The role of the message decides if it may mention the room: see [`Role`](crate::Role).
    /// [`Authorize`](crate::Authorize) is not asked.
    ///
    /// ```
    /// use chat_core::{Chat, Links, Mentions, NewMessage, Range, RawValue, RoomName, Text, User};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (chat, lobby): (Chat, RoomName) = (Chat::default(), "lobby".parse()?);
    /// let question = chat.post(&lobby, &User::new("7", "Ann")?, &Text::new("When?")).await?;
    ///
    /// let links = Links::default().with_thread(question.seq).with_mentions(Mentions::users(["7"]));
    /// let body = RawValue::from_string(r#"{"text":"At noon."}"#.to_owned())?;
    /// let answer = NewMessage::new(User::new("service:clock", "Clock")?, body).with_links(links);
    /// chat.post_message(&lobby, answer).await?;
    /// assert_eq!(chat.thread(&lobby, question.seq, Range::newest(10)).await?.messages.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post_with_key`](Self::post_with_key), and [`PostError::InvalidLinks`] and [`PostError::Links`].
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn post_message(
        &self,
        room: &RoomName,
        message: NewMessage,
    ) -> Result<AppendReceipt, PostError> {
        (self.rooms().check_body)(&message.body, self.limits())?;
        if message.body.get().len() > self.limits().wire.max_frame_bytes {
            return Err(PostError::TooLarge);
        }
        if message.key.as_ref().is_some_and(|key| !self.limits().wire.allows_key(key)) {
            return Err(PostError::InvalidKey);
        }
        if message.links.as_ref().is_some_and(|links| !links.is_valid(self.limits())) {
            return Err(PostError::InvalidLinks);
        }
        let room = self.open(room).await?;
        Ok(room::append(&room, room.log().append(message), self.rooms()).await?)
    }

    /// Reads part of the thread that begins with the message `root`, without that message.
    ///
    /// # Errors
    ///
    /// [`ThreadError::NoMessage`] if the log does not have the message, or it is in a thread itself;
    /// [`ThreadError::Unsupported`] if the log has no threads; [`ThreadError::Unavailable`] if it cannot be read in
    /// time.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn thread(&self, room: &RoomName, root: u64, range: Range) -> Result<Page, ThreadError> {
        let room = self.open(room).await?;
        room::within(self.rooms(), room.log().thread(root, range)).await
    }
}
