//! The commands that send and read messages.

use chat_proto::command::Command;
use chat_proto::{AppendReceipt, Links, Range, RoomName, Search};
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::driver::random;
use crate::state::request::{Reply, Request};
use crate::{Client, Error, InvalidCommand, MessagePage};

impl Client {
    /// Sends a message, exactly once. The client repeats it with the same random key until the server stores or
    /// finally refuses it. [`Text`] is the standard body.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command. If the message [may have been stored](Error::may_have_happened), only a repeat
    /// with the same key shows whether it was. A caller that wants to repeat a message chooses its key with
    /// [`send_with_key`](Self::send_with_key).
    pub async fn send(&self, room: &RoomName, body: &impl Serialize) -> Result<AppendReceipt, Error> {
        self.send_with_key(room, body, &random_key()).await
    }

    /// Sends a message with the given key. A repeat with the same key, from any client of this user, is the same
    /// message. The key must not be empty, and most servers accept at most 64 bytes.
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
    /// let first = client.send_with_key(&lobby, &Text::new("hi"), "order-7").await?;
    /// let again = client.send_with_key(&lobby, &Text::new("hi"), "order-7").await?;
    /// assert_eq!((again.seq, again.duplicate), (first.seq, true));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_with_key(
        &self,
        room: &RoomName,
        body: &impl Serialize,
        key: &str,
    ) -> Result<AppendReceipt, Error> {
        self.send_with(room, body, key, Links::default()).await
    }

    /// Sends a message with links: it answers another message, is in a thread, or mentions users. A repeat with the
    /// same key needs the same links.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: chat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use chat_client::{Links, Mentions, Text};
    ///
    /// let lobby = "lobby".parse()?;
    /// let first = client.send(&lobby, &Text::new("lunch?")).await?;
    /// let links = Links::default().with_thread(first.seq).with_mentions(Mentions::users(["bob"]));
    /// client.send_linked(&lobby, &Text::new("and you?"), links).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_linked(
        &self,
        room: &RoomName,
        body: &impl Serialize,
        links: Links,
    ) -> Result<AppendReceipt, Error> {
        self.send_with(room, body, &random_key(), links).await
    }

    /// Sends a message with the given [key](Self::send_with_key) and [links](Self::send_linked).
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn send_with(
        &self,
        room: &RoomName,
        body: &impl Serialize,
        key: &str,
        links: Links,
    ) -> Result<AppendReceipt, Error> {
        let body = to_raw_value(body).map_err(|_| InvalidCommand::Body)?;
        let links = (!links.is_empty()).then(|| Box::new(links));
        let command = Command::Send { room: room.clone(), key: Some(key.to_owned()), body, links };
        match self.call(Request::Send(room.clone()), &command).await? {
            Reply::Sent(sent) => Ok(sent),
            _ => Err(self.closed()),
        }
    }

    /// Reads a part of a room's log. [`Range::newest`] is its newest part.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: chat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use chat_client::Range;
    ///
    /// let page = client.history(&"lobby".parse()?, Range::newest(50)).await?;
    /// println!("{} messages, more: {}", page.messages.len(), page.more);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn history(&self, room: &RoomName, range: Range) -> Result<MessagePage, Error> {
        let command = Command::History { room: room.clone(), range };
        self.page(Request::History(room.clone()), &command).await
    }

    /// Reads a part of the thread that begins with the message `root`, without that message.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn thread(&self, room: &RoomName, root: u64, range: Range) -> Result<MessagePage, Error> {
        let command = Command::Thread { room: room.clone(), root, range };
        self.page(Request::History(room.clone()), &command).await
    }

    /// Searches a room's log, newest message first. `before` continues after an earlier page.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command. Some logs do not support search.
    pub async fn search(
        &self,
        room: &RoomName,
        query: &str,
        limit: usize,
        before: Option<u64>,
    ) -> Result<MessagePage, Error> {
        let search = Search::new(query, limit).before(before);
        let command = Command::Search { room: room.clone(), search };
        self.page(Request::Search(room.clone()), &command).await
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

    async fn page(&self, request: Request, command: &Command) -> Result<MessagePage, Error> {
        match self.call(request, command).await? {
            Reply::Page(page) => Ok(page),
            _ => Err(self.closed()),
        }
    }
}

/// Returns a key that no other command has.
pub(crate) fn random_key() -> String {
    format!("{:016x}{:016x}", random(), random())
}
