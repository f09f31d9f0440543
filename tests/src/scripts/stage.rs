use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_core::{Chat, Limits};

use super::play::play;
use super::step::Step;
use super::{
    ERRORS, FOUND_DEFAULT, FOUND_MOST, HISTORY_DEFAULT, HISTORY_MOST, KEPT, MAX_BODY, MAX_FRAME, ROOMS_MOST,
};
use crate::{Adapter, Server, within};

/// Longer than any script.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A script that an adapter did not play as the model says.
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

/// A chat of its own, served by one adapter.
#[derive(Debug)]
pub struct Stage {
    adapter: Adapter,
    chat: Chat,
    server: Server,
}

impl Stage {
    /// Serves a chat with few of everything, so that short scripts reach every limit.
    ///
    /// # Errors
    ///
    /// If there is no port.
    pub async fn set(adapter: Adapter) -> Result<Self> {
        let mut limits = Limits::default();
        limits.wire.max_frame_bytes = MAX_FRAME;
        limits.wire.max_body_bytes = MAX_BODY;
        limits.wire.default_page_messages = usize::try_from(HISTORY_DEFAULT)?;
        limits.wire.max_page_messages = usize::try_from(HISTORY_MOST)?;
        limits.wire.default_search_messages = usize::try_from(FOUND_DEFAULT)?;
        limits.wire.max_search_messages = usize::try_from(FOUND_MOST)?;
        limits.connection.max_rooms = ROOMS_MOST;
        limits.connection.max_errors = ERRORS;
        limits.connection.error_window = HOUR;
        limits.connection.ping_interval = HOUR;
        limits.connection.write_timeout = HOUR;
        // An adapter that cannot see whether the peer has read its close frame must not reset the connection before.
        limits.connection.close_timeout = Duration::from_secs(5);
        limits.rooms.log_messages = usize::try_from(KEPT)?;
        limits.rooms.tail_events = 5;
        limits.rooms.idle_timeout = HOUR;
        let chat = Chat::builder().limits(limits).build();
        let server = Server::start(adapter, &chat).await?;
        Ok(Self { adapter, chat, server })
    }

    /// Plays a script; what was told in each step, without what is random.
    ///
    /// # Errors
    ///
    /// Where it went another way than the model.
    pub async fn play(&self, script: &[Step]) -> Result<Vec<String>, Failure> {
        let played = play(&self.chat, self.server.address(), script).await;
        played.map_err(|(step, why)| Failure { adapter: self.adapter, step, why: format!("{why:#}") })
    }

    /// Waits until no connection is left.
    ///
    /// # Errors
    ///
    /// If one stays.
    pub async fn clear(self) -> Result<()> {
        until(|| self.chat.counts().connections == 0).await.context("a connection is left")?;
        drop(self.server);
        Ok(())
    }
}

/// Waits until something is so that nothing announces.
pub(super) async fn until(holds: impl Fn() -> bool) -> Result<()> {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}
