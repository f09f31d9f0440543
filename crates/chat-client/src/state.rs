//! What a client decides: pure state, told what happened and when.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_proto::RoomName;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::place::{Next, Phase, Place};
use crate::raw::part;
use crate::reply::{Ask, Reply};
use crate::{Command, Error, ErrorCode, Event, JoinFrom, Joined, Message, RawEvent, Refusal, User};

/// How long a room that is not available now is left alone, where the server does not say.
const HOLD: Duration = Duration::from_secs(1);

/// The longest that it is left alone, whatever the server says.
const MAX_HOLD: Duration = Duration::from_secs(60);

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
    /// When the server says that it will be back.
    pub(crate) advice: Option<Duration>,
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
    /// Whether it was ever sent.
    tried: bool,
}

impl Waiting {
    pub(crate) fn new(
        ask: Ask,
        frame: Utf8Bytes,
        reply: Option<oneshot::Sender<Result<Reply, Error>>>,
        deadline: Instant,
    ) -> Self {
        Self { ask, frame, reply, deadline, sent: false, tried: false }
    }

    fn answer(self, answer: Result<Reply, Error>) {
        if let Some(reply) = self.reply {
            // Whoever asked may have gone.
            let _gone = reply.send(answer);
        }
    }
}

impl State {
    pub(crate) fn new(command_timeout: Duration, references: Arc<AtomicU64>) -> Self {
        Self {
            command_timeout,
            references,
            places: HashMap::new(),
            waiting: BTreeMap::new(),
            outbox: VecDeque::new(),
            up: false,
            lagging: false,
            advice: None,
        }
    }

    /// How many commands wait for their replies.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// When [`handle_time`](Self::handle_time) is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, waiting)| waiting.deadline)
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
        self.lagging = !self.places.is_empty();
        self.catch_up(now);
        self.send_waiting(0);
    }

    /// The connection is lost. When the server says that it will be back.
    pub(crate) fn handle_lost(&mut self) -> Option<Duration> {
        self.up = false;
        self.outbox.clear();
        self.waiting.retain(|_, waiting| !matches!(waiting.ask, Ask::Resume(_)));
        for waiting in self.waiting.values_mut() {
            waiting.sent = false;
        }
        self.places.values_mut().for_each(Place::lose);
        self.advice.take()
    }

    /// Commands whose time is over are answered. Whether the server owes the client a room.
    pub(crate) fn handle_time(&mut self, now: Instant) -> bool {
        let mut owed = false;
        while let Some(first) = self.waiting.first_entry().filter(|first| first.get().deadline <= now) {
            let waiting = first.remove();
            owed |= matches!(waiting.ask, Ask::Resume(_));
            let error = if waiting.tried { Error::Timeout } else { Error::NotConnected };
            waiting.answer(Err(error));
        }
        owed
    }

    /// A text frame came. What is to be handed on is added to `events`; without `room` for that, the rooms that
    /// it is about fall behind, and are asked for again.
    ///
    /// # Errors
    ///
    /// What the server did that `chat.v1` forbids.
    pub(crate) fn handle_text(
        &mut self,
        text: &str,
        now: Instant,
        room: bool,
        events: &mut Vec<Event>,
    ) -> Result<(), &'static str> {
        let raw = RawEvent::parse(text).ok_or("a frame that is no event")?;
        if !raw.reference.is_empty() {
            return self.handle_reply(&raw, now, room, events);
        }
        match &*raw.kind {
            "message" => self.handle_message(&raw, room, events),
            "gap" => {
                let to = raw.to.ok_or("a bad gap")?;
                if let Some(place) = self.places.get_mut(&*raw.room) {
                    if !room {
                        place.fall_behind();
                        self.lagging = true;
                    } else if let Some(from) = place.skip(&raw.epoch, to) {
                        events.push(gap(place, from, to));
                    }
                }
                Ok(())
            }
            "presence" | "typing" if room => {
                events.extend(self.bystander(&raw));
                Ok(())
            }
            "closing" => {
                self.advice = raw.reconnect_in_ms.map(Duration::from_millis);
                Ok(())
            }
            "error" => {
                let refusal = Refusal::read(&raw).ok_or("a bad error")?;
                events.extend(room.then_some(Event::Error(refusal)));
                Ok(())
            }
            // Of a later protocol, or there was no room.
            _ => Ok(()),
        }
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

    /// Sends the commands from `first` on that can be: those about a room that is to be resumed come after that.
    fn send_waiting(&mut self, first: u64) {
        if !self.up {
            return;
        }
        for waiting in self.waiting.range_mut(first..).map(|(_, waiting)| waiting) {
            let place = waiting.ask.room().and_then(|room| self.places.get(room.as_str()));
            if !waiting.sent && place.is_none_or(|place| place.present) {
                self.outbox.push_back(waiting.frame.clone());
                (waiting.sent, waiting.tried) = (true, true);
            }
        }
    }

    fn handle_message(
        &mut self,
        raw: &RawEvent<'_>,
        room: bool,
        events: &mut Vec<Event>,
    ) -> Result<(), &'static str> {
        const BAD: &str = "a bad message";
        // One of a room that was never joined, or left, is nobody's.
        let Some(place) = self.places.get_mut(&*raw.room) else { return Ok(()) };
        if !room {
            place.fall_behind();
            self.lagging = true;
            return Ok(());
        }
        let seq = raw.seq.ok_or(BAD)?;
        let next = place.take(seq);
        match next {
            Next::Take => {}
            Next::Drop => {
                self.lagging |= place.phase == Phase::Behind;
                return Ok(());
            }
            Next::TakeAfterGap(from) => events.push(gap(place, from, seq - 1)),
        }
        events.push(Event::Message(Message::read(raw, &place.room, &place.epoch).ok_or(BAD)?));
        Ok(())
    }

    fn bystander(&self, raw: &RawEvent<'_>) -> Option<Event> {
        let room = self.places.get(&*raw.room)?.room.clone();
        let user: User = part(raw.user)?;
        match &*raw.kind {
            "presence" => Some(Event::Presence { room, user, joined: raw.state == "joined" }),
            _ => Some(Event::Typing { room, user, active: raw.active? }),
        }
    }

    fn handle_reply(
        &mut self,
        raw: &RawEvent<'_>,
        now: Instant,
        room: bool,
        events: &mut Vec<Event>,
    ) -> Result<(), &'static str> {
        let reference = raw.reference.parse().map_err(|_| "a reply to nothing")?;
        // The time of a command may have been over.
        let Some(waiting) = self.waiting.remove(&reference) else { return Ok(()) };
        if raw.kind == "error" {
            let refusal = Refusal::read(raw).ok_or("a bad error")?;
            match waiting.ask {
                Ask::Resume(room) => self.handle_refused_resume(&room, refusal, now, events),
                _ => waiting.answer(Err(Error::Refused(refusal))),
            }
            return Ok(());
        }
        let place = waiting.ask.room().and_then(|room| self.places.get(room.as_str()));
        let epoch = place.map_or_else(|| Arc::from(""), |place| Arc::clone(&place.epoch));
        let reply = waiting.ask.read(raw, &epoch).ok_or("a reply that is none to what was asked")?;
        match (&waiting.ask, &reply) {
            (Ask::Resume(_), Reply::Joined(joined)) => self.handle_resumed(joined, room, events),
            (Ask::Join(name, from), Reply::Joined(joined)) => {
                let place = Place::joined(self.places.remove(name.as_str()), joined, from);
                self.places.insert(name.to_string(), place);
            }
            (Ask::Leave(name), _) => {
                self.places.remove(name.as_str());
            }
            _ => {}
        }
        waiting.answer(Ok(reply));
        Ok(())
    }

    fn handle_resumed(&mut self, joined: &Joined, room: bool, events: &mut Vec<Event>) {
        let Some(place) = self.places.get_mut(joined.room.as_str()) else { return };
        if room {
            let recovered = place.resumed(joined);
            if !place.announced || !recovered {
                let (room, epoch) = (place.room.clone(), Arc::clone(&place.epoch));
                events.push(Event::Resumed { room, epoch, recovered });
            }
            place.announced = true;
        } else {
            // The consumer would not hear of it: asked for once more when it can.
            place.present = true;
            place.phase = Phase::Behind;
            self.lagging = true;
        }
        self.send_waiting(0);
    }

    fn handle_refused_resume(
        &mut self,
        room: &RoomName,
        refusal: Refusal,
        now: Instant,
        events: &mut Vec<Event>,
    ) {
        let Some(place) = self.places.get_mut(room.as_str()) else { return };
        if refusal.code.is_temporary() {
            place.phase = Phase::Held(now + refusal.retry_after.unwrap_or(HOLD).min(MAX_HOLD));
            self.lagging = true;
        } else if refusal.code == ErrorCode::BadCursor && place.phase != (Phase::Resuming { anew: true }) {
            // A log that has lost what it had.
            place.phase = Phase::Resuming { anew: true };
            self.resume(room.clone(), &JoinFrom::Now, now);
        } else {
            self.places.remove(room.as_str());
            let held = |waiting: &Waiting| !waiting.sent && waiting.ask.room() == Some(room);
            for (_, waiting) in self.waiting.extract_if(.., |_, waiting| held(waiting)) {
                let refused = Error::Refused(refusal.clone());
                let error = if waiting.tried { Error::Timeout } else { refused };
                waiting.answer(Err(error));
            }
            events.push(Event::Expelled { room: room.clone(), refusal });
        }
    }
}

fn gap(place: &Place, from: u64, to: u64) -> Event {
    Event::Gap { room: place.room.clone(), epoch: Arc::clone(&place.epoch), from, to }
}
