use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chat_proto::{Range, RoomName};
use serde::Serialize;
use serde_json::value::to_raw_value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::driver::{DRAIN, Ending, Request, random};
use crate::reply::{Ask, Reply};
use crate::state::Waiting;
use crate::{
    Builder, Closed, Command, ConnectError, Error, Events, JoinFrom, Joined, Page, Sent, ServerLimits, User,
    Welcome,
};

/// How long a client may take to end: for one whose runtime stands still, as the driver keeps its own time.
const CLOSE: Duration = DRAIN.saturating_add(Duration::from_secs(5));

/// A standard message.
///
/// ```
/// assert_eq!(serde_json::to_string(&chat_client::Text("hi"))?, r#"{"text":"hi"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(pub &'a str);

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("text", self.0)])
    }
}

/// A handle to a client. Cloning gives another handle to the same one; dropping the last ends it.
///
/// A command waits for its reply, however often the connection is lost meanwhile, up to
/// [`Builder::command_timeout`]. Dropping its future does not take it back.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) welcome: Welcome,
    pub(crate) references: Arc<AtomicU64>,
    /// Whether the client is to end; closed once it has.
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) ended: Arc<OnceLock<Ending>>,
    pub(crate) command_timeout: Duration,
}

impl Client {
    pub(crate) fn new(shared: Shared, requests: mpsc::Sender<Request>) -> Self {
        Self { shared: Arc::new(shared), requests }
    }

    /// Connects with the defaults, as a guest whom the server names.
    ///
    /// # Errors
    ///
    /// If there is no connection, or no welcome on it.
    pub async fn connect(url: &str) -> Result<(Self, Events), ConnectError> {
        Self::builder(url).connect().await
    }

    /// A client to be set up.
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    /// Who the client speaks for.
    pub fn user(&self) -> &User {
        &self.shared.welcome.user
    }

    /// What the server takes.
    pub fn limits(&self) -> &ServerLimits {
        &self.shared.welcome.limits
    }

    /// Becomes a member of a room: its events come from here on, and over every later connection, until
    /// [`leave`](Self::leave). In a room that was joined already, reads again from another place.
    ///
    /// # Errors
    ///
    /// Those of every command: see [`Error`].
    pub async fn join(&self, room: &RoomName, from: JoinFrom) -> Result<Joined, Error> {
        let command = Command::join(room, &from);
        match self.ask(Ask::Join(room.clone(), from.clone()), command).await? {
            Reply::Joined(joined) => Ok(joined),
            _ => Err(self.closed()),
        }
    }

    /// Stops being a member of a room.
    ///
    /// # Errors
    ///
    /// Those of every command: see [`Error`].
    pub async fn leave(&self, room: &RoomName) -> Result<(), Error> {
        self.ask(Ask::Leave(room.clone()), Command::leave(room)).await.map(drop)
    }

    /// Writes a message, exactly once: it is sent again with the same key until there is a reply that says more
    /// than "not now". [`Text`] is the standard body.
    ///
    /// # Errors
    ///
    /// Those of every command: see [`Error`]. Where it [may have happened](Error::may_have_happened), nobody knows;
    /// who wants to be able to try again brings the key, with [`send_with_key`](Self::send_with_key).
    pub async fn send(&self, room: &RoomName, body: &impl Serialize) -> Result<Sent, Error> {
        let mut key = String::with_capacity(32);
        // Writing to a string does not fail.
        let _written = write!(key, "{:016x}{:016x}", random(), random());
        self.send_with_key(room, body, &key).await
    }

    /// The same with a key of the caller's, not empty and, on most servers, of 64 bytes at most: a repeat with it,
    /// from whatever client of this user, is the same message.
    ///
    /// # Errors
    ///
    /// Those of every command: see [`Error`].
    pub async fn send_with_key(
        &self,
        room: &RoomName,
        body: &impl Serialize,
        key: &str,
    ) -> Result<Sent, Error> {
        let body = to_raw_value(body).map_err(|_| Error::Unfit("the body cannot be written as JSON"))?;
        match self.ask(Ask::Send(room.clone()), Command::send(room, Some(key), &body)).await? {
            Reply::Sent(sent) => Ok(sent),
            _ => Err(self.closed()),
        }
    }

    /// Reads a part of a room's log. The newest messages are those before `u64::MAX`.
    ///
    /// # Errors
    ///
    /// Those of every command: see [`Error`].
    pub async fn history(&self, room: &RoomName, range: Range) -> Result<Page, Error> {
        self.page(Ask::History(room.clone()), Command::history(room, range)).await
    }

    /// Searches a room's log, the newest messages first; `before` goes on from an earlier page.
    ///
    /// # Errors
    ///
    /// Those of every command: see [`Error`]. Not every log can search.
    pub async fn search(
        &self,
        room: &RoomName,
        query: &str,
        limit: usize,
        before: Option<u64>,
    ) -> Result<Page, Error> {
        self.page(Ask::Search(room.clone()), Command::search(room, query, limit, before)).await
    }

    /// The users who are in a room, sorted by name.
    ///
    /// # Errors
    ///
    /// Those of every command: see [`Error`].
    pub async fn members(&self, room: &RoomName) -> Result<Vec<User>, Error> {
        match self.ask(Ask::Members(room.clone()), Command::members(room)).await? {
            Reply::Members(members) => Ok(members),
            _ => Err(self.closed()),
        }
    }

    /// Says that the user is, or is no longer, writing. It is said once, on the connection there is, or not at
    /// all.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and [`Error::NotConnected`].
    pub async fn typing(&self, room: &RoomName, active: bool) -> Result<(), Error> {
        let frame = Command::typing(room, active).encode().into();
        self.request(Request::Notice(frame), Instant::now() + self.shared.command_timeout).await
    }

    /// Asks for a sign of life; how long it took.
    ///
    /// # Errors
    ///
    /// Those of every command: see [`Error`].
    pub async fn ping(&self) -> Result<Duration, Error> {
        let asked = Instant::now();
        self.ask(Ask::Ping, Command::ping()).await?;
        Ok(asked.elapsed())
    }

    /// Drops the connection as a lost network would, and resumes on another: for who knows that the network has
    /// changed.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and [`Error::NotConnected`].
    pub async fn reconnect(&self) -> Result<(), Error> {
        self.request(Request::Reconnect, Instant::now() + self.shared.command_timeout).await
    }

    /// Ends the client, whoever else has a handle. It takes no more commands, waits for the replies to those in hand
    /// for 5 s at most, over another connection if it must, and ends with a closing handshake of 1 s at most.
    ///
    /// Dropping the last handle does the same, and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if there was no reply to some command in that time. Each of these answers
    /// [`Error::Closed`], as every later one does. [`Error::Closed`] if the client had ended for another reason
    /// before all replies were there.
    pub async fn close(self) -> Result<(), Error> {
        self.shared.closing.send_replace(true);
        let ended = timeout(CLOSE, self.shared.closing.closed()).await;
        match self.shared.ended.get() {
            Some(Ending { why: Closed::Here, answered: true }) => Ok(()),
            Some(Ending { why: Closed::Here, answered: false }) => Err(Error::Timeout),
            None if ended.is_err() => Err(Error::Timeout),
            _ => Err(self.closed()),
        }
    }

    async fn page(&self, ask: Ask, command: Command<'_>) -> Result<Page, Error> {
        match self.ask(ask, command).await? {
            Reply::Page(page) => Ok(page),
            _ => Err(self.closed()),
        }
    }

    async fn ask(&self, ask: Ask, command: Command<'_>) -> Result<Reply, Error> {
        let deadline = Instant::now() + self.shared.command_timeout;
        let reference = self.shared.references.fetch_add(1, Ordering::Relaxed);
        let frame = command.with_ref(&reference.to_string()).encode();
        if frame.len() > self.limits().max_frame {
            return Err(Error::Unfit("it is longer than the server takes"));
        }
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting::new(ask, frame.into(), Some(reply), deadline);
        self.request(Request::Command(reference, waiting), deadline).await?;
        // The driver answers before the deadline, or is gone.
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    async fn request(&self, request: Request, deadline: Instant) -> Result<(), Error> {
        match timeout_at(deadline, self.requests.send(request)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => Err(Error::NotConnected),
        }
    }

    fn closed(&self) -> Error {
        let soon = || if *self.shared.closing.borrow() { Closed::Here } else { Closed::Runtime };
        Error::Closed(self.shared.ended.get().map_or_else(soon, |ending| ending.why.clone()))
    }
}
