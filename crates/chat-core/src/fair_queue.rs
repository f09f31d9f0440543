//! A queue in which users take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hashlink::LinkedHashSet;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{UserKey, timer};

/// A bounded queue for one kind of work. Users take turns, so that a user who waits with many jobs delays others as
/// much as a user who waits with one.
#[derive(Debug)]
pub(crate) struct FairQueue {
    limits: QueueLimits,
    // Nothing is awaited, and no turn is dropped, while this is held.
    state: Mutex<State>,
}

/// The limits of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    /// Jobs in flight.
    pub(crate) running: usize,
    /// Jobs of one user in flight.
    pub(crate) running_per_user: usize,
    /// Jobs that wait.
    pub(crate) waiting: usize,
    /// Jobs of one user that wait.
    pub(crate) waiting_per_user: usize,
    /// Time for which a job waits.
    pub(crate) timeout: Duration,
}

/// An error of a job that got no place in the queue, or no turn in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoTurn;

#[derive(Debug, Default)]
struct State {
    running: usize,
    waiting: usize,
    /// The number of the last job that waited.
    last: u64,
    users: HashMap<UserKey, Jobs>,
    /// The users who wait and may run one more job, in the order of their turns.
    turns: LinkedHashSet<UserKey>,
}

/// The jobs of one user.
#[derive(Debug, Default)]
struct Jobs {
    running: usize,
    waiting: VecDeque<(u64, oneshot::Sender<Turn>)>,
}

/// The right to run one job. Dropping it gives the turn to the next one.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: Arc<FairQueue>,
    user: UserKey,
}

/// A job that waits. Dropping it gives up its place.
#[derive(Debug)]
struct Place<'q> {
    queue: &'q FairQueue,
    user: UserKey,
    number: u64,
}

impl FairQueue {
    pub(crate) fn new(limits: QueueLimits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// Returns the number of jobs that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// Waits for a turn of a user.
    pub(crate) async fn turn(self: &Arc<Self>, user: UserKey) -> Result<Turn, NoTurn> {
        let (place, turn) = {
            let mut state = self.state.lock();
            let state = &mut *state;
            let may_run = state.running < self.limits.running;
            let jobs = state.users.entry(user.clone()).or_default();
            if may_run && jobs.running < self.limits.running_per_user {
                jobs.running += 1;
                state.running += 1;
                return Ok(Turn { queue: Arc::clone(self), user });
            }
            let is_full = jobs.waiting.len() >= self.limits.waiting_per_user;
            if is_full || state.waiting >= self.limits.waiting {
                state.forget(&user);
                return Err(NoTurn);
            }
            let (sender, turn) = oneshot::channel();
            let number = state.push(&user, sender, self.limits.running_per_user);
            (Place { queue: self, user, number }, turn)
        };
        let turn = timer::timeout(self.limits.timeout, turn).await;
        drop(place);
        turn.map_err(|_| NoTurn)?.map_err(|_| NoTurn)
    }

    /// Ends a job of a user, and gives the free turns to the jobs that wait for them.
    fn end(self: &Arc<Self>, user: &UserKey) {
        let given = {
            let mut state = self.state.lock();
            state.end(user);
            let mut given = Vec::new();
            while state.running < self.limits.running
                && let Some((user, next)) = state.pop(self.limits.running_per_user)
            {
                given.push((next, Turn { queue: Arc::clone(self), user }));
            }
            given
        };
        for (next, turn) in given {
            // A job that has just given up returns the turn.
            drop(next.send(turn));
        }
    }
}

impl State {
    /// Appends a job of a user to those that wait. Returns its number.
    fn push(&mut self, user: &UserKey, sender: oneshot::Sender<Turn>, running_per_user: usize) -> u64 {
        self.last += 1;
        self.waiting += 1;
        let jobs = self.users.entry(user.clone()).or_default();
        jobs.waiting.push_back((self.last, sender));
        if jobs.running < running_per_user && !self.turns.contains(user) {
            self.turns.insert(user.clone());
        }
        self.last
    }

    /// Starts the next job. Its user goes to the end of the turns.
    fn pop(&mut self, running_per_user: usize) -> Option<(UserKey, oneshot::Sender<Turn>)> {
        let user = self.turns.pop_front()?;
        let jobs = self.users.get_mut(&user)?;
        let (_, next) = jobs.waiting.pop_front()?;
        jobs.running += 1;
        self.running += 1;
        self.waiting -= 1;
        if !jobs.waiting.is_empty() && jobs.running < running_per_user {
            self.turns.insert(user.clone());
        }
        Some((user, next))
    }

    /// Ends a job. Its user goes to the end of the turns if another job of the user waits.
    fn end(&mut self, user: &UserKey) {
        self.running -= 1;
        let Some(jobs) = self.users.get_mut(user) else { return };
        jobs.running -= 1;
        if !jobs.waiting.is_empty() && !self.turns.contains(user) {
            self.turns.insert(user.clone());
        }
        self.forget(user);
    }

    /// Removes a job that waits, if it still does.
    fn remove(&mut self, user: &UserKey, number: u64) {
        let Some(jobs) = self.users.get_mut(user) else { return };
        let Ok(index) = jobs.waiting.binary_search_by_key(&number, |(number, _)| *number) else { return };
        drop(jobs.waiting.remove(index));
        self.waiting -= 1;
        if jobs.waiting.is_empty() {
            self.turns.remove(user);
        }
        self.forget(user);
    }

    /// Forgets a user without jobs.
    fn forget(&mut self, user: &UserKey) {
        if self.users.get(user).is_some_and(|jobs| jobs.running == 0 && jobs.waiting.is_empty()) {
            self.users.remove(user);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.end(&self.user);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.state.lock().remove(&self.user, self.number);
    }
}
