use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectOptions, Event};
use chat_core::Unavailable;
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

/// The state of the connection to the servers.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The time at which the connection was lost. `None` while there is one.
    lost: watch::Sender<Option<Instant>>,
    /// The number of connections that were lost.
    losses: AtomicU64,
    /// The number of events so far.
    events: watch::Sender<u64>,
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
        let events = Arc::clone(&connection);
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
                let events = Arc::clone(&events);
                async move { events.take(&event) }
            })
            .connect(servers)
            .await?;
        Ok((client, connection))
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

    /// Returns the number of connections that were lost.
    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
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
            Event::SlowConsumer(_) => tracing::warn!("notices of the stream lost; they are read from it"),
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
    use super::*;

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
}
