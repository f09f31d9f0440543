use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectError, ConnectOptions, Event};
use chat_core::{LogThrottle, Unavailable};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// The notices that wait for the task that reports them. Further ones are lost, which the node repairs.
const MAX_WAITING: usize = 16 * 1024;

/// The interval of the pings after which a connection to a silent server is given up.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The time for which calls wait for a connection that was lost.
const MAX_RECONNECT: Duration = Duration::from_secs(1);

/// The longest pause between two tries to connect again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_millis(500);

/// The interval of the warnings about lost messages.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// The state of the connection to the servers.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The client, which drops an event if too many of them wait. `None` in a model of the servers.
    client: OnceLock<Client>,
    /// The time at which the connection was lost. `None` while there is one.
    lost: watch::Sender<Option<Instant>>,
    /// The number of events of lost connections.
    losses: AtomicU64,
    /// The number of events so far.
    events: watch::Sender<u64>,
    lost_messages: LogThrottle,
}

/// The comparisons of a stream with what this node knows.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// The reasons for a comparison that were there when the last one began.
    noted: AtomicU64,
    /// The reasons besides lost connections.
    doubts: AtomicU64,
}

impl Connection {
    /// Connects to one of the servers.
    pub(crate) async fn open(
        servers: &str,
        options: ConnectOptions,
    ) -> Result<(Client, Arc<Self>), ConnectError> {
        let connection = Arc::new(Self::default());
        // The connection has the client, which has the callback.
        let events = Arc::downgrade(&connection);
        let servers: Vec<&str> = servers.split(',').map(str::trim).collect();
        let client = options
            .subscription_capacity(MAX_WAITING)
            .ping_interval(PING_INTERVAL)
            .max_reconnects(None)
            .reconnect_delay_callback(|tries| {
                let tries = u32::try_from(tries).unwrap_or(u32::MAX);
                Duration::from_millis(20).saturating_mul(tries).min(MAX_RECONNECT_DELAY)
            })
            .event_callback(move |event| {
                let connection = events.upgrade();
                async move { connection.iter().for_each(|connection| connection.take(&event)) }
            })
            .connect(servers)
            .await?;
        let _first = connection.client.set(client.clone());
        Ok((client, connection))
    }

    /// Takes the event that the client has dropped, if its state shows one.
    pub(crate) fn correct(&self) {
        let Some(client) = self.client.get() else { return };
        let is_connected = client.connection_state() == State::Connected;
        if is_connected != self.is_open() {
            self.take(if is_connected { &Event::Connected } else { &Event::Disconnected });
        }
    }

    /// Returns true if there is a connection, as far as the client has noticed.
    pub(crate) fn is_open(&self) -> bool {
        self.lost.borrow().is_none()
    }

    /// Returns the time for which there has been no connection, or `None` while there is one.
    pub(crate) fn cut_for(&self) -> Option<Duration> {
        self.lost.borrow().map(|since| since.elapsed())
    }

    /// Waits until there is a connection. The client would keep requests until then, and send them late.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if there has been none for longer than a reconnect takes.
    pub(crate) async fn wait(&self) -> Result<(), Unavailable> {
        let mut lost = self.lost.subscribe();
        let Some(since) = *lost.borrow_and_update() else { return Ok(()) };
        let rest = MAX_RECONNECT.saturating_sub(since.elapsed());
        match timeout(rest, lost.wait_for(Option::is_none)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Unavailable::new("no connection to the servers of the stream")),
        }
    }

    /// Returns a number that grows with each connection that was lost, before a message is sent on the next one.
    pub(crate) fn losses(&self) -> u64 {
        let connects = |client: &Client| client.statistics().connects.load(Ordering::SeqCst);
        // The client counts its connections also if it drops their events.
        let reconnects = self.client.get().map(connects).unwrap_or_default().saturating_sub(1);
        self.losses.load(Ordering::SeqCst) + reconnects
    }

    /// Returns a receiver that changes with each event, after which notices may have been lost.
    pub(crate) fn events(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }

    /// Takes an event of the client.
    pub(crate) fn take(&self, event: &Event) {
        match event {
            Event::Connected => drop(self.lost.send_replace(None)),
            Event::Disconnected | Event::Closed => {
                if matches!(event, Event::Disconnected) {
                    tracing::warn!("connection to the servers of the stream lost; it is made again");
                }
                self.losses.fetch_add(1, Ordering::SeqCst);
                self.lost.send_modify(|lost| *lost = lost.or_else(|| Some(Instant::now())));
            }
            // There is an event for each message.
            Event::SlowConsumer(_) => {
                if let Some(suppressed) = self.lost_messages.permit(WARN_INTERVAL) {
                    tracing::warn!(
                        suppressed,
                        "messages of the servers lost; this server asks for what they said"
                    );
                }
            }
            _ => {}
        }
        self.events.send_modify(|events| *events += 1);
    }
}

impl Compared {
    /// Returns the number of reasons for a comparison. It is to be noted when one that begins now has ended.
    pub(crate) fn begin(&self, connection: &Connection) -> u64 {
        connection.losses() + self.doubts.load(Ordering::SeqCst)
    }

    /// Records that the stream was compared with what this node knows, for all reasons that were there then.
    pub(crate) fn note(&self, begun: u64) {
        self.noted.store(begun, Ordering::SeqCst);
    }

    /// Lets the stream be compared again before the next message is stored.
    pub(crate) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns true if the stream was compared since the connection was lost. It may be an older copy by now.
    pub(crate) fn is_current(&self, connection: &Connection) -> bool {
        self.noted.load(Ordering::SeqCst) == self.begin(connection)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::model::servers::Servers;

    #[test]
    fn a_comparison_from_before_a_loss_does_not_count() {
        let (connection, compared) = (Connection::default(), Compared::default());
        assert!(compared.is_current(&connection));
        let before = compared.begin(&connection);
        connection.take(&Event::Disconnected);
        connection.take(&Event::Connected);
        assert!(!compared.is_current(&connection));
        compared.note(before);
        assert!(!compared.is_current(&connection));
        let begun = compared.begin(&connection);
        compared.note(begun);
        assert!(compared.is_current(&connection));
        compared.doubt();
        compared.note(begun);
        assert!(!compared.is_current(&connection), "it began before the doubt");
    }

    /// Waits until this holds.
    async fn eventually(what: &str, holds: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < until, "{what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The client has no callback, as if it dropped all its events.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_connection_without_events_is_known_by_the_state_of_its_client() {
        let mut servers = Servers::start(1);
        let client = servers.ready().await;
        let connection = Connection { client: OnceLock::from(client), ..Connection::default() };
        let is_open = || {
            connection.correct();
            connection.is_open()
        };
        let mut before = connection.losses();
        for is_corrected in [true, false] {
            servers.kill(0);
            if is_corrected {
                eventually("the end of the connection", || !is_open()).await;
                assert!(connection.cut_for().is_some());
            }
            servers.revive(0);
            eventually("a loss", || connection.losses() > before + u64::from(is_corrected)).await;
            eventually("another connection", is_open).await;
            assert_eq!(connection.cut_for(), None);
            before = connection.losses();
        }
    }
}
