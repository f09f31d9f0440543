use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::client::Shared;
use crate::driver::{Driver, Settings, random};
use crate::link::connect;
use crate::socket::Target;
use crate::state::State;
use crate::{Client, ConnectError, Events, Reconnect};

/// Requests on their way to the driver.
const REQUESTS: usize = 32;

/// As long as for ever, and still a time that can be added to another.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Sets up a [`Client`].
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

    /// The guest's name. Without one the server makes one up, and the client keeps it when it reconnects.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.target.name = Some(name.into());
        self
    }

    /// The address of this machine to connect from. Default: the system's choice.
    pub fn local_address(mut self, address: IpAddr) -> Self {
        self.target.local_address = Some(address);
        self
    }

    /// Bytes that the kernel may hold unread. Default: the system's choice.
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.target.receive_buffer = Some(bytes);
        self
    }

    /// How the client comes back when its connection is lost.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.settings.reconnect = reconnect;
        self
    }

    /// How long one attempt to connect may take, up to the welcome. Default 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = limit.min(FOREVER);
        self
    }

    /// How long a command may wait for its reply, lost connections included. Default 10 s.
    pub fn command_timeout(mut self, limit: Duration) -> Self {
        self.command_timeout = limit.min(FOREVER);
        self
    }

    /// The silence after which the client pings; after twice that it takes the connection for lost. Default
    /// 30 s.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.settings.heartbeat = heartbeat.min(FOREVER);
        self
    }

    /// Events that wait for the consumer at the most, 4 at the least. Default 256.
    pub fn event_buffer(mut self, events: usize) -> Self {
        self.settings.event_buffer = events.max(4);
        self
    }

    /// Commands that wait for their replies at the most; further ones wait to be sent. Default 256.
    pub fn max_in_flight(mut self, commands: usize) -> Self {
        self.settings.max_in_flight = commands.max(1);
        self
    }

    /// Bytes of one event: a server that sends more breaks the protocol. Default 1 MiB.
    pub fn max_event(mut self, bytes: usize) -> Self {
        self.target.max_event = bytes;
        self
    }

    /// Connects; the first attempt is not repeated.
    ///
    /// # Errors
    ///
    /// If there is no connection, or no welcome on it.
    pub async fn connect(mut self) -> Result<(Client, Events), ConnectError> {
        let (socket, welcome) = connect(&self.target, self.settings.connect_timeout).await?;
        // Keys count for one user: a guest who came back under another name would send twice.
        self.target.name.get_or_insert_with(|| welcome.user.name.clone());
        let references = Arc::new(AtomicU64::new(1));
        let ended = Arc::new(OnceLock::new());
        let (requests, driver_requests) = mpsc::channel(REQUESTS);
        let (driver_events, events) = mpsc::channel(self.settings.event_buffer);
        let (closing, driver_closing) = watch::channel(false);
        let state = State::new(self.command_timeout, Arc::clone(&references), random);
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
