//! The driver's handling of the network's events.

use chat_proto::CloseCode;
use tokio::time::Instant;

use super::connection::{ConnState, NetEvent};
use super::{Driver, random};
use crate::socket::{Received, Socket};
use crate::{ClientEvent, Closed, ConnectError, Lost};

impl Driver {
    pub(super) fn handle_network(&mut self, event: NetEvent) -> Result<(), Closed> {
        match event {
            NetEvent::Received(received) => self.handle_received(received),
            NetEvent::Lost(lost) => self.handle_lost(lost),
            NetEvent::Connected(connected) => self.handle_connected(connected),
        }
    }

    fn handle_received(&mut self, received: Received) -> Result<(), Closed> {
        let now = Instant::now();
        self.heard = now;
        self.pinged = false;
        let Received::Text(text) = received else { return Ok(()) };
        let mut events = Vec::new();
        let has_capacity = self.has_capacity();
        let handled = self.state.handle_text(&text, now, has_capacity, &mut events);
        events.into_iter().for_each(|event| self.deliver(event));
        if std::mem::take(&mut self.state.expires)
            && let Some(token) = &self.target.token
        {
            self.state.renew(token.newest(), now);
        }
        handled.or_else(|violation| self.handle_lost(Lost::Violation(violation)))
    }

    fn handle_connected(&mut self, connected: Result<Box<Socket>, ConnectError>) -> Result<(), Closed> {
        let now = Instant::now();
        match connected {
            Ok(socket) => {
                self.connection = ConnState::Connected(socket);
                self.heard = now;
                self.pinged = false;
                self.backoff.handle_connected(now - self.started);
                self.deliver(ClientEvent::Reconnected);
                self.state.handle_connected(now);
                Ok(())
            }
            Err(error) if error.is_temporary() => {
                let since = now - self.started;
                let wait = match error {
                    ConnectError::Refused { retry_after, .. } => {
                        self.backoff.handle_refusal(since, retry_after, random())
                    }
                    ConnectError::Ended { reconnect_in, .. } => {
                        self.backoff.handle_failure(since, reconnect_in, random())
                    }
                    _ => self.backoff.handle_failure(since, None, random()),
                };
                let Some(retry_in) = wait else { return Err(Closed::GaveUp(error)) };
                self.connection = ConnState::Waiting { until: now + retry_in };
                // A consumer that does not read needs the last failure only.
                self.overflow.retain(|event| !matches!(event, ClientEvent::ReconnectFailed { .. }));
                self.deliver(ClientEvent::ReconnectFailed { error, retry_in });
                Ok(())
            }
            Err(error) => Err(Closed::Refused(error)),
        }
    }

    pub(super) fn handle_lost(&mut self, lost: Lost) -> Result<(), Closed> {
        let now = Instant::now();
        let connection = std::mem::replace(&mut self.connection, ConnState::Waiting { until: now });
        // The closing handshake does not delay the next connection.
        match (connection, &lost) {
            (ConnState::Connected(socket), Lost::Close { .. }) => drop(tokio::spawn(socket.finish())),
            (ConnState::Connected(socket), Lost::Violation(_)) => {
                drop(tokio::spawn(socket.close(CloseCode::ProtocolError)));
            }
            _ => {}
        }
        let advice = self.state.handle_lost();
        if !lost.allows_reconnect(self.target.token.is_some()) {
            return Err(Closed::Lost(lost));
        }
        let wait = self.backoff.handle_lost(now - self.started, advice, random());
        let Some(retry_in) = wait else { return Err(Closed::Lost(lost)) };
        self.connection = ConnState::Waiting { until: now + retry_in };
        // A consumer that has not read the events of the last connection does not need them any more.
        let is_of_connection = |event: &ClientEvent| {
            use ClientEvent::{Disconnected, ReconnectFailed, Reconnected};
            matches!(event, Disconnected { .. } | ReconnectFailed { .. } | Reconnected)
        };
        self.overflow.retain(|event| !is_of_connection(event));
        self.deliver(ClientEvent::Disconnected { lost, retry_in });
        Ok(())
    }
}
