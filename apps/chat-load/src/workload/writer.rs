//! Writers, which also read their room.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_client::socket::{Received, Socket};
use tokio::sync::mpsc;

use super::pacer::DueMessage;
use super::reader::Reader;
use crate::clock;

/// The limit of messages that a writer has accepted and not yet written.
pub(super) const MAX_UNWRITTEN: usize = 256;

/// Writes the due messages. While `is_closed_loop_running`, it also writes a message after each acknowledgement.
pub(super) async fn write(
    reader: Arc<Reader>,
    mut socket: Socket,
    mut due_messages: mpsc::Receiver<DueMessage>,
    is_closed_loop_running: Arc<AtomicBool>,
) {
    let mut outbox = VecDeque::new();
    let mut unacknowledged = HashMap::new();
    loop {
        let writable = outbox.len() < MAX_UNWRITTEN;
        let received = tokio::select! {
            Some(message) = due_messages.recv(), if writable => {
                outbox.push_back(reader.room.command(message).into());
                unacknowledged.insert(message.number, message.due);
                continue;
            }
            received = poll_fn(|cx| socket.poll_exchange(cx, &mut outbox, true)) => received,
        };
        match received {
            Ok(Received::Text(text)) => {
                let before = unacknowledged.len();
                reader.handle(&text, &mut unacknowledged);
                if unacknowledged.len() < before && is_closed_loop_running.load(Ordering::Relaxed) {
                    let message = DueMessage { number: reader.load.next_message(), due: clock::now() };
                    outbox.push_back(reader.room.command(message).into());
                    unacknowledged.insert(message.number, message.due);
                }
            }
            Ok(Received::Control) => {}
            Err(lost) => {
                reader.load.record_lost(&lost);
                reader.end();
                return;
            }
        }
    }
}
