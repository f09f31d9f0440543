//! The user of a session, and the time at which the credentials expire.

use std::time::Duration;

use super::{Effect, Phase, Session};
use crate::command::Token;
use crate::{CloseCode, ErrorCode, Event, LimitsNotice, MAX_INTEGER, User};

/// The user of a connection, as its credentials name it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identified {
    /// The user.
    pub user: User,
    /// The name of the connection.
    pub connection: String,
    /// The time at which the credentials expire. `None` is no limit.
    pub expiry: Option<Expiry>,
}

impl Identified {
    /// Returns a user on this connection, whose credentials do not expire.
    pub fn new(user: User, connection: impl Into<String>) -> Self {
        Self { user, connection: connection.into(), expiry: None }
    }

    /// Sets the time at which the credentials expire.
    #[must_use]
    pub fn until(mut self, expiry: impl Into<Option<Expiry>>) -> Self {
        self.expiry = expiry.into();
        self
    }
}

/// The time at which credentials expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The time, as the session counts it.
    pub at: Duration,
    /// The same time in ms since the Unix epoch, for the client.
    pub unix_ms: u64,
}

/// The reason why a `hello` was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotIdentified {
    /// The credentials are not valid. It closes the connection with 4501.
    Unauthorized,
    /// The user has too many connections. It closes the connection with 4504.
    ConnectionLimit,
    /// The host cannot check the credentials now. The client may try again.
    Unavailable,
    /// The host takes no credentials in a `hello`.
    Unsupported,
}

/// The state of the credentials. A session without a deadline and without a `hello` in flight has none.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    due: Due,
    /// The `ref` of the `hello` in flight.
    hello: Option<Option<String>>,
}

/// The next deadline of the credentials.
#[derive(Debug, Default)]
enum Due {
    /// The credentials do not expire.
    #[default]
    Never,
    /// The connection has no user. Its `hello` must be accepted by this time.
    Hello(Duration),
    /// The client must be told at this time that the credentials expire.
    Notice(Duration, Expiry),
    /// The credentials expire. The client was told.
    Expiry(Expiry),
}

impl Credentials {
    /// Returns the credentials of a connection without a user.
    pub(super) fn missing(until: Duration) -> Self {
        Self { due: Due::Hello(until), hello: None }
    }
}

impl<M> Session<M> {
    /// Returns the time at which [`handle_credentials`](Self::handle_credentials) is due, or `None` if it never is.
    pub fn credentials_deadline(&self) -> Option<Duration> {
        // The answer to a `hello` comes first. The host has a time limit for it.
        let credentials = self.credentials.as_deref().filter(|credentials| credentials.hello.is_none())?;
        match credentials.due {
            Due::Never => None,
            Due::Hello(until) => Some(until),
            Due::Notice(at, _) => Some(at),
            Due::Expiry(expiry) => Some(expiry.at),
        }
    }

    /// Records that the [`credentials_deadline`](Self::credentials_deadline) has passed.
    pub fn handle_credentials(&mut self, now: Duration) -> Vec<Effect> {
        let is_due = self.credentials_deadline().is_some_and(|due| due <= now);
        let is_open = self.phase != Phase::Closed;
        let Some(credentials) = self.credentials.as_deref_mut().filter(|_| is_due && is_open) else {
            return Vec::new();
        };
        match credentials.due {
            Due::Never => Vec::new(),
            Due::Hello(_) => self.close(CloseCode::HelloTimeout),
            Due::Notice(_, expiry) if now < expiry.at => {
                credentials.due = Due::Expiry(expiry);
                vec![Effect::Reply(Event::Expiring { at: expiry.unix_ms.min(MAX_INTEGER) })]
            }
            Due::Notice(..) | Due::Expiry(_) => self.close(CloseCode::TokenExpired),
        }
    }

    /// Takes the answer of the host to the `hello` in flight.
    pub fn handle_identification(
        &mut self,
        now: Duration,
        answer: Result<Identified, NotIdentified>,
    ) -> Vec<Effect> {
        let Some(reference) = self.credentials.as_mut().and_then(|credentials| credentials.hello.take())
        else {
            return Vec::new();
        };
        if self.phase == Phase::Closed {
            return Vec::new();
        }
        let is_same = |user: &User| self.user.as_ref().is_none_or(|known| known.key() == user.key());
        let mut effects = match answer {
            Ok(identified) if is_same(&identified.user) => {
                vec![Effect::Reply(self.identify(now, reference, identified))]
            }
            Ok(_) | Err(NotIdentified::Unauthorized) => return self.close(CloseCode::Unauthorized),
            Err(NotIdentified::ConnectionLimit) => return self.close(CloseCode::ConnectionLimit),
            Err(NotIdentified::Unavailable) => self.error(now, reference, ErrorCode::Unavailable, None, None),
            Err(NotIdentified::Unsupported) => {
                self.error(now, reference, ErrorCode::AlreadyIdentified, None, None)
            }
        };
        if self.user.is_none() {
            // The time for the first hello may be over.
            effects.extend(self.handle_credentials(now));
        }
        self.take_backlog(now, &mut effects);
        effects
    }

    /// Sets the user, or renews the credentials of the same user. The user keeps its name. Returns the welcome.
    pub(super) fn identify(
        &mut self,
        now: Duration,
        reference: Option<String>,
        identified: Identified,
    ) -> Event {
        let Identified { user, connection, expiry } = identified;
        self.credentials = expiry.map(|expiry| {
            let notice = expiry.at.saturating_sub(self.limits.connection.expiry_notice).max(now);
            Box::new(Credentials { due: Due::Notice(notice, expiry), hello: None })
        });
        Event::Welcome {
            reference,
            connection,
            user: self.user.get_or_insert(user).clone(),
            limits: LimitsNotice::from(&*self.limits),
            ping_interval: self.limits.connection.ping_interval.as_secs(),
            expires_at: expiry.map(|expiry| expiry.unix_ms.min(MAX_INTEGER)),
        }
    }

    pub(super) fn begin_hello(&mut self, reference: Option<String>, token: Token) -> Vec<Effect> {
        self.credentials.get_or_insert_default().hello = Some(reference);
        vec![Effect::Identify(token)]
    }

    /// Returns true while the host checks the credentials of a `hello`.
    pub(super) fn has_hello(&self) -> bool {
        self.credentials.as_ref().is_some_and(|credentials| credentials.hello.is_some())
    }
}
