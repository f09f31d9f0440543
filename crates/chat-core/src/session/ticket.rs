use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use chat_proto::{Event, session};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::{Span, field, info_span};

use super::driver::Driver;
use super::end::End;
use super::hello::Identification;
use super::output::Output;
use super::rates::UserRate;
use super::reads::ReadQueues;
use super::registry::{Permit, Phase};
use crate::address::LineLimit;
use crate::connection::{Connection, Outgoing};
use crate::room::Rooms;
use crate::stats::Counters;
use crate::{Authorize, CloseCode, Limits, User};

/// The lines of a connection: its upgrade, and the end of its session.
const LINES_PER_CONNECTION: u32 = 2;

/// The right to one session, over any connection. [`Chat::admit`](crate::Chat::admit) returns it for a user.
///
/// It counts as a connection until it is dropped or its session has ended.
///
/// ```
/// use chat_core::{Chat, Connection, Identity, User};
///
/// async fn handle<C: Connection>(chat: &Chat, user: User, connection: C) {
///     match chat.admit(Identity::from(user)) {
///         Ok(ticket) => ticket.serve(connection).await,
///         Err(error) => eprintln!("refused: {error}"),
///     }
/// }
///
/// let chat = Chat::default();
/// let ticket = chat.admit(chat.next_guest())?;
/// assert_eq!((ticket.connection_id().len(), chat.counts().connections), (16, 1));
/// drop(ticket);
/// assert_eq!(chat.counts().connections, 0);
/// # Ok::<(), chat_core::AdmitError>(())
/// ```
#[must_use = "a ticket that is dropped starts no session"]
pub struct Ticket {
    pub(super) rooms: Arc<Rooms>,
    limits: Arc<Limits>,
    pub(super) reads: Arc<ReadQueues>,
    pub(super) authorize: Option<Arc<dyn Authorize>>,
    pub(super) permit: Permit,
    /// `None` until a `hello` has named the user.
    pub(super) user: Option<User>,
    pub(super) identification: Option<Arc<Identification>>,
    peer: Option<SocketAddr>,
    pub(super) span: Span,
    pub(super) user_rate: Option<Box<UserRate>>,
    lines: Arc<LineLimit>,
    /// True if the connection has lines in the log. `None` until its first line.
    is_logged: Option<bool>,
    /// `None` if the credentials do not expire, or if the session has the time.
    expiry: Option<Box<Mutex<Expiry>>>,
}

/// The time at which credentials expire.
struct Expiry {
    at: Instant,
    /// The same time for the client, in ms since the Unix epoch.
    unix_ms: u64,
    /// The timer of code that serves a connection itself.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Ticket {
    pub(crate) fn new(
        (rooms, limits): (Arc<Rooms>, Arc<Limits>),
        reads: Arc<ReadQueues>,
        lines: Arc<LineLimit>,
        permit: Permit,
        user: Option<&User>,
        peer: Option<SocketAddr>,
    ) -> Self {
        let span = info_span!(
            "connection",
            id = %permit.connection_id(),
            user = user.map(|user| field::display(user.id().escape_debug())),
            peer = peer.map(field::display)
        );
        Self {
            rooms,
            limits,
            reads,
            authorize: None,
            permit,
            user: None,
            identification: None,
            peer,
            span,
            user_rate: None,
            lines,
            is_logged: None,
            expiry: None,
        }
    }

    /// Sets the check of the credentials in a `hello`. Without it, the user of the connection does not change.
    pub(crate) fn with_identification(mut self, identification: Arc<Identification>) -> Self {
        self.identification = Some(identification);
        self
    }

    /// Sets the time at which the credentials expire.
    pub(super) fn set_expiry(&mut self, expires_at: Option<SystemTime>) {
        let expiry = expires_at.and_then(|time| {
            let left = time.duration_since(SystemTime::now()).unwrap_or_default();
            let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let unix_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
            let at = Instant::now().checked_add(left)?;
            Some(Box::new(Mutex::new(Expiry { at, unix_ms, timer: None })))
        });
        self.expiry = expiry;
    }

    /// Takes the time at which the credentials expire, for a session that started at this time.
    pub(super) fn take_expiry(&mut self, started: Instant) -> Option<session::Expiry> {
        let expiry = self.expiry.take()?.into_inner();
        let at = expiry.at.saturating_duration_since(started);
        Some(session::Expiry { at, unix_ms: expiry.unix_ms })
    }

    /// Returns true if the credentials have expired, and otherwise wakes the task at that time.
    fn poll_expiry(&self, cx: &mut Context<'_>) -> bool {
        let Some(expiry) = &self.expiry else { return false };
        let Expiry { at, timer, .. } = &mut *expiry.lock();
        timer.get_or_insert_with(|| Box::pin(sleep_until(*at))).as_mut().poll(cx).is_ready()
    }

    /// Sets the address of the peer, for the log and for [`peer`](Self::peer). [`Endpoint`](crate::Endpoint) does this
    /// with the address that its adapter knows.
    ///
    /// ```
    /// use chat_core::Chat;
    ///
    /// let chat = Chat::default();
    /// let ticket = chat.admit(chat.next_guest())?.with_peer("192.0.2.7:50000".parse()?);
    /// assert_eq!(ticket.peer().map(|peer| peer.port()), Some(50_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_peer(mut self, peer: SocketAddr) -> Self {
        self.span.record("peer", field::display(peer));
        self.peer = Some(peer);
        self
    }

    /// Returns the address of the peer, if the transport knows it.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns the limits of the chat, with the rates that it had when the connection was admitted.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Returns the user for whom the session speaks, or `None` until a `hello` has named the user.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Returns the name of the connection, which is also in the `welcome` event and in the log.
    pub fn connection_id(&self) -> String {
        self.permit.connection_id()
    }

    /// Returns the span of the connection's log lines.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Runs code that logs the beginning or the end of the connection, in its [`span`](Self::span). It does not run if
    /// the address of the peer has more lines than [`RateLimits::log_lines`](crate::RateLimits::log_lines). All lines
    /// of one connection are written, or none.
    pub fn log(&mut self, line: impl FnOnce()) {
        if self.is_logged() {
            self.span.in_scope(line);
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.rooms.counters
    }

    /// Returns the limit of the lines of connections.
    pub(crate) fn lines(&self) -> Arc<LineLimit> {
        Arc::clone(&self.lines)
    }

    fn is_logged(&mut self) -> bool {
        let record = || self.lines.record(self.peer.map(|peer| peer.ip()), LINES_PER_CONNECTION);
        *self.is_logged.get_or_insert_with(record)
    }

    /// Counts this connection in [`Counts::sessions`](crate::Counts::sessions), until
    /// [`end_session`](Self::end_session) or until the ticket is dropped. [`serve`](Self::serve) calls it.
    pub fn begin_session(&mut self) {
        self.permit.begin_session();
    }

    /// Ends the session. The connection still counts in [`Counts::connections`](crate::Counts::connections) while it
    /// closes.
    pub fn end_session(&mut self) {
        self.permit.end_session();
    }

    /// Serves the session on a connection, to the end of the stream.
    ///
    /// A panic in the session closes the connection with 1011 and is not propagated. A panic of
    /// [`Authorize`](crate::Authorize) only refuses the command.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with a timer.
    pub fn serve<C: Connection>(self, mut connection: C) -> impl Future<Output = ()> {
        // An idle session should be small. The future has one place for the connection, and none for its end.
        let ticket = Box::new(self);
        async move {
            // The code of the host and the stores log in the span of the connection.
            let span = ticket.span.clone();
            let mut driver = Driver::new(ticket, &mut connection);
            let end = End::of(|cx| span.in_scope(|| driver.poll(cx))).await;
            let started = driver.started;
            let (ticket, unsent, received, sent) = driver.leave();
            Box::pin(ticket.close(&mut connection, end, unsent, (started, received, sent))).await;
        }
    }

    /// Sends the last frames of a session, closes the connection, and logs the end. `totals` has the start of the
    /// session and the numbers of frames received and sent.
    async fn close<C: Connection>(
        mut self: Box<Self>,
        connection: &mut C,
        end: End,
        unsent: Output,
        totals: (Instant, u64, u64),
    ) {
        self.permit.end_session();
        let (number, limits) = (self.permit.connection(), self.limits());
        let closing = end.code().map(|code| {
            let advice = (code == CloseCode::Restarting).then(|| self.permit.reconnect_in());
            let reconnect = advice.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
            Outgoing::Text(Event::closing(code, reconnect).encode())
        });
        let mut bytes = 0;
        let last = unsent.into_frames().chain(closing).inspect(|frame| bytes += frame.payload_bytes() as u64);
        self.rooms.counters.end_session(end.counted());
        let sent_last = end.close(connection, last, limits.connection.close_timeout).await;
        self.rooms.counters.bytes_sent.add(number, bytes);
        let (started, received, sent) = totals;
        // A panic is a bug, and not an attack.
        if self.is_logged() || matches!(end, End::Panicked) {
            self.span.in_scope(|| end.log(started.elapsed(), received, sent + sent_last));
        }
    }

    /// Waits until the chat wants this connection closed, because it drains, because the user was kicked, or because
    /// the credentials have expired. Returns the close code.
    ///
    /// Code that serves a connection itself, instead of [`serve`](Self::serve), polls it.
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<CloseCode> {
        self.permit.inbox().waker.register(cx.waker());
        match self.permit.close_now() {
            Some(code) => Poll::Ready(code),
            None if self.poll_expiry(cx) => Poll::Ready(CloseCode::TokenExpired),
            None if self.permit.phase() == Phase::Draining => Poll::Ready(CloseCode::Restarting),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("connection", &self.connection_id()).finish_non_exhaustive()
    }
}
