//! The commands that change messages.

use chat_proto::command::Command;
use chat_proto::{Change, ChangeReceipt, Mentions, RoomName, User};
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::messages::random_key;
use crate::state::request::{Reply, Request};
use crate::{Client, Error, InvalidCommand};

impl Client {
    /// Replaces the body of a message, exactly once. `rev` is the newest entry that the caller knows of the message:
    /// after a later edit, the error is [`ErrorCode::Conflict`](crate::ErrorCode::Conflict). Without `rev`, a later
    /// edit is overwritten.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: chat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use chat_client::Text;
    ///
    /// let lobby = "lobby".parse()?;
    /// let sent = client.send(&lobby, &Text::new("helo")).await?;
    /// client.edit(&lobby, sent.seq, &Text::new("hello"), Some(sent.seq)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn edit(
        &self,
        room: &RoomName,
        seq: u64,
        body: &impl Serialize,
        rev: Option<u64>,
    ) -> Result<ChangeReceipt, Error> {
        self.edit_mentions(room, seq, body, None, rev).await
    }

    /// Replaces the body of a message as [`edit`](Self::edit) does, and the users that it mentions. An empty list
    /// removes the mentions, and `None` keeps them.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn edit_mentions(
        &self,
        room: &RoomName,
        seq: u64,
        body: &impl Serialize,
        mentions: Option<Mentions>,
        rev: Option<u64>,
    ) -> Result<ChangeReceipt, Error> {
        let body = to_raw_value(body).map_err(|_| InvalidCommand::Body)?;
        let (change, key) = (Change::Edit { body }, Some(random_key()));
        let command = Command::Change { room: room.clone(), seq, change, rev, key, mentions };
        self.send_change(room, &command).await
    }

    /// Deletes a message for good. A repeat is a duplicate. Members see the reason.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn delete(
        &self,
        room: &RoomName,
        seq: u64,
        reason: Option<&str>,
    ) -> Result<ChangeReceipt, Error> {
        let change = Change::Delete { reason: reason.map(ToOwned::to_owned) };
        self.change(room, seq, change).await
    }

    /// Adds a reaction to a message, or removes it. A repeat changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn react(
        &self,
        room: &RoomName,
        seq: u64,
        reaction: &str,
        on: bool,
    ) -> Result<ChangeReceipt, Error> {
        let change = Change::React { reaction: reaction.to_owned(), on };
        self.change(room, seq, change).await
    }

    /// Pins or unpins a message. A repeat changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn pin(&self, room: &RoomName, seq: u64, on: bool) -> Result<ChangeReceipt, Error> {
        self.change(room, seq, Change::Pin { on }).await
    }

    /// Deletes all messages of the user with this id for good. It is for owners of the room. Messages that the user
    /// sends later stay. A repeat changes nothing, unless there are such messages.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command. After [`ErrorCode::Unavailable`](crate::ErrorCode::Unavailable), the purge may
    /// go on, and a repeat is safe.
    pub async fn purge(&self, room: &RoomName, user: &User) -> Result<ChangeReceipt, Error> {
        let command = Command::Purge { room: room.clone(), user: user.clone() };
        self.send_change(room, &command).await
    }

    async fn change(&self, room: &RoomName, seq: u64, change: Change) -> Result<ChangeReceipt, Error> {
        let (rev, key, mentions) = (None, None, None);
        let command = Command::Change { room: room.clone(), seq, change, rev, key, mentions };
        self.send_change(room, &command).await
    }

    async fn send_change(&self, room: &RoomName, command: &Command) -> Result<ChangeReceipt, Error> {
        match self.call(Request::Change(room.clone()), command).await? {
            Reply::Done(done) => Ok(done),
            _ => Err(self.closed()),
        }
    }
}
