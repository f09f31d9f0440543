//! What a client decides: pure state, told what happened and when.

mod inbound;
#[cfg(test)]
mod simulation;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_proto::RoomName;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::place::{Phase, Place};
use crate::reply::{Ask, Reply};
use crate::{Command, Error, JoinFrom, Refusal};

/// The commands that wait for their replies, and how far each room has been read.
#[derive(Debug)]
pub(crate) struct State {
    command_timeout: Duration,
    references: Arc<AtomicU64>,
    places: HashMap<String, Place>,
    waiting: BTreeMap<u64, Waiting>,
    /// Frames for the connection there is.
    pub(crate) outbox: VecDeque<Utf8Bytes>,
    up: bool,
    /// Whether a place may be behind.
    lagging: bool,
    /// Whether a place may be held.
    holding: bool,
    /// When the server says that it will be back.
    pub(crate) advice: Option<Duration>,
    random: fn() -> u64,
}

/// A command that waits for its reply.
#[derive(Debug)]
pub(crate) struct Waiting {
    ask: Ask,
    frame: Utf8Bytes,
    reply: Option<oneshot::Sender<Result<Reply, Error>>>,
    deadline: Instant,
    /// Whether it was sent on this connection.
    sent: bool,
    /// Whether it may have been carried out, by an attempt that is over.
    unsure: bool,
}

impl Waiting {
    pub(crate) fn new(
        ask: Ask,
        frame: Utf8Bytes,
        reply: Option<oneshot::Sender<Result<Reply, Error>>>,
        deadline: Instant,
    ) -> Self {
        Self { ask, frame, reply, deadline, sent: false, unsure: false }
    }

    fn answer(self, answer: Result<Reply, Error>) {
        if let Some(reply) = self.reply {
            // Whoever asked may have gone.
            let _gone = reply.send(answer);
        }
    }

    fn refuse(self, refusal: Refusal) {
        let unsure = self.unsure && matches!(self.ask, Ask::Send(_));
        self.answer(Err(if unsure { Error::Unsure(refusal) } else { Error::Refused(refusal) }));
    }

    /// Its time is over; `refusal` is what its room says of messages.
    fn give_up(mut self, refusal: Option<Refusal>) {
        self.unsure |= self.sent;
        match refusal {
            Some(refusal) => self.refuse(refusal),
            None if self.unsure => self.answer(Err(Error::Timeout)),
            None => self.answer(Err(Error::NotConnected)),
        }
    }
}

impl State {
    pub(crate) fn new(command_timeout: Duration, references: Arc<AtomicU64>, random: fn() -> u64) -> Self {
        Self {
            command_timeout,
            references,
            places: HashMap::new(),
            waiting: BTreeMap::new(),
            outbox: VecDeque::new(),
            up: false,
            lagging: false,
            holding: false,
            advice: None,
            random,
        }
    }

    /// How many commands wait for their replies.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a consumer waits for a reply.
    pub(crate) fn owes(&self) -> bool {
        self.waiting.values().any(|waiting| !matches!(waiting.ask, Ask::Resume(_)))
    }

    /// When [`handle_time`](Self::handle_time) is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let first = self.waiting.first_key_value().map(|(_, waiting)| waiting.deadline);
        let held = if self.holding { self.held() } else { None };
        first.into_iter().chain(held).min()
    }

    /// When the first of the rooms that are held is tried again.
    fn held(&self) -> Option<Instant> {
        self.places.values().filter_map(|place| place.hold.as_ref()?.until()).min()
    }

    /// When [`catch_up`](Self::catch_up) is due; it takes room for events.
    pub(crate) fn catch_up_due(&self, now: Instant) -> Option<Instant> {
        if !(self.up && self.lagging) {
            return None;
        }
        let due = |place: &Place| match place.phase {
            Phase::Behind => Some(now),
            Phase::Held(until) => Some(until),
            _ => None,
        };
        self.places.values().filter_map(due).min()
    }

    /// A command is to be carried out.
    pub(crate) fn handle_command(&mut self, reference: u64, waiting: Waiting) {
        self.waiting.insert(reference, waiting);
        self.send_waiting(reference);
    }

    /// A frame without a reply is to be sent, if there is a connection.
    pub(crate) fn handle_notice(&mut self, frame: Utf8Bytes) {
        if self.up {
            self.outbox.push_back(frame);
        }
    }

    /// There is a connection: every room is resumed, then every command repeated.
    pub(crate) fn handle_connected(&mut self, now: Instant) {
        self.up = true;
        self.advice = None;
        self.catch_up(now);
        self.send_waiting(0);
    }

    /// The connection is lost. When the server says that it will be back.
    pub(crate) fn handle_lost(&mut self) -> Option<Duration> {
        self.up = false;
        self.outbox.clear();
        self.waiting.retain(|_, waiting| !matches!(waiting.ask, Ask::Resume(_)));
        for waiting in self.waiting.values_mut() {
            waiting.unsure |= waiting.sent;
            waiting.sent = false;
        }
        self.places.values_mut().for_each(Place::lose);
        self.advice.take()
    }

    /// Commands whose time is over are answered, and rooms that were held tried again. Whether the server owes the
    /// client a room.
    pub(crate) fn handle_time(&mut self, now: Instant) -> bool {
        let mut owed = false;
        while let Some(first) = self.waiting.first_entry().filter(|first| first.get().deadline <= now) {
            let waiting = first.remove();
            owed |= matches!(waiting.ask, Ask::Resume(_));
            let hold = match &waiting.ask {
                Ask::Send(room) => self.places.get(room.as_str()).and_then(|place| place.hold.as_ref()),
                _ => None,
            };
            waiting.give_up(hold.map(|hold| hold.refusal().clone()));
        }
        if self.holding {
            self.places
                .values_mut()
                .filter_map(|place| place.hold.as_mut())
                .for_each(|hold| hold.release(now));
            self.holding = self.held().is_some();
            self.send_waiting(0);
        }
        owed
    }

    /// Asks for the rooms that are behind, all after what was handed on.
    pub(crate) fn catch_up(&mut self, now: Instant) {
        if !self.up {
            return;
        }
        self.lagging = false;
        let mut behind = Vec::new();
        for place in self.places.values_mut() {
            match place.phase {
                Phase::Behind => {}
                Phase::Held(until) if until <= now => {}
                Phase::Held(_) => {
                    self.lagging = true;
                    continue;
                }
                _ => continue,
            }
            place.phase = Phase::Resuming { anew: false };
            behind.push((place.room.clone(), place.cursor()));
        }
        for (room, from) in behind {
            self.resume(room, &from, now);
        }
    }

    fn resume(&mut self, room: RoomName, from: &JoinFrom, now: Instant) {
        let reference = self.references.fetch_add(1, Ordering::Relaxed);
        let frame = Command::join(&room, from).with_ref(&reference.to_string()).encode();
        let frame = Utf8Bytes::from(frame);
        self.outbox.push_back(frame.clone());
        let waiting = Waiting::new(Ask::Resume(room), frame, None, now + self.command_timeout);
        self.waiting.insert(reference, Waiting { sent: true, ..waiting });
    }

    /// Sends the commands from `first` on that can be.
    fn send_waiting(&mut self, first: u64) {
        if !self.up {
            return;
        }
        for waiting in self.waiting.range_mut(first..).map(|(_, waiting)| waiting) {
            let place = waiting.ask.room().and_then(|room| self.places.get(room.as_str()));
            if !waiting.sent && place.is_none_or(|place| place.admits(&waiting.ask)) {
                self.outbox.push_back(waiting.frame.clone());
                waiting.sent = true;
            }
        }
    }
}
