//! An echo in place of the chat: it returns each message to its sender.
//!
//! With it, conformance and load tools test the layers below the chat: the upgrade, the frames, and the close.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chat_core::{CloseCode, Connection, Handler, Incoming, Outgoing, Ticket};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::{debug, info};

/// Rounds before other tasks get their turn.
const BURST: usize = 32;

/// Frames that wait for a flush before no more are read. A small frame may hold the buffer that it was read into, so a
/// bound on bytes alone would not limit the memory.
const MAX_UNFLUSHED: usize = 64;

/// Delay of a timer that shows that the process did not run. The timers of the runtime then fire before it has looked
/// at the sockets.
const SUSPENSION_DELAY: Duration = Duration::from_millis(500);

/// Returns a handler that echoes on the connection of this ticket: see
/// [`Endpoint::handler`](chat_core::Endpoint::handler).
pub fn handler(ticket: Ticket) -> Box<dyn Handler> {
    Box::new(Echo::new(ticket))
}

struct Echo {
    ticket: Ticket,
    phase: Phase,
    /// The next frame to send. Nothing is read while it waits.
    held: Option<Outgoing>,
    /// Frames since the last flush.
    unflushed: usize,
    /// The last progress of the connection while frames wait for the peer.
    stall: Option<(u64, Instant)>,
    /// The time at which the peer has been silent for too long, and true if it was pinged.
    silence: (Instant, bool),
    alarm: Alarm,
    peer_ended: bool,
    started: Instant,
    received: u64,
    sent: u64,
}

enum Phase {
    Open,
    /// The last frames are sent, until the alarm.
    Flushing(End),
    /// The closing handshake runs, until the alarm.
    Closing(End),
}

enum End {
    Closing(CloseCode),
    PeerClosed(Option<u16>),
    PeerGone,
    Lost(io::Error),
}

impl Handler for Echo {
    fn poll(&mut self, cx: &mut Context<'_>, connection: &mut dyn Connection) -> Poll<()> {
        if let Phase::Open = self.phase {
            let end = ready!(self.poll_open(cx, connection));
            self.ticket.end_session();
            self.alarm.set(self.close_deadline());
            self.phase = Phase::Flushing(end);
        }
        if let Phase::Flushing(end) = &self.phase {
            // A peer that is gone or does not read gets no more frames.
            let is_reading = !matches!(end, End::Lost(_) | End::Closing(CloseCode::SlowConsumer));
            if is_reading && self.poll_last(cx, connection).is_pending() {
                ready!(self.alarm.poll(cx));
            }
            self.alarm.set(self.close_deadline());
            if let Phase::Flushing(end) = std::mem::replace(&mut self.phase, Phase::Open) {
                self.phase = Phase::Closing(end);
            }
        }
        if let Phase::Closing(end) = &self.phase {
            let is_lost = matches!(end, End::Lost(_));
            if !is_lost && connection.poll_close(cx, end.code()).is_pending() {
                ready!(self.alarm.poll(cx));
            }
            self.ticket.log(|| end.log(self.started.elapsed(), self.received, self.sent));
        }
        Poll::Ready(())
    }
}

impl Echo {
    fn new(mut ticket: Ticket) -> Self {
        ticket.begin_session();
        let started = Instant::now();
        let ping_at = started + ticket.limits().connection.ping_interval;
        Self {
            ticket,
            phase: Phase::Open,
            held: None,
            unflushed: 0,
            stall: None,
            silence: (ping_at, false),
            alarm: Alarm::new(ping_at),
            peer_ended: false,
            started,
            received: 0,
            sent: 0,
        }
    }

    fn close_deadline(&self) -> Instant {
        Instant::now() + self.ticket.limits().connection.close_timeout
    }

    fn poll_open(&mut self, cx: &mut Context<'_>, connection: &mut dyn Connection) -> Poll<End> {
        if let Poll::Ready(code) = self.ticket.poll_close(cx) {
            return Poll::Ready(End::Closing(code));
        }
        for _ in 0..BURST {
            match self.poll_round(cx, connection) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Returns true if a frame was received or sent.
    fn poll_round(&mut self, cx: &mut Context<'_>, connection: &mut dyn Connection) -> Result<bool, End> {
        let mut moved = self.poll_receive(cx, connection)?;
        moved |= self.poll_send(cx, connection).map_err(End::Lost)?;
        // Frames that arrived together leave with one flush.
        if !moved {
            moved = self.poll_flush(cx, connection).map_err(End::Lost)?;
        }
        if self.peer_ended && !self.waits() {
            return Err(End::PeerGone);
        }
        Ok(self.poll_timer(cx, connection)? | moved)
    }

    fn reads(&self) -> bool {
        self.held.is_none() && self.unflushed < MAX_UNFLUSHED && !self.peer_ended
    }

    fn waits(&self) -> bool {
        self.held.is_some() || self.unflushed > 0
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, connection: &mut dyn Connection) -> Result<bool, End> {
        if !self.reads() {
            return Ok(false);
        }
        let Poll::Ready(incoming) = connection.poll_receive(cx) else {
            return Ok(false);
        };
        let is_frame = !matches!(incoming, Incoming::End | Incoming::Lost(_) | Incoming::Violation(_));
        self.received += u64::from(is_frame);
        self.note_sign_of_life();
        match incoming {
            Incoming::Text(text) => self.held = Some(Outgoing::Text(text)),
            Incoming::Binary(payload) => self.held = Some(Outgoing::Binary(payload)),
            // The pong leaves with the next flush.
            Incoming::Ping => self.unflushed += 1,
            Incoming::End => self.peer_ended = true,
            Incoming::Close(code) => return Err(End::PeerClosed(code)),
            Incoming::Violation(violation) => return Err(End::Closing(violation.into())),
            Incoming::Lost(error) => return Err(End::Lost(error)),
            // A pong, and input that other transports have.
            _ => {}
        }
        Ok(true)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, connection: &mut dyn Connection) -> io::Result<bool> {
        if self.held.is_none() {
            return Ok(false);
        }
        let Poll::Ready(ready) = connection.poll_ready(cx) else {
            return Ok(false);
        };
        ready?;
        if let Some(frame) = self.held.take() {
            connection.send(frame)?;
            self.sent += 1;
            self.unflushed += 1;
        }
        Ok(true)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, connection: &mut dyn Connection) -> io::Result<bool> {
        if self.unflushed == 0 {
            return Ok(false);
        }
        let Poll::Ready(flushed) = connection.poll_flush(cx) else {
            return Ok(false);
        };
        flushed?;
        self.unflushed = 0;
        Ok(true)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, connection: &dyn Connection) -> Result<bool, End> {
        let progress = connection.progress();
        self.stall = match self.stall {
            _ if !self.waits() => None,
            Some((before, since)) if before == progress => Some((before, since)),
            _ => Some((progress, Instant::now())),
        };
        let limits = &self.ticket.limits().connection;
        let stalled_at = self.stall.map(|(_, since)| since + limits.write_timeout);
        let (silent_at, pinged) = self.silence;
        let Poll::Ready(now) = self.alarm.poll_at(cx, stalled_at.map_or(silent_at, |at| at.min(silent_at)))
        else {
            return Ok(false);
        };
        if stalled_at.is_some_and(|at| at <= now) {
            return Err(End::Closing(CloseCode::SlowConsumer));
        }
        if !self.reads() {
            // Frames of the peer may wait unread, so its silence is not known.
            self.note_sign_of_life();
        } else if pinged {
            return Err(End::Closing(CloseCode::PingTimeout));
        } else {
            self.silence = (now + limits.ping_timeout, true);
            self.held = Some(Outgoing::Ping);
        }
        Ok(true)
    }

    fn note_sign_of_life(&mut self) {
        self.silence = (Instant::now() + self.ticket.limits().connection.ping_interval, false);
    }

    /// Sends the last frames. An error ends the attempt.
    fn poll_last(&mut self, cx: &mut Context<'_>, connection: &mut dyn Connection) -> Poll<()> {
        if self.held.is_some() && matches!(self.poll_send(cx, connection), Ok(false)) {
            return Poll::Pending;
        }
        connection.poll_flush(cx).map(drop)
    }
}

impl End {
    /// Returns the code of the echo's close frame. `None` if the peer closed first or is gone.
    fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Closing(code) => Some(*code),
            Self::PeerClosed(_) | Self::PeerGone | Self::Lost(_) => None,
        }
    }

    fn log(&self, duration: Duration, received: u64, sent: u64) {
        let (cause, close) = match self {
            Self::Closing(code) => (code.reason(), Some(code.code())),
            Self::PeerClosed(code) => ("closed by peer", *code),
            Self::PeerGone => ("peer gone", None),
            Self::Lost(error) => {
                debug!(%error, "connection lost");
                ("connection lost", None)
            }
        };
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        info!(close, cause, duration_ms, received, sent, "session ended");
    }
}

/// A timer whose deadline is usually moved before it comes.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// The end of the pause after a suspension of the process.
    not_before: Instant,
}

impl Alarm {
    fn new(at: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(at)), not_before: Instant::now() }
    }

    fn set(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at);
    }

    /// Ready at the time that was [`set`](Self::set).
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }

    /// Ready with the current time once `due` has come. If the process did not run at that time, the timer waits a
    /// little longer, once, so that what arrived meanwhile is read first.
    fn poll_at(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<Instant> {
        let mut due = due.max(self.not_before);
        if due < self.sleep.deadline() {
            self.set(due);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let now = Instant::now();
            let deadline = self.sleep.deadline();
            let is_late = now.saturating_duration_since(deadline) > SUSPENSION_DELAY;
            if is_late && deadline != self.not_before {
                self.not_before = now + SUSPENSION_DELAY;
                due = due.max(self.not_before);
            } else if due <= now {
                return Poll::Ready(now);
            }
            self.set(due);
        }
    }
}
