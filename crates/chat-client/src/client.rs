use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chat_proto::command::{Command, JoinFrom};
use chat_proto::{LimitsNotice, RoomName, User};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::driver::{DRAIN_TIMEOUT, DriverRequest, Ending};
use crate::state::PendingCommand;
use crate::state::request::{Reply, Request};
use crate::{Builder, Closed, ConnectError, Error, Events, InvalidCommand, Joined, MembersPage, Welcome};

/// The time for a client to end. It only matters if the runtime does not run the driver, which has its own timeout.
const CLOSE_TIMEOUT: Duration = DRAIN_TIMEOUT.saturating_add(Duration::from_secs(5));

/// The largest number of users in one page.
const MAX_PAGE_MEMBERS: usize = 1_000;

/// A handle to a client. A clone is another handle to the same client. The client ends when the last handle is dropped.
///
/// A command waits for its reply up to [`Builder::command_timeout`], also while the client reconnects. To drop the
/// future of a command does not cancel the command.
///
/// # Examples
///
/// ```no_run
/// use chat_client::{Client, JoinFrom, RoomName, Text};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let (client, events) = Client::connect("ws://127.0.0.1:8080/ws").await?;
/// let lobby: RoomName = "lobby".parse()?;
/// client.join(&lobby, JoinFrom::Now).await?;
/// let sent = client.send(&lobby, &Text::new("hi")).await?;
/// println!("stored as entry {}", sent.seq);
/// client.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
    requests: mpsc::Sender<DriverRequest>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) welcome: Welcome,
    pub(crate) references: Arc<AtomicU64>,
    /// Becomes true when the client must close. The channel closes when the client has ended.
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) ended: Arc<OnceLock<Ending>>,
    pub(crate) command_timeout: Duration,
}

impl Client {
    pub(crate) fn new(shared: Shared, requests: mpsc::Sender<DriverRequest>) -> Self {
        Self { shared: Arc::new(shared), requests }
    }

    /// Connects with the default settings, as a guest with a random name.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the connection fails or its first event is not a welcome.
    pub async fn connect(url: &str) -> Result<(Self, Events), ConnectError> {
        Self::builder(url).connect().await
    }

    /// Returns the default settings of a client.
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    /// Returns the user of this client.
    pub fn user(&self) -> &User {
        &self.shared.welcome.user
    }

    /// Returns the limits of the server.
    pub fn limits(&self) -> &LimitsNotice {
        &self.shared.welcome.limits
    }

    /// Joins a room. Its events arrive until [`leave`](Self::leave), also after a reconnect. In a room that the client
    /// has joined before, it reads again from the given start.
    ///
    /// If the connection is lost before the first of the newest messages that were asked for, the client asks for them
    /// again. They may be later ones then. All entries after [`Joined::seq`] still arrive, or a gap.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn join(&self, room: &RoomName, from: JoinFrom) -> Result<Joined, Error> {
        let command = Command::Join { room: room.clone(), from: from.clone() };
        match self.call(Request::Join(room.clone(), from), &command).await? {
            Reply::Joined(joined) => Ok(joined),
            _ => Err(self.closed()),
        }
    }

    /// Joins the direct room of this user and another one, which is opened if it is not open yet. Only the id of the
    /// user counts. [`Joined::room`] is the name of the room; every other command takes that name. Guests have no
    /// direct rooms.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: chat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use chat_client::{JoinFrom, Text, User};
    ///
    /// let joined = client.join_direct(&User::from_id("bob")?, JoinFrom::Last(20)).await?;
    /// client.send(&joined.room, &Text::new("hi")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn join_direct(&self, user: &User, from: JoinFrom) -> Result<Joined, Error> {
        let command = Command::JoinDirect { with: user.clone(), from: from.clone() };
        match self.call(Request::JoinDirect(from), &command).await? {
            Reply::Joined(joined) => Ok(joined),
            _ => Err(self.closed()),
        }
    }

    /// Leaves a room.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn leave(&self, room: &RoomName) -> Result<(), Error> {
        let command = Command::Leave { room: room.clone() };
        self.call(Request::Leave(room.clone()), &command).await.map(drop)
    }

    /// Lists the users in a room, sorted by name. It asks for one page of 1,000 users after the other. Users who come
    /// or go meanwhile may be missing or listed.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn members(&self, room: &RoomName) -> Result<Vec<User>, Error> {
        let mut members = Vec::new();
        loop {
            let page = self.members_page(room, members.last(), MAX_PAGE_MEMBERS).await?;
            let is_last = !page.more || page.members.is_empty();
            members.extend(page.members);
            if is_last {
                return Ok(members);
            }
        }
    }

    /// Lists at most `limit` users in a room, sorted by name: the first ones, or those after the last user of the page
    /// before.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn members_page(
        &self,
        room: &RoomName,
        after: Option<&User>,
        limit: usize,
    ) -> Result<MembersPage, Error> {
        let command = Command::Members { room: room.clone(), after: after.cloned(), limit };
        match self.call(Request::Members(room.clone()), &command).await? {
            Reply::Members(members) => Ok(members),
            _ => Err(self.closed()),
        }
    }

    /// Announces that the user started or stopped typing. It is sent once on the current connection, or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and [`Error::NotConnected`].
    pub async fn typing(&self, room: &RoomName, active: bool) -> Result<(), Error> {
        let frame = Command::Typing { room: room.clone(), active }.encode(None).into();
        self.request(DriverRequest::Notice(frame), Instant::now() + self.shared.command_timeout).await
    }

    /// Sends a `ping` and returns the time until its reply.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn ping(&self) -> Result<Duration, Error> {
        let start = Instant::now();
        self.call(Request::Ping, &Command::Ping).await?;
        Ok(start.elapsed())
    }

    /// Drops the connection and resumes on another. It is for programs that know that the network has changed.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and [`Error::NotConnected`].
    pub async fn reconnect(&self) -> Result<(), Error> {
        self.request(DriverRequest::Reconnect, Instant::now() + self.shared.command_timeout).await
    }

    /// Ends the client, even if other handles exist. It accepts no more commands, waits up to 5 s for the replies of
    /// the commands in flight, also over another connection, and ends with a closing handshake of up to 1 s.
    ///
    /// To drop the last handle does the same without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if a command had no reply in that time. Such a command returns [`Error::Closed`], as every
    /// later command does. [`Error::Closed`] if the client ended for another reason before all replies arrived.
    pub async fn close(self) -> Result<(), Error> {
        self.shared.closing.send_replace(true);
        let ended = timeout(CLOSE_TIMEOUT, self.shared.closing.closed()).await;
        match self.shared.ended.get() {
            Some(Ending { reason: Closed::Locally, answered: true }) => Ok(()),
            Some(Ending { reason: Closed::Locally, answered: false }) => Err(Error::Timeout),
            None if ended.is_err() => Err(Error::Timeout),
            _ => Err(self.closed()),
        }
    }

    pub(crate) async fn call(&self, request: Request, command: &Command) -> Result<Reply, Error> {
        let deadline = Instant::now() + self.shared.command_timeout;
        let reference = self.shared.references.fetch_add(1, Ordering::Relaxed);
        let frame = command.encode(Some(&reference.to_string()));
        if frame.len() > self.limits().max_frame {
            return Err(InvalidCommand::TooLong.into());
        }
        let (reply, answer) = oneshot::channel();
        let pending = PendingCommand::new(request, frame.into(), Some(reply), deadline);
        self.request(DriverRequest::Command(reference, pending), deadline).await?;
        // The driver answers before the deadline, or has ended.
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    async fn request(&self, request: DriverRequest, deadline: Instant) -> Result<(), Error> {
        match timeout_at(deadline, self.requests.send(request)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => Err(Error::NotConnected),
        }
    }

    pub(crate) fn closed(&self) -> Error {
        let unknown = || if *self.shared.closing.borrow() { Closed::Locally } else { Closed::Runtime };
        Error::Closed(self.shared.ended.get().map_or_else(unknown, |ending| ending.reason.clone()))
    }
}
