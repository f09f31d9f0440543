//! The activity of followed rooms. No log has it, so the client asks for it again after it may have been missed.

use std::time::Duration;

use chat_proto::RoomName;
use chat_proto::command::Command;
use tokio::time::Instant;

use super::State;
use super::request::Request;
use crate::{ClientEvent, RoomsPage, ServerError};

/// The number of rooms in one page.
const PAGE_ROOMS: usize = 100;

/// The wait before a server is asked again that refused for now, if it gives no advice.
const WAIT: Duration = Duration::from_secs(1);

/// The longest such wait, even if the server advises a longer one.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The connection's knowledge of the rooms that the user follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Activity {
    /// The consumer has asked for no activity.
    #[default]
    Unused,
    /// The server sends it.
    Live,
    /// Some may have been missed.
    Missed,
    /// The same, but the server must not be asked before this time.
    Deferred(Instant),
    /// The server was asked. The flag says that some was missed since then.
    Asked { again: bool },
}

impl Activity {
    pub(super) fn start(&mut self) {
        if *self == Self::Unused {
            *self = Self::Live;
        }
    }

    pub(super) fn miss(&mut self) {
        match self {
            Self::Live => *self = Self::Missed,
            Self::Asked { again } => *again = true,
            Self::Unused | Self::Missed | Self::Deferred(_) => {}
        }
    }

    /// Handles the loss of the connection.
    pub(super) fn handle_lost(&mut self) {
        if *self != Self::Unused {
            *self = Self::Missed;
        }
    }

    /// Returns the time at which the server must be asked.
    pub(super) fn due(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Missed => Some(now),
            Self::Deferred(until) => Some(until),
            Self::Unused | Self::Live | Self::Asked { .. } => None,
        }
    }
}

impl State {
    pub(super) fn ask_for_activity(&mut self, after: Option<RoomName>, now: Instant) {
        self.activity = Activity::Asked { again: false };
        self.send_own(Request::MissedActivity, &Command::Rooms { after, limit: PAGE_ROOMS }, now);
    }

    /// Handles a page of the user's rooms. Without capacity, the server is asked again from the start.
    pub(super) fn handle_missed_activity(
        &mut self,
        page: RoomsPage,
        now: Instant,
        has_capacity: bool,
        events: &mut Vec<ClientEvent>,
    ) {
        let again = self.activity == (Activity::Asked { again: true });
        if !has_capacity || again {
            self.activity = Activity::Missed;
            self.lagging = true;
            return;
        }
        self.activity = Activity::Live;
        if let Some(last) = page.rooms.last().filter(|_| page.more) {
            self.ask_for_activity(Some(last.room.clone()), now);
        }
        events.push(ClientEvent::Rooms(page.rooms));
    }

    /// Handles a refusal of the user's rooms. A server that keeps no markers is not asked again.
    pub(super) fn handle_refused_activity(&mut self, error: &ServerError, now: Instant) {
        self.activity = if error.code.is_temporary() {
            self.lagging = true;
            Activity::Deferred(now + error.retry_after.unwrap_or(WAIT).min(MAX_WAIT))
        } else {
            Activity::Unused
        };
    }
}
