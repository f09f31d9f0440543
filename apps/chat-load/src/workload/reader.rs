//! Readers, which check the messages of a room.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_client::socket::Socket;
use chat_client::{Command, ErrorCode, RawEvent, RoomName};
use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::pacer::DueMessage;
use crate::check::{SeqTable, Stream, Tally};
use crate::load::Load;

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: RoomName,
    pub(super) seqs: SeqTable,
    /// The body of all messages.
    pub(super) body: Arc<RawValue>,
}

impl Room {
    /// Returns the command that sends a message. The key contains the number and the due time.
    pub(super) fn command(&self, DueMessage { number, due }: DueMessage) -> String {
        let (reference, key) = (number.to_string(), format!("{number}.{due}"));
        let body = RawValue::to_owned(&self.body);
        Command::Send { room: self.name.clone(), key: Some(key), body }.encode(Some(&reference))
    }

    /// Records a message at a `seq`. Returns false if another message is recorded there.
    pub(super) fn agrees(&self, seq: u64, number: u64) -> bool {
        self.seqs.agrees(seq, number)
    }

    /// Returns the due time of a message, or `None` if its key or body is wrong, or another message is recorded at its
    /// `seq`.
    pub(crate) fn due(&self, seq: u64, key: &str, body: &str) -> Option<u64> {
        let (number, due) = key.split_once('.')?;
        let (number, due) = (number.parse().ok()?, due.parse().ok()?);
        (self.agrees(seq, number) && body == self.body.get()).then_some(due)
    }
}

/// A reader of a room, and the result of its checks.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) load: Arc<Load>,
    pub(super) room: Arc<Room>,
    number: usize,
    stream: Mutex<Stream>,
    /// True if the connection has ended for good.
    ended: AtomicBool,
    /// True if its latencies are recorded.
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

    /// Returns true if it has received every message, or its connection has ended.
    pub(super) fn is_done(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || self.stream.lock().reached(self.room.seqs.last())
    }

    /// Checks a message.
    pub(crate) fn receive(&self, seq: u64, key: &str, body: &str) {
        let due = self.room.due(seq, key, body);
        let mut stream = self.stream.lock();
        stream.receive(seq);
        if due.is_none() {
            stream.count_altered();
        }
        drop(stream);
        self.load.delivered.fetch_add(1, Ordering::Relaxed);
        if let Some(due) = due.filter(|_| self.measured) {
            self.load.record_delivery(self.number, due);
        }
    }

    pub(crate) fn gap(&self, from: u64, to: u64) {
        self.stream.lock().gap(from, to);
    }

    /// Records that the connection has ended for good.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn tally(&self) -> Tally {
        self.stream.lock().tally(self.room.seqs.last())
    }

    pub(super) fn handle(&self, text: &str, unacknowledged: &mut HashMap<u64, u64>) {
        match RawEvent::parse(text) {
            Ok(event) => self.record(&event, unacknowledged),
            Err(_) => self.load.record_ending("a frame that is not an event".to_owned()),
        }
    }

    /// Records an event. `unacknowledged` has the due times of the own messages by number.
    pub(crate) fn record(&self, event: &RawEvent<'_>, unacknowledged: &mut HashMap<u64, u64>) {
        match &*event.kind {
            "message" if event.room == self.room.name.as_str() => {
                self.receive(event.seq.unwrap_or(0), &event.key, event.body.map_or("", RawValue::get));
            }
            "gap" => self.gap(event.from.unwrap_or(0), event.to.unwrap_or(0)),
            "sent" => {
                let number = event.reference.parse().unwrap_or(u64::MAX);
                let Some(due) = unacknowledged.remove(&number) else {
                    self.load.record_ending("acknowledged twice or never sent".to_owned());
                    return;
                };
                self.load.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.load.acknowledge.record(self.number, due);
                if !self.room.agrees(event.seq.unwrap_or(0), number) {
                    self.stream.lock().count_altered();
                }
            }
            "error" => {
                self.load.record_refusal(&event.error_code().unwrap_or_else(|| ErrorCode::from("")));
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
                reader.load.record_lost(&lost);
                reader.end();
                return;
            }
        }
    }
}
