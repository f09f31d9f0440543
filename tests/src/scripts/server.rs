use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_core::{Action, Authorize, Chat, Forbidden, Limits, RateLimits, Role, RoomName, User, async_trait};

use super::play::play;
use super::step::{OWNER, Step};
use super::{
    DEFAULT_FOUND, DEFAULT_PAGE, MAX_BODY, MAX_ERRORS, MAX_FOUND, MAX_FRAME, MAX_PAGE, MAX_ROOMS, RETAINED,
};
use crate::{Adapter, Server, eventually};

/// A time limit that no script reaches.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A script whose result contradicts the model.
#[derive(Debug)]
pub struct Failure {
    adapter: Adapter,
    step: usize,
    why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, step {}: {}", self.adapter, self.step, self.why)
    }
}

/// A chat with small limits, served by one adapter.
#[derive(Debug)]
pub struct ScriptServer {
    adapter: Adapter,
    chat: Chat,
    server: Server,
}

impl ScriptServer {
    /// Starts a server for one script.
    pub async fn start(adapter: Adapter) -> Result<Self> {
        let mut limits = Limits::default();
        limits.wire.max_frame_bytes = MAX_FRAME;
        limits.wire.max_body_bytes = MAX_BODY;
        limits.wire.default_page_messages = usize::try_from(DEFAULT_PAGE)?;
        limits.wire.max_page_messages = usize::try_from(MAX_PAGE)?;
        limits.wire.default_search_messages = usize::try_from(DEFAULT_FOUND)?;
        limits.wire.max_search_messages = usize::try_from(MAX_FOUND)?;
        limits.connection.max_rooms = MAX_ROOMS;
        limits.connection.max_errors = MAX_ERRORS;
        limits.connection.error_window = HOUR;
        limits.connection.ping_interval = HOUR;
        limits.connection.write_timeout = HOUR;
        // The connection must not be reset before the client has read the close frame.
        limits.connection.close_timeout = Duration::from_secs(5);
        limits.rates = RateLimits::unlimited();
        limits.rooms.log_messages = usize::try_from(RETAINED)?;
        limits.rooms.tail_events = 5;
        limits.rooms.idle_timeout = HOUR;
        let chat = Chat::builder().limits(limits).authorize(Host).build();
        let server = Server::start(adapter, &chat).await?;
        Ok(Self { adapter, chat, server })
    }

    /// Plays a script. Returns the received events without their random parts.
    pub async fn play(&self, script: &[Step]) -> Result<Vec<String>, Failure> {
        let played = play(&self.chat, self.server.address(), script).await;
        played.map_err(|(step, why)| Failure { adapter: self.adapter, step, why: format!("{why:#}") })
    }

    /// Waits until no connection is left, and stops.
    pub async fn stop(self) -> Result<()> {
        eventually(|| async { Ok(self.chat.counts().connections == 0) })
            .await
            .context("a connection is left")?;
        drop(self.server);
        Ok(())
    }
}

/// Forbids the room `staff`, and has one owner.
struct Host;

#[async_trait]
impl Authorize for Host {
    async fn authorize(&self, _: &User, room: &RoomName, _: &Action<'_>) -> Result<(), Forbidden> {
        if room.as_str() == "staff" { Err(Forbidden::Rights) } else { Ok(()) }
    }

    async fn role(&self, user: &User, _: &RoomName) -> Result<Role, Forbidden> {
        Ok(if user.name() == OWNER { Role::Owner } else { Role::Member })
    }
}
