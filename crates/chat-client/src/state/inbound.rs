//! What a client makes of the events that come in.

use std::sync::Arc;
use std::time::Duration;

use chat_proto::RoomName;
use tokio::time::Instant;

use super::{State, Waiting};
use crate::hold::Hold;
use crate::place::{Next, Phase, Place};
use crate::raw::part;
use crate::reply::{Ask, Reply};
use crate::{ErrorCode, Event, JoinFrom, Joined, Message, RawEvent, Refusal, User};

/// How long a room that is not available now is left alone, where the server does not say.
const HOLD: Duration = Duration::from_secs(1);

/// The longest that it is left alone, whatever the server says.
const MAX_HOLD: Duration = Duration::from_secs(60);

impl State {
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
            match &waiting.ask {
                Ask::Resume(room) => self.handle_refused_resume(room, refusal, now, events),
                Ask::Send(_) => self.handle_refused_send(reference, waiting, refusal, now),
                _ => waiting.refuse(refusal),
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
                self.send_waiting(0);
            }
            (Ask::Leave(name), _) => {
                self.places.remove(name.as_str());
                self.send_waiting(0);
            }
            (Ask::Send(name), _) => {
                let place = self.places.get_mut(name.as_str());
                if place.and_then(|place| place.hold.take()).is_some() {
                    self.send_waiting(0);
                }
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

    /// A message that its room cannot take now stays in hand, if there is time to send it again.
    fn handle_refused_send(&mut self, reference: u64, mut waiting: Waiting, refusal: Refusal, now: Instant) {
        waiting.sent = false;
        waiting.unsure |= refusal.code == ErrorCode::Unavailable;
        let place = waiting.ask.room().and_then(|room| self.places.get_mut(room.as_str()));
        let Some(place) = place.filter(|_| refusal.code.is_temporary()) else {
            return waiting.refuse(refusal);
        };
        let hold = Hold::new(place.hold.take(), refusal.clone(), now, (self.random)());
        let until = place.hold.insert(hold).until();
        self.holding = true;
        if until.is_some_and(|until| until < waiting.deadline) {
            self.waiting.insert(reference, waiting);
        } else {
            waiting.refuse(refusal);
        }
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
                waiting.refuse(refusal.clone());
            }
            events.push(Event::Expelled { room: room.clone(), refusal });
        }
    }
}

fn gap(place: &Place, from: u64, to: u64) -> Event {
    Event::Gap { room: place.room.clone(), epoch: Arc::clone(&place.epoch), from, to }
}
