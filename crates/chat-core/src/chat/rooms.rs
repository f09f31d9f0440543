//! The calls of a host on rooms: post, history, search, subscribe.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat_proto::command::JoinFrom;
use serde_json::value::RawValue;

use super::Chat;
use crate::error::PostError;
use crate::room::{self, Inbox, LiveRoom, Membership, Subscription, within};
use crate::{
    AppendReceipt, Change, ChangeReceipt, Mentions, Message, NewChange, NewMessage, Page, Range, Role,
    RoomName, Search, SearchError, SearchPage, Unavailable, User,
};

impl Chat {
    /// Posts a message into a room as `user`.
    ///
    /// [`Authorize`](crate::Authorize) is not asked. Check the rights yourself before you post for a user.
    ///
    /// ```
    /// use chat_core::{Chat, RoomName, Text, User};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let chat = Chat::default();
    /// let lobby: RoomName = "lobby".parse()?;
    /// let clock = User::new("service:clock", "Clock")?;
    /// let receipt = chat.post(&lobby, &clock, &Text::new("It is noon.")).await?;
    /// assert_eq!(receipt.seq, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PostError`]. After [`PostError::Unavailable`] it is not known whether the message is stored:
    /// [`post_with_key`](Self::post_with_key) makes a retry safe.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn post<M: Message>(
        &self,
        room: &RoomName,
        user: &User,
        message: &M,
    ) -> Result<AppendReceipt, PostError> {
        self.append(room, user, message, None).await
    }

    /// Posts a message into a room as `user`, once for each `key`. A repeated call returns the receipt of the first.
    ///
    /// [`Authorize`](crate::Authorize) is not asked. Check the rights yourself before you post for a user.
    ///
    /// ```
    /// use chat_core::{Chat, RoomName, Text, User};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (chat, lobby): (Chat, RoomName) = (Chat::default(), "lobby".parse()?);
    /// let (shop, text) = (User::new("service:shop", "Shop")?, Text::new("Order 7 is on its way."));
    /// let first = chat.post_with_key(&lobby, &shop, &text, "order-7").await?;
    /// let again = chat.post_with_key(&lobby, &shop, &text, "order-7").await?;
    /// assert_eq!((first.seq, again.seq, again.duplicate), (1, 1, true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PostError`]. After [`PostError::Unavailable`] a retry with the same key is safe.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn post_with_key<M: Message>(
        &self,
        room: &RoomName,
        user: &User,
        message: &M,
        key: &str,
    ) -> Result<AppendReceipt, PostError> {
        if !self.limits().wire.allows_key(key) {
            return Err(PostError::InvalidKey);
        }
        self.append(room, user, message, Some(key.to_owned())).await
    }

    async fn append<M: Message>(
        &self,
        room: &RoomName,
        user: &User,
        message: &M,
        key: Option<String>,
    ) -> Result<AppendReceipt, PostError> {
        let json = message.to_json().and_then(RawValue::from_string);
        let body = json.map_err(|error| PostError::Json(Arc::new(error)))?;
        (self.rooms().check_body)(&body, self.limits())?;
        if body.get().len() > self.limits().wire.max_frame_bytes {
            return Err(PostError::TooLarge);
        }
        let room = self.open(room).await?;
        // The host decides who may post, but a restriction of the user holds.
        let message = NewMessage::new(user.clone(), body).with_key(key).with_role(Role::Owner);
        Ok(room::append(&room, room.log().append(message), self.rooms()).await?)
    }

    /// Changes a message of a room: edits or deletes it, adds or removes a reaction, pins or unpins it.
    ///
    /// The role of the change decides what the user may do: see [`Role`](crate::Role).
    /// [`Authorize`](crate::Authorize) is not asked.
    ///
    /// ```
    /// use chat_core::{Change, Chat, NewChange, Role, RoomName, Text, User};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (chat, lobby): (Chat, RoomName) = (Chat::default(), "lobby".parse()?);
    /// let sent = chat.post(&lobby, &User::new("7", "Ann")?, &Text::new("something bad")).await?;
    /// let change = Change::Delete { reason: Some("spam".to_owned()) };
    /// let moderation = User::new("service:moderation", "Moderation")?;
    /// let deletion = NewChange::new(moderation, sent.seq, change).with_role(Role::Moderator);
    /// assert_eq!(chat.change(&lobby, deletion).await?.seq, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PostError::Body`] if the new body does not pass its check, [`PostError::InvalidKey`],
    /// [`PostError::InvalidChange`], and [`PostError::Change`].
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn change(&self, room: &RoomName, change: NewChange) -> Result<ChangeReceipt, PostError> {
        if let Change::Edit { body } = &change.change {
            (self.rooms().check_body)(body, self.limits())?;
        }
        if change.key.as_ref().is_some_and(|key| !self.limits().wire.allows_key(key)) {
            return Err(PostError::InvalidKey);
        }
        let is_mentioned = |mentions: &Mentions| mentions.is_valid(self.limits());
        if !change.change.is_valid(self.limits()) || !change.mentions.as_ref().is_none_or(is_mentioned) {
            return Err(PostError::InvalidChange);
        }
        let room = self.open(room).await?;
        Ok(room::change(&room, change, self.rooms()).await?)
    }

    /// Reads part of a room's log. [`StoredMessage::event`](crate::StoredMessage::event) reads the fields of a message.
    ///
    /// Every room name is a room, so the log of a room without messages is an empty page. The call opens the room,
    /// which counts in [`RoomLimits::max_idle`](crate::RoomLimits::max_idle). A room without members is closed again
    /// after [`RoomLimits::idle_timeout`](crate::RoomLimits::idle_timeout), or at once if it has no messages.
    ///
    /// ```
    /// use chat_core::{Chat, Event, Range, RoomName, Text, User};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (chat, lobby): (Chat, RoomName) = (Chat::default(), "lobby".parse()?);
    /// for text in ["one", "two", "three"] {
    ///     chat.post(&lobby, &User::guest("ann")?, &Text::new(text)).await?;
    /// }
    /// let page = chat.history(&lobby, Range::newest(2)).await?;
    /// for stored in &page.messages {
    ///     if let Event::Message { seq, at, user, body: Some(body), .. } = stored.event()? {
    ///         println!("{seq}: {} wrote {} at {at} ms", user.name(), body.get());
    ///     }
    /// }
    /// let seqs: Vec<u64> = page.messages.iter().map(|stored| stored.seq).collect();
    /// assert_eq!((seqs, page.more), (vec![2, 3], true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be read in time.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn history(&self, room: &RoomName, range: Range) -> Result<Page, Unavailable> {
        let room = self.open(room).await?;
        within(self.rooms(), room.log().read(range)).await
    }

    /// Searches a room's log.
    ///
    /// ```
    /// use chat_core::{Chat, RoomName, Search, Text, User};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (chat, lobby): (Chat, RoomName) = (Chat::default(), "lobby".parse()?);
    /// chat.post(&lobby, &User::guest("ann")?, &Text::new("Pears and apples")).await?;
    /// let search = Search::new("apple", 20);
    /// assert_eq!(chat.search(&lobby, search).await?.messages.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SearchError::BadQuery`] for a query that is empty or too long; [`SearchError::Unsupported`] if the log has no
    /// search; [`SearchError::TooExpensive`] if the log gives the query up; [`SearchError::Unavailable`] if it fails,
    /// or does not answer in time.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn search(&self, room: &RoomName, search: Search) -> Result<SearchPage, SearchError> {
        if !search.is_valid(self.limits()) {
            return Err(SearchError::BadQuery);
        }
        let room = self.open(room).await?;
        within(self.rooms(), room.log().search(search)).await
    }

    /// Subscribes to a room from now on. No user sees the subscription. The room is opened, and stays open.
    ///
    /// ```
    /// use chat_core::{Chat, Event, RoomName, Text, User};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let chat = Chat::default();
    /// let lobby: RoomName = "lobby".parse()?;
    /// let mut events = chat.subscribe(&lobby).await?;
    /// chat.post(&lobby, &User::guest("clock")?, &Text::new("It is noon.")).await?;
    /// while let Some(event) = events.next().await {
    ///     if let Event::Message { seq, user, body: Some(body), .. } = event? {
    ///         assert_eq!((seq, user.name(), body.get()), (1, "clock", r#"{"text":"It is noon."}"#));
    ///         break;
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be opened in time.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn subscribe(&self, room: &RoomName) -> Result<Subscription, Unavailable> {
        let room = self.open(room).await?;
        let bounds = room.bounds_from(self.rooms(), &JoinFrom::Now).await?;
        let inbox = Arc::<Inbox>::default();
        let id = self.shared.subscriptions.fetch_sub(1, Ordering::Relaxed);
        let membership =
            Membership::subscribe(Arc::clone(self.rooms()), room, id, Arc::clone(&inbox), bounds)
                .map_err(|_| Unavailable::new("the log has started a new epoch"))?;
        Ok(Subscription::new(membership, inbox))
    }

    /// Opens a room for the host's own call.
    pub(super) async fn open(&self, room: &RoomName) -> Result<Arc<LiveRoom>, Unavailable> {
        self.rooms().open(room).await
    }
}
