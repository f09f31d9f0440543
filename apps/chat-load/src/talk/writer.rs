//! Who writes into a room, and reads it as all do.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_client::socket::{Received, Socket};
use tokio::sync::mpsc;

use super::pacer::Token;
use super::reader::Reader;
use crate::clock;

/// Messages that a writer has taken and not yet written.
pub(super) const UNWRITTEN: usize = 256;

/// Writes what is due and, while this is `open`, the next message as soon as one is acknowledged.
pub(super) async fn write(
    reader: Arc<Reader>,
    mut socket: Socket,
    mut tokens: mpsc::Receiver<Token>,
    open: Arc<AtomicBool>,
) {
    let mut outbox = VecDeque::new();
    let mut unacknowledged = HashMap::new();
    loop {
        let writable = outbox.len() < UNWRITTEN;
        let received = tokio::select! {
            Some((number, due)) = tokens.recv(), if writable => {
                outbox.push_back(reader.room.send(number, due).into());
                unacknowledged.insert(number, due);
                continue;
            }
            received = poll_fn(|cx| socket.poll_exchange(cx, &mut outbox, true)) => received,
        };
        match received {
            Ok(Received::Text(text)) => {
                let before = unacknowledged.len();
                reader.handle(&text, &mut unacknowledged);
                if unacknowledged.len() < before && open.load(Ordering::Relaxed) {
                    let (number, due) = (reader.load.next(), clock::now());
                    outbox.push_back(reader.room.send(number, due).into());
                    unacknowledged.insert(number, due);
                }
            }
            Ok(Received::Control) => {}
            Err(lost) => {
                reader.load.lost(&lost);
                reader.end();
                return;
            }
        }
    }
}
