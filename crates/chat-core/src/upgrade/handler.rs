use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::{Connection, Ticket};

/// Code that serves upgraded connections instead of the chat's session, with the chat's limits and drain: see
/// [`Endpoint::handler`](crate::Endpoint::handler).
pub trait Handler: Send {
    /// Serves the connection. Ready once it is over.
    fn poll(&mut self, cx: &mut Context<'_>, connection: &mut dyn Connection) -> Poll<()>;
}

/// The function that makes a [`Handler`] for each connection.
#[derive(Clone)]
pub(super) struct MakeHandler(Arc<dyn Fn(Ticket) -> Box<dyn Handler> + Send + Sync>);

impl MakeHandler {
    pub(super) fn new(make: impl Fn(Ticket) -> Box<dyn Handler> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(super) fn make(&self, ticket: Ticket) -> Box<dyn Handler> {
        (self.0)(ticket)
    }
}

impl fmt::Debug for MakeHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MakeHandler").finish_non_exhaustive()
    }
}
