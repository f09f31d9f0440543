//! The guarantees of a room, checked after each step of a history.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use chat_proto::frames::take_payload;
use chat_proto::room::{Delivery, Progress, RoomEvent};
use chat_proto::{PresenceMode, Range};
use serde_json::Value;

use crate::model::{Model, Reader, USERS};

impl Model {
    /// Checks what must hold after each step.
    pub(crate) fn check(&mut self) {
        for id in self.room.to_wake().copied().collect::<Vec<_>>() {
            let reader = self.readers.get_mut(&id).expect("only members are woken");
            assert!(!reader.is_awake, "{id} is woken twice");
            reader.is_awake = true;
        }
        self.flush();
        if self.room.presence() == PresenceMode::Count {
            self.readers.values_mut().for_each(|reader| reader.has_counted = true);
        }
        for reader in self.readers.values().filter(|reader| !reader.is_awake) {
            let next = self.room.take(&mut reader.member.clone());
            assert!(matches!(next, Delivery::Nothing), "a member that was not woken has events: {next:?}");
        }
        let mut present: Vec<String> = self.present().into_iter().collect();
        present.sort();
        let members: Vec<_> =
            self.room.roster().members().iter().map(|user| user.name().to_owned()).collect();
        assert_eq!(members, present);
        self.check_witness();
    }

    /// Flushes the room to its direct members. Some of them refuse, as those do whose connections are not ready.
    fn flush(&mut self) {
        while let Some(flush) = self.room.flush() {
            let ids: Vec<u64> = self.room.direct_members(None).map(|(id, _)| id).collect();
            for id in ids {
                self.flushes += 1;
                let is_ready = !self.flushes.is_multiple_of(5);
                let reader = self.readers.get_mut(&id).expect("a reader");
                match reader.member.progress(&flush) {
                    Progress::Done => {}
                    Progress::Next if is_ready && !reader.is_awake => {
                        reader.member.advance(&flush);
                        let mut frames = flush.frames().clone();
                        while let Some(frame) = take_payload(&mut frames) {
                            self.see_frame(id, &frame, self.log.bounds().first);
                        }
                        assert!(frames.is_empty());
                    }
                    Progress::Next | Progress::Behind => {
                        reader.is_awake |= self.room.wake(&reader.member).is_some();
                        assert!(reader.is_awake);
                    }
                }
            }
            self.room.flushed(&flush);
        }
    }

    fn check_witness(&mut self) {
        let Some(id) = self.witness else { return };
        while self.take(id) {}
        if self.readers[&id].is_renewed {
            let reader = self.readers.remove(&id).expect("the witness");
            self.room.leave(&reader.member);
            self.witness = Some(self.subscribe());
            let active = self.typing.iter().filter(|(_, (_, active))| *active);
            self.unfinished = active.map(|(user, _)| user.clone()).collect();
        }
    }

    /// Brings all readers up to date.
    pub(crate) fn finish(mut self) {
        self.note_committed();
        while self.room.has_hole() || self.repair.is_some() {
            self.repair();
        }
        self.check();
        self.pass(60_000);
        assert_eq!(self.room.deadline(), None);
        let unfinished = std::mem::take(&mut self.unfinished);
        let types = |(user, (_, active)): (String, (_, bool))| {
            (active && !unfinished.contains(&user)).then_some(user)
        };
        assert_eq!(std::mem::take(&mut self.typing).into_iter().find_map(types), None, "typing has ended");
        for id in self.readers.keys().copied().collect::<Vec<_>>() {
            while self.take(id) {}
            let reader = &self.readers[&id];
            assert!(reader.is_renewed || reader.next == self.head() + 1, "{id} has not got everything");
        }
    }

    /// Returns the users with a connection on any node.
    fn present(&self) -> BTreeSet<String> {
        let local = self.readers.values().filter_map(|reader| reader.user);
        let remote =
            (0..USERS.len()).filter(|user| ["b", "c"].iter().any(|node| self.nodes.has(node, *user)));
        local.chain(remote).map(|user| USERS[user].to_owned()).collect()
    }

    /// Gives a reader its next events. Returns false if there are none.
    pub(crate) fn take(&mut self, id: u64) -> bool {
        let present = self.present();
        let reader = self.readers.get_mut(&id).expect("a reader");
        if let Some((page, up_to, first)) = reader.page.take() {
            match reader.member.catch_up(self.room.name(), page, up_to) {
                Some(events) if !reader.is_renewed => self.see(id, events, first),
                // A page of the log's earlier epoch.
                _ => assert!(reader.is_renewed),
            }
            return true;
        }
        match self.room.take(&mut reader.member) {
            Delivery::Nothing => {
                assert!(!reader.is_renewed && reader.next > self.room.head());
                let is_counted = self.room.deadline().is_none();
                reader.check_users(self.room.presence(), is_counted, present);
                reader.is_awake = false;
                false
            }
            Delivery::Renewed => {
                assert!(reader.is_renewed);
                false
            }
            Delivery::CatchUp { up_to } => {
                assert!(reader.next <= up_to && up_to <= self.room.head());
                let limit = self.limits.wire.max_page_messages;
                let page = self.log.read(Range::entries(reader.member.seq(), limit));
                reader.page = Some((page, up_to, self.log.bounds().first));
                true
            }
            Delivery::Events(events) => {
                let bytes: usize = events.iter().map(|event| event.frame.len()).sum();
                assert!(events.len() == 1 || bytes <= self.limits.wire.max_batch_bytes);
                self.see(id, events, self.log.bounds().first);
                true
            }
        }
    }

    /// Checks events that a reader takes. `first` is the first entry of the log when they were read, or later.
    fn see(&mut self, id: u64, events: Vec<RoomEvent>, first: u64) {
        for RoomEvent { frame, is_entry, .. } in events {
            let event = self.see_frame(id, &frame, first);
            assert_eq!(is_entry, event["type"] == "message" || event["type"] == "gap", "{event}");
        }
    }

    /// Checks an event that a reader takes or that is written to it, and returns it.
    fn see_frame(&mut self, id: u64, frame: &Bytes, first: u64) -> Value {
        let event: Value = serde_json::from_slice(frame).expect("JSON");
        let reader = self.readers.get_mut(&id).expect("a reader");
        match event["type"].as_str() {
            Some("message") => {
                assert_eq!(event["seq"], reader.next, "in order, without a hole");
                let index = usize::try_from(reader.next - 1).expect("a small number");
                assert_eq!(*frame, self.stored[index]);
                reader.next += 1;
            }
            Some("gap") => {
                assert_eq!(event["from"], reader.next);
                let to = event["to"].as_u64().expect("a number");
                assert!(to < first, "{to} can be read in a log from {first} on");
                reader.next = to + 1;
            }
            Some("presence") => {
                let user = event["user"]["name"].as_str().expect("a name").to_owned();
                let is_change = match event["state"].as_str() {
                    Some("joined") => reader.seen.insert(user),
                    _ => reader.seen.remove(&user),
                };
                // The tail may have dropped the event with `each` before it. When a room starts to count, it forgets
                // the changes that the tail has dropped, although the reader gets the later ones in the tail.
                let is_counted = reader.presence == PresenceMode::Count || reader.has_counted;
                assert!(is_change || reader.asks || is_counted, "twice: {event}");
                if Some(id) == self.witness && event["state"] == "left" {
                    let user = event["user"]["name"].as_str().unwrap_or_default();
                    if let Some((_, active)) = self.typing.get_mut(user) {
                        *active = false;
                    }
                }
            }
            Some("occupancy") => {
                reader.members = event["members"].as_u64().and_then(|n| n.try_into().ok()).expect("a number");
                reader.asks = event["presence"] == "each";
                reader.presence = if reader.asks { PresenceMode::Each } else { PresenceMode::Count };
                reader.has_counted = self.room.presence() == PresenceMode::Count;
                if Some(id) == self.witness {
                    let before = self.counted.replace(self.now);
                    let is_early = before.is_some_and(|at| self.now < at + Duration::from_secs(1));
                    assert!(!is_early, "two events within 1 s: {event}");
                    self.typing.values_mut().for_each(|(_, active)| *active = false);
                }
            }
            _ => {
                assert_eq!(event["type"], "typing");
                if Some(id) == self.witness {
                    assert_eq!(reader.presence, PresenceMode::Each, "{event}");
                    self.check_typing(&event);
                }
            }
        }
        event
    }

    /// Checks an event about typing that the witness got, which gets all of them at once.
    fn check_typing(&mut self, event: &Value) {
        let user = event["user"]["name"].as_str().expect("a name").to_owned();
        let active = event["active"].as_bool().expect("true or false");
        let before = self.typing.insert(user.clone(), (self.now, active));
        self.unfinished.remove(&user);
        let is_early = before.is_some_and(|(at, _)| self.now < at + Duration::from_secs(2));
        assert!(!is_early, "two events within 2 s: {event}");
        assert!(active || before.is_some_and(|(_, active)| active), "an end without a start: {event}");
        assert!(self.present().contains(&user), "{event}");
    }
}

impl Reader {
    /// Checks what a reader that has taken everything knows about the users. `is_counted` is true if no event about
    /// their number is to come.
    fn check_users(&mut self, presence: PresenceMode, is_counted: bool, present: BTreeSet<String>) {
        if presence == PresenceMode::Each {
            assert_eq!(self.presence, PresenceMode::Each);
            if std::mem::take(&mut self.asks) {
                self.seen = present;
            } else {
                assert_eq!(self.seen, present, "a reader that has taken everything knows who is present");
            }
        } else if is_counted {
            assert_eq!((self.presence, self.members), (PresenceMode::Count, present.len()));
        }
    }
}
