//! Fills a room with messages before the measurement.

use std::collections::VecDeque;
use std::future::poll_fn;

use anyhow::{Context, Result, bail, ensure};
use chat_client::socket::Received;
use chat_client::{CloseCode, RawEvent};
use tokio::time::timeout;

use super::room::Room;
use super::writer::MAX_UNWRITTEN;
use crate::load::Load;

/// Writes `count` messages as fast as the server accepts them. They are not part of the figures.
pub(super) async fn fill(load: &Load, room: &Room, count: u64) -> Result<()> {
    let (mut socket, _) = load.member(0, &room.name).await?;
    let mut outbox = VecDeque::new();
    let (mut written, mut acknowledged) = (0, 0);
    while acknowledged < count {
        ensure!(!load.is_stopped(), "stopped while the room was filled");
        while written < count.min(acknowledged + MAX_UNWRITTEN as u64) {
            outbox.push_back(room.command(written, 0).into());
            written += 1;
        }
        let received = poll_fn(|cx| socket.poll_exchange(cx, &mut outbox, true));
        let received = timeout(load.common.patience, received).await.context("filling the room stalled")?;
        let Received::Text(text) = received.context("filling the room")? else { continue };
        let event = RawEvent::parse(&text).context("not an event")?;
        match &*event.kind {
            "sent" => {
                let number =
                    event.reference.parse().context("an acknowledgement of a message that was never sent")?;
                ensure!(
                    room.agrees(event.seq.unwrap_or(0), number),
                    "acknowledged at the seq of another message"
                );
                acknowledged += 1;
            }
            "error" => bail!("filling the room: {}", event.message),
            _ => {}
        }
        if acknowledged.is_multiple_of(256) {
            load.show_progress(&format!("{acknowledged} of {count} messages of history"));
        }
    }
    socket.close(CloseCode::Normal).await;
    Ok(())
}
