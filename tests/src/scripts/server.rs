use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_core::{Action, Authorize, Chat, Forbidden, Limits, RateLimits, Role, RoomName, User, async_trait};

use super::node::Node;
use super::play::play;
use super::step::{OWNER, Step};
use super::{
    DEFAULT_FOUND, DEFAULT_PAGE, MAX_BODY, MAX_ERRORS, MAX_FOUND, MAX_FRAME, MAX_PAGE, MAX_ROOMS, RETAINED,
};
use crate::{Adapter, ChatNodes, Server, eventually};

/// A time limit that no script reaches.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A script whose result contradicts the model.
#[derive(Debug)]
pub struct Failure {
    adapters: Vec<Adapter>,
    step: usize,
    why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, step {}: {}", self.adapters, self.step, self.why)
    }
}

/// A chat with small limits, served by one adapter, or by one for each of its nodes.
#[derive(Debug)]
pub struct ScriptServer {
    adapters: Vec<Adapter>,
    nodes: Vec<Node>,
    shared: Option<ChatNodes>,
}

impl ScriptServer {
    /// Starts a server for one script.
    pub async fn start(adapter: Adapter) -> Result<Self> {
        let chat = Chat::builder().limits(limits()?).authorize(Host).build();
        let server = Server::start(adapter, &chat).await?;
        Ok(Self { adapters: vec![adapter], nodes: vec![Node::alone(chat, server)], shared: None })
    }

    /// Starts a node with each of these adapters for one script, in a stream at the address of a
    /// [`Nats`](crate::Nats).
    pub async fn start_nodes(adapters: Vec<Adapter>, nats: &str) -> Result<Self> {
        let limits = limits()?;
        let shared = ChatNodes::open(nats, adapters.len(), &limits).await?;
        let (mut nodes, mut chats) = (Vec::new(), Vec::new());
        for builder in shared.builders(|bus| bus)? {
            chats.push(builder.limits(limits.clone()).authorize(Host).build());
        }
        shared.know_each_other().await?;
        for (adapter, chat) in adapters.iter().zip(chats) {
            let server = Server::start(*adapter, &chat).await?;
            nodes.push(Node::of_several(chat, server).await?);
        }
        Ok(Self { adapters, nodes, shared: Some(shared) })
    }

    /// Plays a script. Returns the received events without their random parts.
    pub async fn play(&mut self, script: &[Step]) -> Result<Vec<String>, Failure> {
        let played = play(&mut self.nodes, script).await;
        let failed = |(step, why)| Failure { adapters: self.adapters.clone(), step, why: format!("{why:#}") };
        played.map_err(failed)
    }

    /// Waits until no connection is left, and stops.
    pub async fn stop(self) -> Result<()> {
        let chats: Vec<_> = self.nodes.iter().map(|node| node.chat.clone()).collect();
        let are_gone = || chats.iter().all(|chat| chat.counts().connections == 0);
        eventually(|| async { Ok(are_gone()) }).await.context("a connection is left")?;
        drop(self.nodes);
        match self.shared {
            Some(shared) => shared.close().await,
            None => Ok(()),
        }
    }
}

/// Returns the limits of a chat for scripts.
fn limits() -> Result<Limits> {
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
    // The model lets a user leave with the last connection.
    limits.nodes.leave_grace = Duration::ZERO;
    Ok(limits)
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
