//! Who writes into a room, and reads it as all do.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;

use chat_client::Command;
use chat_client::socket::{Received, Socket};
use tokio::sync::mpsc;

use super::pacer::Token;
use super::reader::Reader;

/// Messages that a writer has taken and not yet written.
const UNWRITTEN: usize = 256;

pub(super) async fn write(reader: Arc<Reader>, mut socket: Socket, mut tokens: mpsc::Receiver<Token>) {
    let mut outbox = VecDeque::new();
    let mut unacknowledged = HashMap::new();
    loop {
        let writable = outbox.len() < UNWRITTEN;
        let received = tokio::select! {
            Some((number, due)) = tokens.recv(), if writable => {
                let (reference, key) = (number.to_string(), format!("{number}.{due}"));
                let command = Command::send(&reader.room.name, Some(&key), &reader.room.body).with_ref(&reference);
                outbox.push_back(command.encode().into());
                unacknowledged.insert(number, due);
                continue;
            }
            received = poll_fn(|cx| socket.poll_exchange(cx, &mut outbox, true)) => received,
        };
        match received {
            Ok(Received::Text(text)) => reader.handle(&text, &mut unacknowledged),
            Ok(Received::Other) => {}
            Err(lost) => {
                reader.load.lost(&lost);
                reader.end();
                return;
            }
        }
    }
}
