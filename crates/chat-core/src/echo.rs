//! Serves an echo: what the peer sends comes back, and nothing else is said.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::chat::{Chat, Permit, Phase};
use crate::clocks::{Alarm, Stall};
use crate::connection::{Connection, Incoming, Outgoing};
use crate::inbox::Inbox;
use crate::serve::End;
use crate::{CloseCode, Message};

/// Rounds made before other tasks get their turn.
const BURST: usize = 32;

/// Frames that wait for a flush before no more are read: a small one may hold on to the buffer that it was
/// read into, so their bytes alone would bound nothing.
const UNFLUSHED: usize = 64;

/// Echoes on one connection, to the end of the stream.
pub(crate) async fn run<M: Message, C: Connection>(chat: Chat<M>, permit: Permit, mut connection: C) {
    let started = Instant::now();
    let mut echo = Echo::new(&chat, &permit, &mut connection);
    let end = End::of(|cx| echo.poll(cx)).await;
    let Echo { held, received, sent, .. } = echo;
    permit.discharge();
    let sent =
        sent + end.close(&mut connection, held.into_iter(), chat.limits().connection.close_timeout).await;
    end.log(permit.connection(), started.elapsed(), received, sent);
}

struct Echo<'c, M: Message, C> {
    chat: &'c Chat<M>,
    connection: &'c mut C,
    inbox: Arc<Inbox>,
    /// What is to be sent next. While it is here, nothing more is read.
    held: Option<Outgoing>,
    /// Frames sent since the last flush.
    unflushed: usize,
    stall: Stall,
    /// When the peer has been silent for too long, and whether it has been pinged for that already.
    silence: (Instant, bool),
    alarm: Alarm,
    peer_ended: bool,
    received: u64,
    sent: u64,
}

impl<'c, M: Message, C: Connection> Echo<'c, M, C> {
    fn new(chat: &'c Chat<M>, permit: &Permit, connection: &'c mut C) -> Self {
        let inbox = Arc::new(Inbox::default());
        permit.enlist(Arc::clone(&inbox));
        let ping_at = Instant::now() + chat.limits().connection.ping_interval;
        Self {
            chat,
            connection,
            inbox,
            held: None,
            unflushed: 0,
            stall: Stall::default(),
            silence: (ping_at, false),
            alarm: Alarm::new(ping_at),
            peer_ended: false,
            received: 0,
            sent: 0,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.inbox.waker.register(cx.waker());
        if self.chat.phase() != Phase::Open {
            return Poll::Ready(End::Closing(CloseCode::Restarting));
        }
        for _ in 0..BURST {
            match self.poll_round(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether something has moved, unless that was the end.
    fn poll_round(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut moved = self.poll_receive(cx)?;
        moved |= self.poll_send(cx)?;
        // Frames that came together go back together.
        if !moved {
            moved = self.poll_flush(cx)?;
        }
        if self.peer_ended && !self.waits() {
            return Err(End::PeerGone);
        }
        Ok(self.poll_timer(cx)? | moved)
    }

    fn reads(&self) -> bool {
        self.held.is_none() && self.unflushed < UNFLUSHED && !self.peer_ended
    }

    fn waits(&self) -> bool {
        self.held.is_some() || self.unflushed > 0
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if !self.reads() {
            return Ok(false);
        }
        let Poll::Ready(incoming) = self.connection.poll_receive(cx) else {
            return Ok(false);
        };
        self.received += u64::from(incoming.is_frame());
        self.hear();
        match incoming {
            Incoming::Text(text) => self.held = Some(Outgoing::Text(text)),
            Incoming::Binary(payload) => self.held = Some(Outgoing::Binary(payload)),
            // The pong leaves with the next flush.
            Incoming::Ping => self.unflushed += 1,
            Incoming::Pong => {}
            Incoming::End => self.peer_ended = true,
            Incoming::Close(code) => return Err(End::PeerClosed(code)),
            Incoming::Violation(breach) => return Err(End::Closing(breach.into())),
            Incoming::Lost(error) => return Err(End::Lost(error)),
        }
        Ok(true)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.held.is_none() {
            return Ok(false);
        }
        let Poll::Ready(ready) = self.connection.poll_ready(cx) else {
            return Ok(false);
        };
        ready.map_err(End::Lost)?;
        if let Some(frame) = self.held.take() {
            self.connection.send(frame).map_err(End::Lost)?;
            self.sent += 1;
            self.unflushed += 1;
        }
        Ok(true)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.unflushed == 0 {
            return Ok(false);
        }
        let Poll::Ready(flushed) = self.connection.poll_flush(cx) else {
            return Ok(false);
        };
        flushed.map_err(End::Lost)?;
        self.unflushed = 0;
        Ok(true)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        self.stall.note(self.waits(), self.connection.progress());
        let limits = self.chat.limits();
        let stall = self.stall.due(limits.connection.write_timeout);
        let (silent, pinged) = self.silence;
        let Poll::Ready(now) = self.alarm.poll(cx, stall.map_or(silent, |stall| stall.min(silent))) else {
            return Ok(false);
        };
        if stall.is_some_and(|stall| stall <= now) {
            return Err(End::Closing(CloseCode::SlowConsumer));
        }
        if !self.reads() {
            // Whatever the peer sends waits here unread: its silence is ours.
            self.hear();
        } else if pinged {
            return Err(End::Closing(CloseCode::PingTimeout));
        } else {
            self.held = Some(Outgoing::Ping);
            self.silence = (now + limits.connection.ping_timeout, true);
        }
        Ok(true)
    }

    /// The peer is there.
    fn hear(&mut self) {
        self.silence = (Instant::now() + self.chat.limits().connection.ping_interval, false);
    }
}
