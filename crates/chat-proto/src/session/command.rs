//! The commands of a session, and the replies to them.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Action, Effect, InFlight, Operation, Outcome, Phase, RateRefusals, Session};
use crate::command::{self, Command, Invalid, Parsed};
use crate::room::{Act, Joined, MembersPage};
use crate::{
    AppendReceipt, ChangeReceipt, CloseCode, ErrorCode, Event, LogBounds, Page, RoomName, SearchPage,
    StoredMessage, Unread,
};

impl<M> Session<M> {
    pub(super) fn carry_out(&mut self, now: Duration, text: &[u8]) -> Vec<Effect> {
        let known = |name: &str| self.rooms.name(name).cloned();
        let parsed = command::parse_with(text, &self.limits, &known);
        self.carry_out_parsed(now, parsed)
    }

    /// Carries out a command. If only a message can be carried out now, another command becomes the next one, and so
    /// does a message that is refused, so that replies have the order of the commands.
    pub(super) fn carry_out_parsed(&mut self, now: Duration, parsed: Parsed) -> Vec<Effect> {
        let overlaps = !self.in_flight.is_empty();
        let is_send =
            |command: &Command| matches!(command, Command::Send { room, .. } if self.rooms.contains(room));
        if overlaps && !parsed.command.as_ref().is_ok_and(is_send) {
            self.next = Some(Box::new(parsed));
            return Vec::new();
        }
        if let Err((wait, refused)) = self.take_tokens(now, parsed.command.as_ref().map_or(1, Command::cost))
        {
            if overlaps {
                self.next = Some(Box::new(parsed));
                return Vec::new();
            }
            let reported = &mut self.mistakes.get_or_insert_default().refused;
            reported.connection += refused.connection;
            reported.user += refused.user;
            return self.refuse_for_rate(now, parsed.reference, wait);
        }
        let Parsed { reference, command } = parsed;
        let command = match command {
            Ok(command) => command,
            Err(Invalid { code, room }) => return self.error(now, reference, code, None, room),
        };
        if self.user.is_none() && !matches!(command, Command::Hello { .. }) {
            let room = command.room().cloned();
            return self.error(now, reference, ErrorCode::HelloRequired, None, room);
        }
        let (room, action) = match command {
            Command::Ping => return vec![Effect::Reply(Event::Pong { reference })],
            Command::Hello { token } => return self.begin_hello(reference, token),
            Command::Join { room, from } => return self.join(now, reference, room, Action::Join(from)),
            Command::JoinDirect { with, from } => {
                // A guest proves nothing, so a later guest of the same name would read the messages.
                let Some(user) = self.user.as_ref().filter(|user| !user.is_guest()) else {
                    return self.error(now, reference, ErrorCode::Forbidden, None, None);
                };
                let room = RoomName::direct(user.id(), with.id());
                return self.join(now, reference, room, Action::JoinDirect { with, from });
            }
            Command::Typing { room, active } => {
                if self.rooms.contains(&room) {
                    return vec![Effect::Typing(room, active)];
                }
                return self.error(now, reference, ErrorCode::NotJoined, None, Some(room));
            }
            Command::Read { room, seq } => {
                if !self.rooms.contains(&room) && !self.is_following(&room) {
                    return self.error(now, reference, ErrorCode::NotJoined, None, Some(room));
                }
                return self.perform(reference, room, Action::Read(seq));
            }
            Command::Follow { room, on } => return self.perform(reference, room, Action::Follow(on)),
            Command::Rooms { after, limit } => return self.list(reference, after, limit),
            Command::Leave { room } => (room, Action::Leave),
            Command::Send { room, key, body, links } => (room, Action::Send { key, body, links }),
            Command::Change { room, seq, change, rev, key, mentions } => {
                (room, Action::Change { seq, change, rev, key, mentions })
            }
            // A room that is created need not be joined.
            Command::Create { room, rules } => {
                return self.perform(reference, room, Action::Govern(Act::Create { rules }));
            }
            Command::Role { room, user, role } => (room, Action::Govern(Act::Role { user, role })),
            Command::Restrict { room, user, restriction, reason } => {
                (room, Action::Govern(Act::Restrict { user, restriction, reason }))
            }
            Command::Purge { room, user } => (room, Action::Govern(Act::Purge { user })),
            Command::Messages { room, seqs } => (room, Action::Messages(seqs)),
            Command::Thread { room, root, range } => (room, Action::Thread(root, range)),
            Command::History { room, range } => (room, Action::History(range)),
            Command::Members { room, after, limit } => (room, Action::Members { after, limit }),
            Command::Search { room, search } => (room, Action::Search(search)),
        };
        if !self.rooms.contains(&room) {
            return self.error(now, reference, ErrorCode::NotJoined, None, Some(room));
        }
        self.perform(reference, room, action)
    }

    fn join(
        &mut self,
        now: Duration,
        reference: Option<String>,
        room: RoomName,
        action: Action,
    ) -> Vec<Effect> {
        if !self.rooms.contains(&room) && self.rooms.len() >= self.limits.connection.max_rooms {
            return self.error(now, reference, ErrorCode::TooManyRooms, None, Some(room));
        }
        self.perform(reference, room, action)
    }

    fn perform(&mut self, reference: Option<String>, room: RoomName, action: Action) -> Vec<Effect> {
        self.in_flight.push(InFlight { reference, room: Some(room.clone()), is_submitted: false });
        vec![Effect::Perform(Operation { room, action })]
    }

    pub(super) fn reply(
        &mut self,
        now: Duration,
        reference: Option<String>,
        room: RoomName,
        outcome: Outcome<M>,
    ) -> Vec<Effect> {
        let event = match outcome {
            Outcome::Joined { membership, joined, unread } => {
                if let Some(membership) = membership {
                    self.rooms.insert(room.clone(), membership);
                }
                return Self::joined(reference, room, *joined, unread);
            }
            Outcome::Left => {
                self.rooms.remove(&room);
                Event::Left { reference, room }
            }
            Outcome::Sent(AppendReceipt { seq, at, duplicate, .. }) => {
                Event::Sent { reference, room, seq, at, duplicate }
            }
            Outcome::Changed(ChangeReceipt { seq, duplicate, .. }) => {
                Event::Done { reference, room, seq, duplicate }
            }
            // The room has expelled the user while the read was in flight.
            Outcome::History(_) | Outcome::Found(_) | Outcome::Members(_) if !self.rooms.contains(&room) => {
                return self.error(now, reference, ErrorCode::NotJoined, None, Some(room));
            }
            Outcome::History(Page { messages, .. }) | Outcome::Found(SearchPage { messages, .. })
                if !messages.iter().all(StoredMessage::is_object) =>
            {
                return self.error(now, reference, ErrorCode::Unavailable, None, Some(room));
            }
            Outcome::History(Page { epoch, messages, more }) => {
                Event::History { reference, room, epoch, messages, more }
            }
            Outcome::Found(SearchPage { messages, more }) => Event::Found { reference, room, messages, more },
            Outcome::Members(MembersPage { members, more, total }) => {
                Event::Members { reference, room, members, more, total }
            }
            Outcome::Read(marked) => return self.read(reference, room, &marked),
            Outcome::Followed(on) => {
                self.follow(&room, on);
                Event::Done { reference, room, seq: None, duplicate: false }
            }
            Outcome::Refused { code, detail } => {
                return self.error(now, reference, code, detail.as_deref(), Some(room));
            }
            Outcome::TooEarly(wait) => return self.refuse_for_rate(now, reference, wait),
            Outcome::Busy(wait) => Event::later(reference, ErrorCode::Unavailable, wait, Some(room)),
            Outcome::Skipped | Outcome::Listed { .. } => return Vec::new(),
        };
        vec![Effect::Reply(event)]
    }

    fn joined(
        reference: Option<String>,
        room: RoomName,
        joined: Joined,
        unread: Option<Unread>,
    ) -> Vec<Effect> {
        let Joined { bounds, resumption, members, presence, role, may, with, title, restricted } = joined;
        let LogBounds { epoch, head, first, pins, .. } = bounds;
        let gap = resumption.gap.map(|gap| {
            Effect::Reply(Event::Gap { room: room.clone(), epoch: epoch.clone(), from: gap.from, to: gap.to })
        });
        let recovered = resumption.recovered;
        // A marker of another epoch counts in that epoch only.
        let unread = unread.filter(|unread| unread.epoch == epoch);
        let read = unread.as_ref().map(|unread| unread.read);
        let mentions = unread.as_ref().map(|unread| unread.mentions);
        let unread = unread.map(|unread| unread.unread);
        let joined = Event::Joined {
            reference,
            room,
            epoch,
            seq: head,
            first,
            recovered,
            members,
            presence,
            role,
            may,
            pins,
            read,
            unread,
            mentions,
            with,
            title,
            restricted,
        };
        [Some(Effect::Reply(joined)), gap].into_iter().flatten().collect()
    }

    /// Takes tokens of the connection and of its user: of both, or of none. An error has the time to wait.
    fn take_tokens(&mut self, now: Duration, cost: u32) -> Result<(), (Duration, RateRefusals)> {
        let rate = self.limits.rates.connection;
        let of_connection = RateRefusals { connection: 1, user: 0 };
        self.bucket.check(rate, now, cost).map_err(|wait| (wait, of_connection))?;
        if let Some(user) = &mut self.user_rate {
            user.take(cost).map_err(|wait| (wait, RateRefusals { connection: 0, user: 1 }))?;
        }
        self.bucket.charge(rate, now, cost.min(rate.burst));
        Ok(())
    }

    /// Refuses a command that came too early. It does not count as an error of the client, because a client may try
    /// again.
    pub(super) fn refuse_for_rate(
        &mut self,
        now: Duration,
        reference: Option<String>,
        wait: Duration,
    ) -> Vec<Effect> {
        let mut effects = vec![Effect::Reply(Event::rate_limited(reference, wait))];
        if self.mistakes.get_or_insert_default().haste.note(now, wait) >= self.limits.rates.close_after {
            effects.extend(self.close(CloseCode::RateLimited));
        }
        effects
    }

    pub(super) fn error(
        &mut self,
        now: Duration,
        reference: Option<String>,
        code: ErrorCode,
        detail: Option<&str>,
        room: Option<RoomName>,
    ) -> Vec<Effect> {
        let mut effects = vec![Effect::Reply(Event::error(reference, code, detail, room))];
        if !code.is_mistake() {
            return effects;
        }
        let errors = &mut self.mistakes.get_or_insert_default().errors;
        errors.push_back(now);
        let window = self.limits.connection.error_window;
        while errors.front().is_some_and(|first| now.saturating_sub(*first) > window) {
            errors.pop_front();
        }
        if errors.len() >= self.limits.connection.max_errors {
            effects.extend(self.close(CloseCode::TooManyErrors));
        }
        effects
    }

    pub(super) fn close(&mut self, code: CloseCode) -> Vec<Effect> {
        if std::mem::replace(&mut self.phase, Phase::Closed) == Phase::Closed {
            return Vec::new();
        }
        (self.next, self.backlog) = (None, VecDeque::new());
        vec![Effect::Close(code)]
    }
}
