//! The state that a run and its participants share.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// The end of a run: participants read until the newest message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) newest: u64,
    pub(crate) deadline: Instant,
}

/// The users in the room from the view of one participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// As the events say.
    pub(crate) announced: BTreeSet<String>,
    /// As the last answer to `members` says.
    pub(crate) listed: BTreeSet<String>,
}

pub(crate) struct Shared {
    room: String,
    /// `None` until the end of the run.
    pub(crate) end: watch::Sender<Option<End>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The addresses of the nodes. `None` while one does not run.
    nodes: Vec<Option<SocketAddr>>,
    epoch: Option<String>,
    views: BTreeMap<String, View>,
    /// The users who leave.
    leaving: BTreeSet<String>,
    /// True if writers begin no other message.
    is_finishing: bool,
    /// The number of messages without an acknowledgement.
    unacknowledged: usize,
    counts: Counts,
}

/// The numbers of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// The acknowledged messages.
    pub(crate) acknowledged: u64,
    /// The sends that were answered with `unavailable`.
    pub(crate) refused: u64,
    /// The longest time from the first send of a message to its acknowledgement.
    pub(crate) window: Duration,
    /// The newest acknowledged position.
    newest: u64,
}

impl Shared {
    pub(crate) fn new(room: String) -> Self {
        Self { room, end: watch::Sender::new(None), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn room(&self) -> &str {
        &self.room
    }

    pub(crate) fn nodes(&self) -> Vec<Option<SocketAddr>> {
        self.lock().nodes.clone()
    }

    pub(crate) fn set_nodes(&self, nodes: Vec<Option<SocketAddr>>) {
        self.lock().nodes = nodes;
    }

    pub(crate) fn epoch(&self) -> Option<String> {
        self.lock().epoch.clone()
    }

    /// Sets the epoch of the room, unless it is known.
    pub(crate) fn set_epoch(&self, epoch: &str) {
        self.lock().epoch.get_or_insert_with(|| epoch.to_owned());
    }

    pub(crate) fn set_view(&self, user: &str, view: Option<View>) {
        let mut state = self.lock();
        match view {
            Some(view) => drop(state.views.insert(user.to_owned(), view)),
            None => drop(state.views.remove(user)),
        }
    }

    /// Lets a user leave until the end of the run.
    pub(crate) fn leave(&self, user: &str) {
        self.lock().leaving.insert(user.to_owned());
    }

    pub(crate) fn leaves(&self, user: &str) -> bool {
        self.lock().leaving.contains(user)
    }

    /// Counts a new message. Returns false if it must not be sent.
    pub(crate) fn begins(&self) -> bool {
        let mut state = self.lock();
        state.unacknowledged += usize::from(!state.is_finishing);
        !state.is_finishing
    }

    /// Lets writers begin no other message. Waits until all messages are acknowledged, and returns the newest position.
    pub(crate) async fn finish(&self, limit: Duration) -> Result<u64> {
        self.lock().is_finishing = true;
        let until = Instant::now() + limit;
        while self.lock().unacknowledged > 0 {
            ensure!(Instant::now() < until, "a message is not acknowledged within {limit:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(self.lock().counts.newest)
    }

    pub(crate) fn acknowledged(&self, seq: u64, after: Duration) {
        let mut state = self.lock();
        state.unacknowledged -= 1;
        let counts = &mut state.counts;
        counts.acknowledged += 1;
        counts.newest = counts.newest.max(seq);
        counts.window = counts.window.max(after);
    }

    pub(crate) fn refused(&self) {
        self.lock().counts.refused += 1;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Waits until this many further messages are acknowledged.
    pub(crate) async fn progress(&self, messages: u64, limit: Duration) -> Result<()> {
        let (wanted, until) = (self.counts().acknowledged + messages, Instant::now() + limit);
        while self.counts().acknowledged < wanted {
            ensure!(Instant::now() < until, "no {messages} further messages within {limit:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Returns the first participant whose view is wrong, if there is one.
    pub(crate) fn wrong_view(&self, expected: &BTreeSet<String>) -> Option<String> {
        let state = self.lock();
        expected.iter().find_map(|user| {
            let Some(View { announced, listed }) = state.views.get(user) else {
                return Some(format!("{user} is not connected"));
            };
            let mut announced = announced.clone();
            // A user hears nothing about itself.
            announced.insert(user.clone());
            let differ = |users: &BTreeSet<String>| {
                users.symmetric_difference(expected).cloned().collect::<Vec<_>>().join(", ")
            };
            (announced != *expected || listed != expected).then(|| {
                format!(
                    "{user}: its events differ in [{}], its list in [{}]",
                    differ(&announced),
                    differ(listed)
                )
            })
        })
    }
}
