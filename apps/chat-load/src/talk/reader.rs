//! Who reads a room, and checks what comes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_client::socket::Socket;
use chat_client::{Command, ErrorCode, RawEvent, RoomName};
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

impl Room {
    /// The command that sends a message, whose key says its number and when it was due.
    pub(super) fn send(&self, number: u64, due: u64) -> String {
        let (reference, key) = (number.to_string(), format!("{number}.{due}"));
        let body = RawValue::to_owned(&self.body);
        Command::Send { room: self.name.clone(), key: Some(key), body }.encode(Some(&reference))
    }

    /// Whether nobody has seen another message under this number.
    pub(super) fn agrees(&self, seq: u64, number: u64) -> bool {
        self.ledger.agrees(seq, number)
    }

    /// When this message was due, if it is the one that everybody else has seen under its number, with the body that
    /// all have.
    pub(crate) fn due(&self, seq: u64, key: &str, body: &str) -> Option<u64> {
        let (number, due) = key.split_once('.')?;
        let (number, due) = (number.parse().ok()?, due.parse().ok()?);
        (self.agrees(seq, number) && body == self.body.get()).then_some(due)
    }
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

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Whether it has everything that there is, or nothing more will come.
    pub(super) fn has_arrived(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || self.stream.lock().reached(self.room.ledger.last())
    }

    /// A message came, with the key that its writer gave it.
    pub(crate) fn take(&self, seq: u64, key: &str, body: &str) {
        let due = self.room.due(seq, key, body);
        let mut stream = self.stream.lock();
        stream.take(seq);
        if due.is_none() {
            stream.altered();
        }
        drop(stream);
        self.load.delivered.fetch_add(1, Ordering::Relaxed);
        if let Some(due) = due.filter(|_| self.measured) {
            self.load.came(self.number, due);
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
        match RawEvent::parse(text) {
            Ok(event) => self.note(&event, unacknowledged),
            Err(_) => self.load.count("a frame that is no event".to_owned()),
        }
    }

    /// Takes note of an event; of `sent` too, if it is in there.
    pub(crate) fn note(&self, event: &RawEvent<'_>, unacknowledged: &mut HashMap<u64, u64>) {
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
                if !self.room.agrees(event.seq.unwrap_or(0), number) {
                    self.stream.lock().altered();
                }
            }
            "error" => {
                self.load.refused(&event.error_code().unwrap_or_else(|| ErrorCode::from("")));
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
