//! The rooms that users let the store open: a queue, and the rate at which its rooms are opened.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{Bucket, Limits, Rate, Returns};
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::fair_queue::{FairQueue, NoTurn, QueueLimits, Turn};
use crate::{Unavailable, UserKey};

/// The part of the queue that one user may have, as a divisor.
const SHARE: usize = 4;

/// The openings of rooms. After another node has failed, its users join thousands of rooms here at once. They wait in a
/// queue, so that the store gets no more than it can do, and answers each in time.
#[derive(Debug)]
pub(crate) struct Openings {
    queue: Arc<FairQueue>,
    rate: Rate,
    /// The longest wait for a turn and for the rate together.
    wait: Duration,
    /// True once nobody is to wait any more.
    closed: watch::Sender<bool>,
    /// The shortest and the longest advice for a user who finds the queue full.
    advice: (Duration, Duration),
    started: Instant,
    // Nothing is awaited while one of these is held.
    bucket: Mutex<Bucket>,
    returns: Mutex<Returns>,
}

/// The reason why a room is not open.
#[derive(Clone, Debug)]
pub(crate) enum NotOpened {
    /// The store could not open it.
    Unavailable(Unavailable),
    /// Too many rooms wait to be opened.
    Busy,
}

impl Openings {
    pub(super) fn new(limits: &Limits) -> Self {
        let rooms = &limits.rooms;
        let queue = QueueLimits {
            running: rooms.max_openings,
            running_per_user: rooms.max_openings,
            waiting: rooms.max_waiting_openings,
            waiting_per_user: rooms.max_waiting_openings.div_ceil(SHARE),
            timeout: rooms.opening_wait,
        };
        Self {
            queue: FairQueue::new(queue),
            rate: rooms.opening_rate,
            wait: rooms.opening_wait,
            closed: watch::Sender::new(false),
            advice: (limits.reads.retry_after, limits.http.max_retry_after),
            started: Instant::now(),
            bucket: Mutex::default(),
            returns: Mutex::default(),
        }
    }

    /// Returns the number of rooms that wait to be opened.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Ends all waits, because the chat drains. Those who need not wait still get a turn.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until a user may let the store open a room.
    pub(super) async fn turn(&self, user: UserKey) -> Result<Turn, NoTurn> {
        let until = Instant::now() + self.wait;
        let turn = async {
            let turn = self.queue.turn(user).await?;
            let debt = self.charge(until)?;
            // Those that have a turn and wait for a token are at most as many as may be opened at once.
            if !debt.is_zero() {
                sleep(debt).await;
            }
            Ok(turn)
        };
        let mut closed = self.closed.subscribe();
        match select(pin!(turn), pin!(closed.wait_for(|is_closed| *is_closed))).await {
            Either::Left((turn, _)) => turn,
            Either::Right(_) => Err(NoTurn),
        }
    }

    /// Takes the token of one opening. Returns the time until it is there, which must not be later than `until`.
    fn charge(&self, until: Instant) -> Result<Duration, NoTurn> {
        let left = until.saturating_duration_since(Instant::now());
        let (mut bucket, now) = (self.bucket.lock(), self.started.elapsed());
        let mut charged = *bucket;
        charged.charge(self.rate, now, 1);
        let debt = charged.debt(self.rate, now);
        if debt > left {
            return Err(NoTurn);
        }
        *bucket = charged;
        Ok(debt)
    }

    /// Returns the time after which one more user who found the queue full must return.
    pub(crate) fn advice(&self) -> Duration {
        let (least, most) = self.advice;
        self.returns.lock().next(self.started.elapsed(), self.rate.per_second, &(least..=most.max(least)))
    }
}

impl From<Unavailable> for NotOpened {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

impl From<NotOpened> for Unavailable {
    fn from(error: NotOpened) -> Self {
        match error {
            NotOpened::Unavailable(unavailable) => unavailable,
            NotOpened::Busy => Self::new("too many rooms wait to be opened"),
        }
    }
}
