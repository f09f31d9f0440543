use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chat_proto::User;
use tokio::sync::{mpsc, watch};

use crate::client::Shared;
use crate::driver::{Driver, Settings, connect, random};
use crate::socket::Target;
use crate::state::State;
use crate::{Client, ConnectError, Events, Reconnect, TokenSource};

/// The capacity of the channel from the handles to the driver.
const REQUESTS: usize = 32;

/// The longest duration, which can still be added to any time.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The settings of a [`Client`].
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use chat_client::{Client, Reconnect};
///
/// # async fn example() -> Result<(), chat_client::ConnectError> {
/// let (client, events) = Client::builder("ws://127.0.0.1:8080/ws")
///     .name("Ann")
///     .command_timeout(Duration::from_secs(5))
///     .reconnect(Reconnect::default().give_up(Duration::from_secs(60)))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    target: Target,
    settings: Settings,
    command_timeout: Duration,
}

impl Builder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            target: Target::new(url),
            settings: Settings {
                connect_timeout: Duration::from_secs(10),
                heartbeat: Duration::from_secs(30),
                event_buffer: 256,
                max_in_flight: 256,
                reconnect: Reconnect::default(),
            },
            command_timeout: Duration::from_secs(10),
        }
    }

    /// Sets the guest's name. By default, the client makes a random one, like `visitor-hb4v8kqr3k`, and keeps it when
    /// it reconnects.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.target.name = Some(name.into());
        self
    }

    /// Sets the function that returns the newest token, for a server that identifies its users. The client calls it
    /// for each connection, and when the server announces that the token expires, and then renews it with a `hello`.
    /// It must return at once. A program that gets tokens from a service keeps the newest one.
    ///
    /// ```no_run
    /// # async fn example(newest: std::sync::Arc<std::sync::Mutex<String>>) -> Result<(), chat_client::ConnectError> {
    /// let newest = move || newest.lock().map(|token| token.clone()).unwrap_or_default();
    /// let (client, events) =
    ///     chat_client::Client::builder("ws://127.0.0.1:8080/ws").token(newest).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn token(mut self, newest: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.target.token = Some(TokenSource::new(newest));
        self
    }

    /// Sets the root certificates to trust for `wss://`. By default, the client trusts those of the operating system.
    #[cfg(feature = "tls")]
    pub fn roots(mut self, roots: crate::Roots) -> Self {
        self.target.roots = Some(roots);
        self
    }

    /// Sets the address of this machine to connect from. By default, the system chooses one.
    pub fn local_address(mut self, address: IpAddr) -> Self {
        self.target.local_address = Some(address);
        self
    }

    /// Sets the bytes of the kernel's receive buffer. By default, the system chooses.
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.target.receive_buffer = Some(bytes);
        self
    }

    /// Sets the policy for reconnects.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.settings.reconnect = reconnect;
        self
    }

    /// Sets the time for one attempt to connect, up to the welcome. Default 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = limit.min(MAX_DURATION);
        self
    }

    /// Sets the time for a command to get its reply, including reconnects. Default 10 s.
    pub fn command_timeout(mut self, limit: Duration) -> Self {
        self.command_timeout = limit.min(MAX_DURATION);
        self
    }

    /// Sets the time without a frame after which the client sends a ping. After twice this time, the connection is
    /// lost. Default 30 s.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.settings.heartbeat = heartbeat.min(MAX_DURATION);
        self
    }

    /// Sets the number of events that may wait for the consumer, at least 4. Default 256.
    pub fn event_buffer(mut self, events: usize) -> Self {
        self.settings.event_buffer = events.max(4);
        self
    }

    /// Sets the number of commands that may wait for their replies. Further commands wait to be sent. Default 256.
    pub fn max_in_flight(mut self, commands: usize) -> Self {
        self.settings.max_in_flight = commands.max(1);
        self
    }

    /// Sets the bytes of the largest event. A server that sends more breaks the protocol. Default 1 MiB.
    pub fn max_event(mut self, bytes: usize) -> Self {
        self.target.max_event = bytes;
        self
    }

    /// Connects. The first attempt is not repeated.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the connection fails or its first event is not a welcome.
    pub async fn connect(mut self) -> Result<(Client, Events), ConnectError> {
        // A key counts for one user. A guest with another name would send a message twice.
        if self.target.token.is_none() {
            self.target.name.get_or_insert_with(|| random_name(random()));
        }
        let (socket, welcome) = connect(&self.target, self.settings.connect_timeout).await?;
        let references = Arc::new(AtomicU64::new(1));
        let ended = Arc::new(OnceLock::new());
        let (requests, driver_requests) = mpsc::channel(REQUESTS);
        let (driver_events, events) = mpsc::channel(self.settings.event_buffer);
        let (closing, driver_closing) = watch::channel(false);
        let state = State::new(welcome.user.clone(), self.command_timeout, Arc::clone(&references), random);
        let driver = Driver::new(
            self.target,
            self.settings,
            driver_requests,
            driver_closing,
            driver_events,
            state,
            socket,
        );
        tokio::spawn(driver.run(Arc::clone(&ended)));
        let shared = Shared {
            welcome,
            references,
            closing,
            ended: Arc::clone(&ended),
            command_timeout: self.command_timeout,
        };
        Ok((Client::new(shared, requests), Events::new(events, ended)))
    }
}

/// Returns a name for a guest who has none. Names of the server's own choice cannot be used again.
fn random_name(random: u64) -> String {
    const DIGITS: usize = 10;
    let guest = User::unnamed_guest(random);
    let digits: String = guest.id().chars().skip_while(|c| *c != '-').take(DIGITS + 1).collect();
    format!("visitor{digits}")
}
