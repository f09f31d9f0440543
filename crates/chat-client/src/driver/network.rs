//! What a driver makes of the network's turns.

use tokio::time::Instant;

use super::{Driver, random};
use crate::link::{Link, Turn};
use crate::socket::{Received, Socket};
use crate::{Closed, ConnectError, Event, Lost};

impl Driver {
    pub(super) fn handle_turn(&mut self, turn: Turn) -> Result<(), Closed> {
        match turn {
            Turn::Received(received) => self.handle_received(received),
            Turn::Lost(lost) => self.handle_lost(lost),
            Turn::Connected(connected) => self.handle_connected(connected),
        }
    }

    fn handle_received(&mut self, received: Received) -> Result<(), Closed> {
        let now = Instant::now();
        self.heard = now;
        self.pinged = false;
        let Received::Text(text) = received else { return Ok(()) };
        let mut events = Vec::new();
        let room = self.has_room();
        let read = self.state.handle_text(&text, now, room, &mut events);
        events.into_iter().for_each(|event| self.hand_on(event));
        read.or_else(|breach| self.handle_lost(Lost::Breach(breach)))
    }

    fn handle_connected(&mut self, connected: Result<Box<Socket>, ConnectError>) -> Result<(), Closed> {
        let now = Instant::now();
        match connected {
            Ok(socket) => {
                self.link = Link::Up(socket);
                self.heard = now;
                self.pinged = false;
                self.backoff.handle_connected(now - self.started);
                self.hand_on(Event::Reconnected);
                self.state.handle_connected(now);
                Ok(())
            }
            Err(error) if error.is_temporary() => {
                let advice = match error {
                    ConnectError::Refused { retry_after, .. } => retry_after,
                    _ => None,
                };
                let wait = self.backoff.handle_failure(now - self.started, advice, random());
                let wait = wait.ok_or(Closed::GaveUp(error))?;
                self.link = Link::Down { until: now + wait };
                Ok(())
            }
            Err(error) => Err(Closed::Refused(error)),
        }
    }

    pub(super) fn handle_lost(&mut self, lost: Lost) -> Result<(), Closed> {
        let now = Instant::now();
        let link = std::mem::replace(&mut self.link, Link::Down { until: now });
        // Neither keeps the next connection waiting.
        match (link, &lost) {
            (Link::Up(socket), Lost::Close { .. }) => drop(tokio::spawn(socket.finish())),
            (Link::Up(socket), Lost::Breach(_)) => drop(tokio::spawn(socket.close(1002))),
            _ => {}
        }
        let advice = self.state.handle_lost();
        if !lost.is_temporary() {
            return Err(Closed::Lost(lost));
        }
        let wait = self.backoff.handle_lost(now - self.started, advice, random());
        let Some(retry_in) = wait else { return Err(Closed::Lost(lost)) };
        self.link = Link::Down { until: now + retry_in };
        // A consumer that has not read of the last connection needs not read of two.
        self.overflow.retain(|event| !matches!(event, Event::Disconnected { .. } | Event::Reconnected));
        self.hand_on(Event::Disconnected { lost, retry_in });
        Ok(())
    }
}
