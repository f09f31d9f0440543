use std::collections::BTreeSet;

use anyhow::{Context, Result};
use chat_core::{Chat, Subscription};
use serde_json::Value;

use super::step::ROOMS;
use crate::{Server, eventually, within};

/// A node of the chat of a script, and the server in front of it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) chat: Chat,
    pub(super) server: Server,
    /// One of each room, with the newest entry that it has seen. It keeps the room open.
    watches: Vec<(Subscription, u64)>,
}

impl Node {
    /// A node of a chat that has no other one.
    pub(super) fn alone(chat: Chat, server: Server) -> Self {
        Self { chat, server, watches: Vec::new() }
    }

    /// One of several nodes.
    pub(super) async fn of_several(chat: Chat, server: Server) -> Result<Self> {
        let mut watches = Vec::new();
        for room in ROOMS {
            watches.push((chat.subscribe(&room.parse()?).await?, 0));
        }
        Ok(Self { chat, server, watches })
    }

    /// Waits until the node has heard of an entry of a room.
    pub(super) async fn reach(&mut self, room: usize, head: u64) -> Result<()> {
        let (watch, seen) = &mut self.watches[room];
        while *seen < head {
            let frame = within(watch.next_frame()).await?.context("the chat has ended")??;
            let event: Value = serde_json::from_slice(&frame)?;
            *seen = event["seq"].as_u64().or(event["to"].as_u64()).unwrap_or(*seen).max(*seen);
        }
        Ok(())
    }

    /// Waits until the node knows that these users are in a room.
    pub(super) async fn know(&self, room: usize, users: &BTreeSet<&str>) -> Result<()> {
        let room = ROOMS[room].parse()?;
        let known = || self.chat.members(&room);
        let is_known = || known().iter().map(|user| user.id().to_owned()).eq(users.iter().copied());
        eventually(|| async { Ok(is_known()) }).await.with_context(|| format!("known are {:?}", known()))
    }
}
