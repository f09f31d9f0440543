use std::sync::atomic::AtomicUsize;

/// The way in which a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Hijack,
    Framework,
    /// A connection without an [`Endpoint`](crate::Endpoint).
    Other,
}

impl Mechanism {
    /// All mechanisms, with their names in metrics.
    pub(crate) const ALL: [(Self, &'static str); 3] =
        [(Self::Hijack, "hijack"), (Self::Framework, "framework"), (Self::Other, "other")];
}

/// The numbers of open connections and sessions of one mechanism.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) connections: AtomicUsize,
    pub(super) sessions: AtomicUsize,
}
