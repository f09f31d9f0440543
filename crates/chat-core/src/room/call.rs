//! Calls of a store, each with a time limit.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::FutureExt;

use crate::room::{LiveRoom, Rooms};
use crate::stats::count;
use crate::timer;
use crate::{
    Act, AppendError, AppendReceipt, ChangeError, ChangeReceipt, Forbidden, MarkerError, NewAct, NewChange,
    SearchError, ThreadError, Unavailable,
};

/// Waits until a message with a body that was checked is appended.
///
/// It gets the answer of the log and not the message, and so keeps its future below 1 KiB: larger boxes cost an
/// allocator much more.
pub(crate) async fn append(
    room: &LiveRoom,
    answer: impl Future<Output = Result<AppendReceipt, AppendError>>,
    rooms: &Arc<Rooms>,
) -> Result<AppendReceipt, AppendError> {
    let started = Instant::now();
    let answer = pin!(room.track_append(answer));
    let receipt = within_time(rooms.limits.rooms.call_timeout, rooms, answer).await?;
    metrics::histogram!("chat_append_seconds").record(started.elapsed());
    count(if receipt.duplicate { &rooms.counters.duplicates } else { &rooms.counters.appends });
    room.note_committed(&receipt.epoch, receipt.seq);
    if !receipt.duplicate {
        rooms.announce_activity(room.name());
    }
    Ok(receipt)
}

/// Changes a message. The body of an edit was checked.
pub(crate) async fn change(
    room: &LiveRoom,
    change: NewChange,
    rooms: &Arc<Rooms>,
) -> Result<ChangeReceipt, ChangeError> {
    let kind = change.change.kind();
    let receipt = stored(room, room.log().change(change), rooms).await?;
    match (receipt.seq, receipt.duplicate) {
        (Some(_), false) => rooms.counters.change(kind),
        (Some(_), true) => count(&rooms.counters.duplicates),
        (None, _) => {}
    }
    Ok(receipt)
}

/// Sets the rules of a room or the standing of a user, or deletes all messages of a user.
pub(crate) async fn govern(
    room: &LiveRoom,
    act: NewAct,
    rooms: &Arc<Rooms>,
) -> Result<ChangeReceipt, ChangeError> {
    match act.act {
        Act::Purge { .. } => purge(room, act, rooms).await,
        _ => stored(room, room.log().govern(act), rooms).await,
    }
}

/// Deletes all messages of a user. It may take longer than another call of a store.
async fn purge(room: &LiveRoom, act: NewAct, rooms: &Arc<Rooms>) -> Result<ChangeReceipt, ChangeError> {
    let limit = rooms.limits.rooms.purge_timeout;
    stored_within(limit, room, room.log().purge(act), rooms).await
}

/// Waits until a change or an act is stored.
async fn stored(
    room: &LiveRoom,
    answer: impl Future<Output = Result<ChangeReceipt, ChangeError>>,
    rooms: &Arc<Rooms>,
) -> Result<ChangeReceipt, ChangeError> {
    let started = Instant::now();
    let answer = pin!(room.track_append(answer));
    let receipt = stored_within(rooms.limits.rooms.call_timeout, room, answer, rooms).await?;
    metrics::histogram!("chat_append_seconds").record(started.elapsed());
    Ok(receipt)
}

async fn stored_within(
    limit: Duration,
    room: &LiveRoom,
    answer: impl Future<Output = Result<ChangeReceipt, ChangeError>> + Unpin,
    rooms: &Arc<Rooms>,
) -> Result<ChangeReceipt, ChangeError> {
    let receipt = within_time(limit, rooms, answer).await?;
    if let Some(seq) = receipt.seq {
        room.note_committed(&receipt.epoch, seq);
        if !receipt.duplicate {
            rooms.announce_activity(room.name());
        }
    }
    Ok(receipt)
}

/// Waits for an answer of the host, and logs a failure.
pub(crate) async fn ask<T>(
    rooms: &Rooms,
    answer: impl Future<Output = Result<T, Forbidden>>,
) -> Result<T, Forbidden> {
    let limit = rooms.limits.rooms.call_timeout;
    let unavailable = match timer::timeout(limit, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(Err(Forbidden::Unavailable(unavailable)))) => unavailable,
        Ok(Ok(answer)) => return answer,
        Ok(Err(_)) => Unavailable::new("the host's Authorize panicked"),
        Err(_) => Unavailable::new(format!("the host did not authorize within {limit:?}")),
    };
    rooms.warnings.unavailable(unavailable.cause());
    Err(unavailable.into())
}

/// Waits for the answer of a store for [`RoomLimits::call_timeout`](crate::RoomLimits::call_timeout), and logs a
/// failure.
pub(crate) async fn within<T, E: CallError>(
    rooms: &Rooms,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    within_time(rooms.limits.rooms.call_timeout, rooms, pin!(answer)).await
}

/// Waits for an answer, which the caller has pinned: each function that takes a future has space for it twice.
async fn within_time<T, E: CallError>(
    limit: Duration,
    rooms: &Rooms,
    answer: impl Future<Output = Result<T, E>> + Unpin,
) -> Result<T, E> {
    let error = match timer::timeout(limit, answer).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => {
            if error.unavailable().is_some() {
                count(&rooms.counters.store_failures);
            }
            error
        }
        Err(_) => {
            count(&rooms.counters.store_timeouts);
            Unavailable::new(format!("no answer within {limit:?}")).into()
        }
    };
    if let Some(unavailable) = error.unavailable() {
        if unavailable.is_over_quota() {
            count(&rooms.counters.over_quota);
        }
        rooms.warnings.unavailable(unavailable.cause());
    }
    Err(error)
}

/// An error of a store, which may say that the store cannot answer now.
pub(crate) trait CallError: From<Unavailable> {
    fn unavailable(&self) -> Option<&Unavailable>;
}

impl CallError for Unavailable {
    fn unavailable(&self) -> Option<&Unavailable> {
        Some(self)
    }
}

macro_rules! call_errors {
    ($($error:ident),*) => {$(
        impl CallError for $error {
            fn unavailable(&self) -> Option<&Unavailable> {
                match self {
                    Self::Unavailable(unavailable) => Some(unavailable),
                    _ => None,
                }
            }
        }
    )*};
}

call_errors!(AppendError, ChangeError, MarkerError, SearchError, ThreadError);
