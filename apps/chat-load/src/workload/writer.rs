//! Writers, which also read their room.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_client::socket::{Received, Socket};
use tokio::sync::mpsc;

use super::mark::Mark;
use super::pacer::DueMessages;
use super::reader::Reader;
use super::room::Room;
use crate::clock;

/// The limit of messages that a writer has accepted and not yet written.
pub(super) const MAX_UNWRITTEN: usize = 256;

/// The messages that a writer has sent.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The number of the writer in its room.
    pub(super) writer: usize,
    /// The due times of the unacknowledged messages by number.
    pub(super) unacknowledged: HashMap<u64, u64>,
    count: u64,
    /// The position of the last own message that came back.
    last: u64,
}

impl Sent {
    pub(super) fn by(writer: usize) -> Self {
        Self { writer, ..Self::default() }
    }

    /// Returns the frame of the next message.
    fn next(&mut self, room: &Room, number: u64, due: u64) -> String {
        self.count += 1;
        self.unacknowledged.insert(number, due);
        room.start(Mark { writer: self.writer, position: self.count, number, due })
    }

    /// Records that an own message came back. Returns false if a later one came before.
    pub(super) fn is_next(&mut self, position: u64) -> bool {
        let is_next = position > self.last;
        self.last = self.last.max(position);
        is_next
    }
}

/// Writes the due messages. While `is_closed_loop_running`, it also writes a message after each acknowledgement.
pub(super) async fn write(
    reader: Arc<Reader>,
    mut sent: Sent,
    mut socket: Socket,
    mut due_messages: mpsc::Receiver<DueMessages>,
    is_closed_loop_running: Arc<AtomicBool>,
) {
    let mut outbox = VecDeque::new();
    loop {
        let writable = outbox.len() < MAX_UNWRITTEN;
        let received = tokio::select! {
            Some(DueMessages { first, count, due }) = due_messages.recv(), if writable => {
                outbox.extend((first..first + count).map(|number| sent.next(&reader.room, number, due).into()));
                continue;
            }
            received = poll_fn(|cx| socket.poll_exchange(cx, &mut outbox, true)) => received,
        };
        match received {
            Ok(Received::Text(text)) => {
                let before = sent.unacknowledged.len();
                outbox.extend(reader.handle(&text, Some(&mut sent)).map(Into::into));
                if sent.unacknowledged.len() < before && is_closed_loop_running.load(Ordering::Relaxed) {
                    let number = reader.load.next_messages(1);
                    outbox.push_back(sent.next(&reader.room, number, clock::now()).into());
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
