use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{CommitSink, Limits, Room, RoomName};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::{Ability, Case};

/// A store under test, as one process has it open.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes or finds the log of a room: what is given to [`Builder::rooms`](chat_core::Builder::rooms).
    fn room(&self, name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Arc<dyn Room>;

    /// Ends this life of the store and begins the next, as a restart of the process does.
    async fn reopen(self: Box<Self>) -> Box<dyn Store>;
}

type Open = dyn Fn(Arc<Limits>) -> BoxFuture<'static, Box<dyn Store>> + Send + Sync;

/// A kind of store, and where it is known to do less than a room may promise.
pub struct Kind {
    name: String,
    open: Box<Open>,
    without: Vec<(Ability, &'static str)>,
    deviations: Vec<(&'static str, &'static str)>,
}

impl Kind {
    /// A kind of store that does everything. `open` makes one in which nothing is, for one case; how much it keeps,
    /// and for how long, is in the limits, which are those of its rooms too.
    pub fn new<S: Store, F: Future<Output = S> + Send + 'static>(
        name: impl Into<String>,
        open: impl Fn(Arc<Limits>) -> F + Send + Sync + 'static,
    ) -> Self {
        let open = move |limits| open(limits).map(|store| Box::new(store) as Box<dyn Store>).boxed();
        Self { name: name.into(), open: Box::new(open), without: Vec::new(), deviations: Vec::new() }
    }

    /// Expects each case that needs `ability` to fail, for this reason. They are run all the same, and fail if they
    /// pass.
    #[must_use]
    pub fn without(mut self, ability: Ability, reason: &'static str) -> Self {
        self.without.push((ability, reason));
        self
    }

    /// Expects the case `path` to fail, for this reason. It is run all the same, and fails if it passes.
    #[must_use]
    pub fn deviation(mut self, path: &'static str, reason: &'static str) -> Self {
        self.deviations.push((path, reason));
        self
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new store.
    pub(crate) async fn open(&self, limits: Arc<Limits>) -> Box<dyn Store> {
        (self.open)(limits).await
    }

    /// Why this case is expected to fail, if it is.
    pub(crate) fn reason(&self, case: &Case) -> Option<&'static str> {
        let path = case.path();
        let deviation =
            self.deviations.iter().find(|(deviant, _)| *deviant == path).map(|(_, reason)| *reason);
        let lacks = |(ability, _): &&(Ability, &str)| case.needs.contains(ability);
        deviation.or_else(|| self.without.iter().find(lacks).map(|(_, reason)| *reason))
    }

    /// The listed deviations.
    pub(crate) fn deviations(&self) -> impl Iterator<Item = &'static str> {
        self.deviations.iter().map(|(path, _)| *path)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind")
            .field("name", &self.name)
            .field("without", &self.without)
            .field("deviations", &self.deviations)
            .finish_non_exhaustive()
    }
}
