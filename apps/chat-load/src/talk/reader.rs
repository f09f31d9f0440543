//! Who reads a room, and checks what comes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_client::socket::Socket;
use chat_client::{ErrorCode, RawEvent, RoomName};
use parking_lot::Mutex;
use serde_json::value::RawValue;

use crate::check::{Ledger, Stream, Tally};
use crate::load::Load;

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: RoomName,
    pub(super) ledger: Ledger,
    /// Of each of its messages.
    pub(super) body: Arc<RawValue>,
}

/// One who reads a room, and all that came of it.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) load: Arc<Load>,
    pub(super) room: Arc<Room>,
    number: usize,
    stream: Mutex<Stream>,
    /// Its connection is gone for good.
    ended: AtomicBool,
    /// Whether its latencies count.
    measured: bool,
}

impl Reader {
    pub(super) fn new(load: &Arc<Load>, room: &Arc<Room>, number: usize, seq: u64, measured: bool) -> Self {
        Self {
            load: Arc::clone(load),
            room: Arc::clone(room),
            number,
            stream: Mutex::new(Stream::after(seq)),
            ended: AtomicBool::new(false),
            measured,
        }
    }

    /// Whether it has everything that there is, or nothing more will come.
    pub(super) fn has_arrived(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || self.stream.lock().reached(self.room.ledger.last())
    }

    /// A message came, with the key that its writer gave it, and the body that all have.
    pub(crate) fn take(&self, seq: u64, key: &str, body: &str) {
        let sent = key.split_once('.').and_then(|(n, due)| Some((n.parse().ok()?, due.parse().ok()?)));
        let agrees =
            sent.is_some_and(|(n, _)| self.room.ledger.agrees(seq, n)) && body == self.room.body.get();
        let mut stream = self.stream.lock();
        stream.take(seq);
        if !agrees {
            stream.altered();
        }
        drop(stream);
        self.load.delivered.fetch_add(1, Ordering::Relaxed);
        if let Some((_, due)) = sent.filter(|_| self.measured) {
            self.load.delivery.record(self.number, due);
        }
    }

    pub(crate) fn gap(&self, from: u64, to: u64) {
        self.stream.lock().gap(from, to);
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn tally(&self) -> Tally {
        self.stream.lock().tally(self.room.ledger.last())
    }

    pub(super) fn handle(&self, text: &str, unacknowledged: &mut HashMap<u64, u64>) {
        let Some(event) = RawEvent::parse(text) else {
            self.load.count("a frame that is no event".to_owned());
            return;
        };
        match &*event.kind {
            "message" if event.room == self.room.name.as_str() => {
                self.take(event.seq.unwrap_or(0), &event.key, event.body.map_or("", RawValue::get));
            }
            "gap" => self.gap(event.from.unwrap_or(0), event.to.unwrap_or(0)),
            "sent" => {
                let number = event.reference.parse().unwrap_or(u64::MAX);
                let Some(due) = unacknowledged.remove(&number) else {
                    self.load.count("acknowledged twice, or never sent".to_owned());
                    return;
                };
                self.load.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.load.acknowledge.record(self.number, due);
                if !self.room.ledger.agrees(event.seq.unwrap_or(0), number) {
                    self.stream.lock().altered();
                }
            }
            "error" => {
                let code = event.code.and_then(|code| serde_json::from_str::<&str>(code.get()).ok());
                self.load.refused(&ErrorCode::from(code.unwrap_or_default()));
            }
            _ => {}
        }
    }
}

pub(super) async fn read(reader: Arc<Reader>, mut socket: Socket) {
    let mut none = HashMap::new();
    loop {
        match socket.receive().await {
            Ok(text) => reader.handle(&text, &mut none),
            Err(lost) => {
                reader.load.lost(&lost);
                reader.end();
                return;
            }
        }
    }
}
