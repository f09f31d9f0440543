//! The commands that change messages.

use chat_proto::command::Command;
use chat_proto::{Change, ChangeReceipt, RoomName, User};
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::client::random_key;
use crate::state::request::{Reply, Request};
use crate::{Client, Error, InvalidCommand, MessagePage};

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
        let body = to_raw_value(body).map_err(|_| InvalidCommand::Body)?;
        self.change(room, seq, Change::Edit { body }, rev, Some(random_key())).await
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
        self.change(room, seq, change, None, None).await
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
        self.change(room, seq, change, None, None).await
    }

    /// Pins or unpins a message. A repeat changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn pin(&self, room: &RoomName, seq: u64, on: bool) -> Result<ChangeReceipt, Error> {
        self.change(room, seq, Change::Pin { on }, None, None).await
    }

    /// Deletes all messages of the user with this id for good. It is for owners of the room. Messages that the user sends
    /// later stay. A repeat changes nothing, unless there are such messages.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command. After [`ErrorCode::Unavailable`](crate::ErrorCode::Unavailable), the purge may
    /// go on, and a repeat is safe.
    pub async fn purge(&self, room: &RoomName, user: &User) -> Result<ChangeReceipt, Error> {
        let command = Command::Purge { room: room.clone(), user: user.clone() };
        match self.call(Request::Change(room.clone()), &command).await? {
            Reply::Done(done) => Ok(done),
            _ => Err(self.closed()),
        }
    }

    /// Reads single messages of a room's log in their present state, oldest first. Positions without a message are left
    /// out. Most servers accept at most 100 positions.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn messages(&self, room: &RoomName, seqs: &[u64]) -> Result<MessagePage, Error> {
        let command = Command::Messages { room: room.clone(), seqs: seqs.to_vec() };
        self.page(Request::History(room.clone()), &command).await
    }

    async fn change(
        &self,
        room: &RoomName,
        seq: u64,
        change: Change,
        rev: Option<u64>,
        key: Option<String>,
    ) -> Result<ChangeReceipt, Error> {
        let command = Command::Change { room: room.clone(), seq, change, rev, key, mentions: None };
        match self.call(Request::Change(room.clone()), &command).await? {
            Reply::Done(done) => Ok(done),
            _ => Err(self.closed()),
        }
    }
}
