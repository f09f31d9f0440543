//! A room that has a history before anything is measured.

use std::collections::VecDeque;
use std::future::poll_fn;

use anyhow::{Context, Result, bail, ensure};
use chat_client::socket::Received;
use chat_client::{CloseCode, RawEvent};
use tokio::time::timeout;

use super::reader::Room;
use super::writer::UNWRITTEN;
use crate::load::Load;

/// Writes so many messages, as fast as the server takes them; they are in nobody's figures.
pub(super) async fn fill(load: &Load, room: &Room, count: u64) -> Result<()> {
    let (mut socket, _) = load.member(0, &room.name).await?;
    let mut outbox = VecDeque::new();
    let (mut written, mut acknowledged) = (0, 0);
    while acknowledged < count {
        ensure!(!load.is_stopped(), "stopped while the room was filled");
        while written < count.min(acknowledged + UNWRITTEN as u64) {
            outbox.push_back(room.send(written, 0).into());
            written += 1;
        }
        let received = poll_fn(|cx| socket.poll_exchange(cx, &mut outbox, true));
        let received = timeout(load.common.patience, received).await.context("filling the room stalled")?;
        let Received::Text(text) = received.context("filling the room")? else { continue };
        let event = RawEvent::parse(&text).context("no event")?;
        match &*event.kind {
            "sent" => {
                let number = event.reference.parse().context("acknowledged, and never sent")?;
                ensure!(room.agrees(event.seq.unwrap_or(0), number), "acknowledged under another's number");
                acknowledged += 1;
            }
            "error" => bail!("filling the room: {}", event.message),
            _ => {}
        }
        if acknowledged.is_multiple_of(256) {
            load.show(&format!("{acknowledged} of {count} messages of history"));
        }
    }
    socket.close(CloseCode::Normal).await;
    Ok(())
}
