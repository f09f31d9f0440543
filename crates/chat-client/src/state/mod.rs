//! The decisions of a client: pure state. Events and times are arguments.

mod activity;
pub(crate) mod cursor;
mod inbound;
pub(crate) mod request;
mod send_backoff;
#[cfg(test)]
mod simulation;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_proto::command::{Command, JoinFrom, Token};
use chat_proto::{RoomName, User};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{Error, ServerError};
use activity::Activity;
use cursor::{Phase, RoomCursor};
use request::{Reply, Request};

/// The commands that wait for their replies, and the cursor of each room.
#[derive(Debug)]
pub(crate) struct State {
    user: User,
    command_timeout: Duration,
    references: Arc<AtomicU64>,
    cursors: HashMap<RoomName, RoomCursor>,
    /// The commands of callers.
    pending: BTreeMap<u64, PendingCommand>,
    /// The commands of the client itself. The server carries out one at a time, so each reply gives the others more
    /// time. A reconnect sends them again, all at once, and helps no server that is slow.
    own: BTreeMap<u64, PendingCommand>,
    /// The frames to write on the current connection.
    pub(crate) outbox: VecDeque<Utf8Bytes>,
    connected: bool,
    /// True if a cursor may be behind, or activity may have been missed.
    lagging: bool,
    activity: Activity,
    /// True if a room may have a send back-off.
    backing_off: bool,
    /// The time until the server is back, as its `closing` event said.
    pub(crate) advice: Option<Duration>,
    /// True if the server has announced that the credentials expire.
    pub(crate) expires: bool,
    /// The token that was sent last to renew the credentials.
    renewed: Option<String>,
    random: fn() -> u64,
}

/// A command that waits for its reply.
#[derive(Debug)]
pub(crate) struct PendingCommand {
    request: Request,
    frame: Utf8Bytes,
    reply: Option<oneshot::Sender<Result<Reply, Error>>>,
    deadline: Instant,
    /// True if the frame was sent on the current connection.
    sent: bool,
    /// True if an earlier attempt may have been carried out.
    unsure: bool,
}

impl PendingCommand {
    pub(crate) fn new(
        request: Request,
        frame: Utf8Bytes,
        reply: Option<oneshot::Sender<Result<Reply, Error>>>,
        deadline: Instant,
    ) -> Self {
        Self { request, frame, reply, deadline, sent: false, unsure: false }
    }

    fn answer(self, answer: Result<Reply, Error>) {
        if let Some(reply) = self.reply {
            // The caller may have dropped its future.
            let _dropped = reply.send(answer);
        }
    }

    fn refuse(self, error: ServerError) {
        let unsure = self.unsure && matches!(self.request, Request::Send(_) | Request::Change(_));
        self.answer(Err(if unsure { Error::Unsure(error) } else { Error::Refused(error) }));
    }

    /// Ends the command at its deadline. `error` is the last error of the room's send back-off.
    fn expire(mut self, error: Option<ServerError>) {
        self.unsure |= self.sent;
        match error {
            Some(error) => self.refuse(error),
            None if self.unsure => self.answer(Err(Error::Timeout)),
            None => self.answer(Err(Error::NotConnected)),
        }
    }
}

impl State {
    pub(crate) fn new(
        user: User,
        command_timeout: Duration,
        references: Arc<AtomicU64>,
        random: fn() -> u64,
    ) -> Self {
        Self {
            user,
            command_timeout,
            references,
            cursors: HashMap::new(),
            pending: BTreeMap::new(),
            own: BTreeMap::new(),
            outbox: VecDeque::new(),
            connected: false,
            lagging: false,
            activity: Activity::default(),
            backing_off: false,
            advice: None,
            expires: false,
            renewed: None,
            random,
        }
    }

    /// Returns the number of commands that wait for their replies.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len() + self.own.len()
    }

    /// Returns true if a caller waits for a reply.
    pub(crate) fn has_callers(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns the time at which [`handle_time`](Self::handle_time) is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let first = [&self.pending, &self.own].into_iter().filter_map(BTreeMap::first_key_value);
        let backoff = if self.backing_off { self.send_backoff_end() } else { None };
        first.map(|(_, pending)| pending.deadline).chain(backoff).min()
    }

    /// Returns the end of the send back-off that ends first.
    fn send_backoff_end(&self) -> Option<Instant> {
        self.cursors.values().filter_map(|cursor| cursor.send_backoff.as_ref()?.until()).min()
    }

    /// Returns the time at which [`catch_up`](Self::catch_up) is due. It needs capacity for events.
    pub(crate) fn catch_up_due(&self, now: Instant) -> Option<Instant> {
        if !(self.connected && self.lagging) {
            return None;
        }
        let due = |cursor: &RoomCursor| match cursor.phase {
            Phase::Behind => Some(now),
            Phase::Deferred(until) => Some(until),
            _ => None,
        };
        self.cursors.values().filter_map(due).chain(self.activity.due(now)).min()
    }

    /// Handles a command of a caller.
    pub(crate) fn handle_command(&mut self, reference: u64, pending: PendingCommand) {
        self.pending.insert(reference, pending);
        self.send_pending(reference);
    }

    /// Handles a frame without a reply. It is dropped if there is no connection.
    pub(crate) fn handle_notice(&mut self, frame: Utf8Bytes) {
        if self.connected {
            self.outbox.push_back(frame);
        }
    }

    /// Handles a new connection: every room is resumed, then every command is repeated.
    pub(crate) fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.advice = None;
        self.catch_up(now);
        self.send_pending(0);
    }

    /// Handles the loss of the connection. Returns the time until the server is back, if it said so.
    pub(crate) fn handle_lost(&mut self) -> Option<Duration> {
        self.connected = false;
        self.outbox.clear();
        self.own.clear();
        for pending in self.pending.values_mut() {
            pending.unsure |= pending.sent;
            pending.sent = false;
        }
        self.cursors.values_mut().for_each(RoomCursor::handle_lost);
        self.activity.handle_lost();
        self.advice.take()
    }

    /// Ends the commands whose deadline has passed and the back-offs that are over. Returns true if the server did
    /// not answer a resume, or the question for missed activity, in time.
    pub(crate) fn handle_time(&mut self, now: Instant) -> bool {
        let mut resume_expired = false;
        while let Some(first) = self.own.first_entry().filter(|first| first.get().deadline <= now) {
            let expired = first.remove();
            resume_expired |= matches!(expired.request, Request::Resume(_) | Request::MissedActivity);
        }
        while let Some(first) = self.pending.first_entry().filter(|first| first.get().deadline <= now) {
            let pending = first.remove();
            let backoff = match &pending.request {
                Request::Send(room) => self.cursors.get(room).and_then(|cursor| cursor.send_backoff.as_ref()),
                _ => None,
            };
            pending.expire(backoff.map(|backoff| backoff.error().clone()));
        }
        if self.backing_off {
            self.cursors
                .values_mut()
                .filter_map(|cursor| cursor.send_backoff.as_mut())
                .for_each(|backoff| backoff.handle_time(now));
            self.backing_off = self.send_backoff_end().is_some();
            self.send_pending(0);
        }
        resume_expired
    }

    /// Resumes the rooms that are behind, and asks for missed activity.
    pub(crate) fn catch_up(&mut self, now: Instant) {
        if !self.connected {
            return;
        }
        self.lagging = false;
        let mut behind = Vec::new();
        for cursor in self.cursors.values_mut() {
            match cursor.phase {
                Phase::Behind => {}
                Phase::Deferred(until) if until <= now => {}
                Phase::Deferred(_) => {
                    self.lagging = true;
                    continue;
                }
                _ => continue,
            }
            cursor.phase = Phase::Resuming { from_now: false };
            behind.push((cursor.room.clone(), cursor.resume_from()));
        }
        for (room, from) in behind {
            self.resume(room, from, now);
        }
        match self.activity.due(now) {
            Some(due) if due <= now => self.ask_for_activity(None, now),
            due => self.lagging |= due.is_some(),
        }
    }

    /// Renews the credentials of the connection. If the server does not accept the token now, the credentials expire,
    /// and the client reconnects with a newer one. A token that was sent before is not sent again: its end would be
    /// announced again at once.
    pub(crate) fn renew(&mut self, token: String, now: Instant) {
        if self.connected && self.renewed.as_deref() != Some(&*token) {
            self.renewed = Some(token.clone());
            self.send_own(Request::Hello, &Command::Hello { token: Token::new(token) }, now);
        }
    }

    fn resume(&mut self, room: RoomName, from: JoinFrom, now: Instant) {
        let command = Command::Join { room: room.clone(), from };
        self.send_own(Request::Resume(room), &command, now);
    }

    /// Sends a command of the client itself.
    fn send_own(&mut self, request: Request, command: &Command, now: Instant) {
        let reference = self.references.fetch_add(1, Ordering::Relaxed);
        let frame = Utf8Bytes::from(command.encode(Some(&reference.to_string())));
        self.outbox.push_back(frame.clone());
        let deadline = now + self.command_timeout;
        let pending = PendingCommand::new(request, frame, None, deadline);
        self.own.insert(reference, PendingCommand { sent: true, ..pending });
    }

    /// Takes the command of the client itself that has a reply.
    fn take_own(&mut self, reference: u64, now: Instant) -> Option<PendingCommand> {
        let own = self.own.remove(&reference)?;
        self.own.values_mut().for_each(|other| other.deadline = now + self.command_timeout);
        Some(own)
    }

    /// Sends the pending commands from `first` on that may be sent.
    fn send_pending(&mut self, first: u64) {
        if !self.connected {
            return;
        }
        for pending in self.pending.range_mut(first..).map(|(_, pending)| pending) {
            let cursor = pending.request.room().and_then(|room| self.cursors.get(room));
            if !pending.sent && cursor.is_none_or(|cursor| cursor.admits(&pending.request)) {
                self.outbox.push_back(pending.frame.clone());
                pending.sent = true;
            }
        }
    }
}
