//! Readers, which check the messages of a room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_client::socket::Socket;
use chat_client::{ErrorCode, RawEvent};
use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::mark::Mark;
use super::room::{Frame, Room};
use super::writer::Sent;
use crate::check::{Stream, Tally};
use crate::load::Load;
use crate::options::Protocol;
use crate::report::FaultyMember;

/// A reader of a room, and the result of its checks.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) load: Arc<Load>,
    pub(super) room: Arc<Room>,
    number: usize,
    /// One stream for each table of the room.
    streams: Mutex<Vec<Stream>>,
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
            streams: Mutex::new(room.tables.iter().map(|_| Stream::after(seq)).collect()),
            ended: AtomicBool::new(false),
            measured,
        }
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Returns true if it has received every message, or its connection has ended.
    pub(super) fn is_done(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
            || self
                .streams
                .lock()
                .iter()
                .zip(&self.room.tables)
                .all(|(stream, table)| stream.reached(table.last()))
    }

    /// Checks a message whose identity is in its key.
    pub(crate) fn receive(&self, seq: u64, key: &str, body: &str) {
        self.count(0, seq, self.room.due(seq, key, body));
    }

    /// Counts a message at a position of a stream. `due` is `None` if it is not the message of this position.
    fn count(&self, stream: usize, seq: u64, due: Option<u64>) {
        let mut streams = self.streams.lock();
        streams[stream].receive(seq);
        if due.is_none() {
            streams[stream].count_altered();
        }
        drop(streams);
        self.load.delivered.fetch_add(1, Ordering::Relaxed);
        if let Some(due) = due.filter(|_| self.measured) {
            self.load.record_delivery(self.number, due);
        }
    }

    /// Counts a message whose identity is in its text.
    fn count_marked(&self, stream: usize, seq: u64, mark: Option<Mark>) {
        let mark = mark.filter(|mark| self.room.tables[stream].agrees(seq, mark.number));
        self.count(stream, seq, mark.map(|mark| mark.due));
    }

    pub(crate) fn gap(&self, from: u64, to: u64) {
        self.streams.lock()[0].gap(from, to);
    }

    /// Records that the connection has ended for good.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for (stream, table) in self.streams.lock().iter().zip(&self.room.tables) {
            all.add(&stream.tally(table.last()));
        }
        all
    }

    /// Returns the result, if a check failed.
    pub(super) fn faults(&self) -> Option<FaultyMember> {
        let deliveries = self.tally();
        let room = self.room.name.as_str().to_owned();
        (!deliveries.is_correct()).then_some(FaultyMember { room, member: self.number, deliveries })
    }

    /// Checks a frame. `sent` is present if the reader writes, too. Returns the reply that the frame expects.
    pub(super) fn handle(&self, text: &str, sent: Option<&mut Sent>) -> Option<&'static str> {
        match self.room.protocol {
            Protocol::Chat | Protocol::ChatBare => match RawEvent::parse(text) {
                Ok(event) => self.record(&event, sent),
                Err(_) => self.load.record_ending("a frame that is not an event".to_owned()),
            },
            Protocol::Plain | Protocol::Socketio => match self.room.parse(text) {
                Frame::Message(Some(mark)) => {
                    self.count_marked(mark.writer, mark.position, Some(mark));
                    self.acknowledge_own(mark, sent);
                }
                Frame::Message(None) => self.streams.lock()[0].count_altered(),
                Frame::Ping(reply) => return Some(reply),
            },
        }
        None
    }

    /// Checks an event. `sent` is present if the reader writes, too.
    pub(crate) fn record(&self, event: &RawEvent<'_>, sent: Option<&mut Sent>) {
        match &*event.kind {
            "message" if event.room == self.room.name.as_str() => {
                let (seq, body) = (event.seq.unwrap_or(0), event.body.map_or("", RawValue::get));
                if self.room.protocol == Protocol::Chat {
                    self.receive(seq, &event.key, body);
                } else {
                    let mark = self.room.mark_of_body(body);
                    self.count_marked(0, seq, mark);
                    if let Some(mark) = mark {
                        self.acknowledge_own(mark, sent);
                    }
                }
            }
            "gap" => self.gap(event.from.unwrap_or(0), event.to.unwrap_or(0)),
            // Without a `ref`, it does not say which message it acknowledges.
            "sent" if self.room.protocol == Protocol::ChatBare => {}
            "sent" => {
                let number = event.reference.parse().unwrap_or(u64::MAX);
                if self.acknowledge(number, sent) && !self.room.agrees(event.seq.unwrap_or(0), number) {
                    self.streams.lock()[0].count_altered();
                }
            }
            "error" => {
                self.load.record_refusal(&event.error_code().unwrap_or_else(|| ErrorCode::from("")));
            }
            _ => {}
        }
    }

    /// Acknowledges a message, if it is an own one. Own messages must come back in their order.
    fn acknowledge_own(&self, mark: Mark, sent: Option<&mut Sent>) {
        if let Some(sent) = sent.filter(|sent| sent.writer == mark.writer) {
            if !sent.is_next(mark.position) {
                self.load.record_ending("an own message that came out of order".to_owned());
            }
            self.acknowledge(mark.number, Some(sent));
        }
    }

    /// Returns false if the message is not unacknowledged.
    fn acknowledge(&self, number: u64, sent: Option<&mut Sent>) -> bool {
        let Some(due) = sent.and_then(|sent| sent.unacknowledged.remove(&number)) else {
            self.load.record_ending("acknowledged twice or never sent".to_owned());
            return false;
        };
        self.load.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.load.acknowledge.record(self.number, due);
        true
    }
}

pub(super) async fn read(reader: Arc<Reader>, mut socket: Socket) {
    loop {
        let handled = match socket.receive().await {
            Ok(text) => match reader.handle(&text, None) {
                Some(reply) => socket.send(reply).await,
                None => Ok(()),
            },
            Err(lost) => Err(lost),
        };
        if let Err(lost) = handled {
            reader.load.record_lost(&lost);
            reader.end();
            return;
        }
    }
}
