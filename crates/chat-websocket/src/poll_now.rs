use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::task::unconstrained;

/// Polls once, for a [direct writer](chat_core::DirectWrite) of a framework's WebSocket. Returns `None` if the
/// transport is not ready. When it becomes ready, no task is woken, so the session must poll again.
///
/// A room writes to many connections in one turn of a task, so this does not use up the budget that tokio gives to the
/// task.
///
/// # Errors
///
/// That of `poll`.
pub fn poll_now<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<Option<T>> {
    match pin!(unconstrained(poll_fn(poll))).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.map(Some),
        Poll::Pending => Ok(None),
    }
}
