use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chat_core::{ChangeError, NewAct, Unavailable};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::node::PurgePlace;
use crate::record::Purge;

use super::Receipt;

/// The callers that wait for one purge, at most.
const MAX_WAITING: usize = 16;

/// The time without progress after which a purge is continued, although its node is there.
const STALLED: Duration = Duration::from_secs(15);

/// The place from which somebody who waits for a purge gets the answer.
pub(super) type Answer = oneshot::Sender<Result<Receipt, ChangeError>>;

/// The purges of a room, as far as its records do not name them.
#[derive(Debug, Default)]
pub(super) struct RoomPurges {
    /// Those that this node carries out.
    running: BTreeMap<u64, Running>,
    /// Those that the last record names although they are over.
    over: BTreeSet<u64>,
    /// Those that the last record names: how far they are, and since when.
    progress: BTreeMap<u64, Progress>,
}

/// A purge that this node carries out.
#[derive(Debug)]
struct Running {
    act: NewAct,
    /// The newest position up to which somebody wants it.
    up_to: u64,
    waiting: Vec<Answer>,
    /// True if it looks for no further messages.
    is_last: bool,
    _place: PurgePlace,
}

#[derive(Debug)]
struct Progress {
    after: u64,
    since: Instant,
    /// True if this node has tried to continue it, and has failed.
    has_failed: bool,
}

/// The result of [`RoomPurges::begin`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Started,
    /// The same purge goes on. It deletes the newer messages too.
    Joined,
}

impl RoomPurges {
    /// Records that this node carries out a purge, and somebody who waits for it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] without a place.
    pub(super) fn begin(
        &mut self,
        purge: &Purge,
        act: &NewAct,
        answer: Option<Answer>,
        place: impl FnOnce() -> Result<PurgePlace, Unavailable>,
    ) -> Result<Begun, Unavailable> {
        let is_same = |(id, running): &(&u64, &mut Running)| {
            !running.is_last && (**id == purge.id || running.act.repeats(act))
        };
        if let Some((_, running)) = self.running.iter_mut().find(is_same) {
            running.waiting.retain(|waiting| !waiting.is_closed());
            if running.waiting.len() >= MAX_WAITING {
                return Err(Unavailable::over_quota("too many wait for the purge"));
            }
            running.up_to = running.up_to.max(purge.up_to);
            running.waiting.extend(answer);
            return Ok(Begun::Joined);
        }
        let (place, waiting) = (place()?, Vec::from_iter(answer));
        let (act, up_to) = (act.clone(), purge.up_to);
        let running = Running { act, up_to, waiting, is_last: false, _place: place };
        self.running.insert(purge.id, running);
        Ok(Begun::Started)
    }

    /// Returns the end of a purge that has deleted all messages up to a position, or `None` if it is complete.
    pub(super) fn extend(&mut self, id: u64, up_to: u64) -> Option<u64> {
        let running = self.running.get_mut(&id)?;
        running.is_last = running.up_to <= up_to;
        (!running.is_last).then_some(running.up_to)
    }

    /// Records that this node does not carry out a purge any more. Returns the callers that wait for it. `named` are
    /// the purges that the last record names.
    pub(super) fn end(&mut self, named: &[Purge], id: u64, is_over: bool) -> Vec<Answer> {
        self.over.retain(|over| named.iter().any(|purge| purge.id == *over));
        if is_over {
            self.over.insert(id);
        } else if let Some(purge) = named.iter().find(|purge| purge.id == id) {
            let progress = Progress { after: purge.after, since: Instant::now(), has_failed: true };
            self.progress.insert(id, progress);
        }
        self.running.remove(&id).map(|running| running.waiting).unwrap_or_default()
    }

    /// Returns those of the named purges that are not complete.
    pub(super) fn unfinished(&self, named: &[Purge]) -> Vec<Purge> {
        named.iter().filter(|purge| !self.over.contains(&purge.id)).cloned().collect()
    }

    /// Returns those of the named purges that nobody carries out: their nodes are not there, or make no progress.
    pub(super) fn abandoned(&mut self, named: &[Purge], is_there: impl Fn(&str) -> bool) -> Vec<Purge> {
        self.progress.retain(|id, _| named.iter().any(|purge| purge.id == *id));
        let mut abandoned = self.unfinished(named);
        abandoned.retain(|purge| {
            let begin = || Progress { after: purge.after, since: Instant::now(), has_failed: false };
            let progress = self.progress.entry(purge.id).or_insert_with(begin);
            if progress.after != purge.after {
                *progress = begin();
            }
            let is_left = !progress.has_failed && !is_there(&purge.node);
            !self.running.contains_key(&purge.id) && (is_left || progress.since.elapsed() >= STALLED)
        });
        abandoned
    }
}

#[cfg(test)]
mod tests {
    use chat_core::{Act, User};

    use super::*;
    use crate::node::Purging;

    fn user(id: &str) -> User {
        User::new(id, id).unwrap()
    }

    fn act(by: &str) -> NewAct {
        NewAct::new(user(by), Act::Purge { user: user("eve") })
    }

    fn purge(id: u64, after: u64) -> Purge {
        let mut purge = Purge::new(id, "n1".to_owned(), &act("ann"), 100);
        purge.after = after;
        purge
    }

    /// Begins a purge, and returns what came of it and the place of the answer.
    fn begin(
        purges: &mut RoomPurges,
        purging: &Purging,
        new: &Purge,
        by: &str,
    ) -> (Result<Begun, Unavailable>, oneshot::Receiver<Result<Receipt, ChangeError>>) {
        let (answer, answered) = oneshot::channel();
        let place = || purging.enter(new.id, &"lobby".parse().unwrap(), &act(by));
        (purges.begin(new, &act(by), Some(answer), place), answered)
    }

    #[test]
    fn a_repeat_waits_for_the_same_end_and_extends_it() {
        let (mut purges, purging) = (RoomPurges::default(), Purging::default());
        let (begun, _first) = begin(&mut purges, &purging, &purge(1, 0), "ann");
        assert_eq!(begun, Ok(Begun::Started));
        let mut waiting = Vec::new();
        for id in 2..=MAX_WAITING as u64 {
            let mut repeat = purge(id, 0);
            repeat.up_to += id;
            let (begun, answered) = begin(&mut purges, &purging, &repeat, "ann");
            assert_eq!(begun, Ok(Begun::Joined));
            waiting.push(answered);
        }
        let (begun, _refused) = begin(&mut purges, &purging, &purge(99, 0), "ann");
        assert!(begun.is_err_and(|error| error.is_over_quota()));
        waiting.pop();
        let (begun, _joined) = begin(&mut purges, &purging, &purge(99, 0), "ann");
        assert_eq!(begun, Ok(Begun::Joined), "a place of a caller that is gone");
        let last = 100 + MAX_WAITING as u64;
        assert_eq!((purges.extend(1, 100), purges.extend(1, last)), (Some(last), None));
        assert_eq!(begin(&mut purges, &purging, &purge(100, 0), "ann").0, Ok(Begun::Started), "too late");
        assert_eq!(purges.end(&[], 1, true).len(), MAX_WAITING);
    }

    #[test]
    fn another_purge_needs_a_place_of_its_own() {
        let (mut purges, purging) = (RoomPurges::default(), Purging::default());
        for (id, by) in [(1, "ann"), (2, "bob")] {
            assert_eq!(begin(&mut purges, &purging, &purge(id, 0), by).0, Ok(Begun::Started));
        }
        assert!(begin(&mut purges, &purging, &purge(3, 0), "zoe").0.is_err());
        drop(purges.end(&[], 1, true));
        assert_eq!(begin(&mut purges, &purging, &purge(3, 0), "zoe").0, Ok(Begun::Started));
    }

    #[tokio::test(start_paused = true)]
    async fn a_purge_is_continued_when_its_node_is_gone_or_makes_no_progress() {
        let (mut purges, purging) = (RoomPurges::default(), Purging::default());
        let ids = |purges: Vec<Purge>| purges.iter().map(|purge| purge.id).collect::<Vec<_>>();
        let named = [purge(1, 10)];
        assert_eq!(ids(purges.abandoned(&named, |_| true)), [0; 0]);
        assert_eq!(ids(purges.abandoned(&named, |_| false)), [1]);
        tokio::time::advance(STALLED / 2).await;
        let named = [purge(1, 20)];
        assert_eq!(ids(purges.abandoned(&named, |_| true)), [0; 0]);
        tokio::time::advance(STALLED / 2).await;
        assert_eq!(ids(purges.abandoned(&named, |_| true)), [0; 0], "progress since");
        tokio::time::advance(STALLED / 2).await;
        assert_eq!(ids(purges.abandoned(&named, |_| true)), [1]);
        // This node tries it, and fails.
        assert_eq!(begin(&mut purges, &purging, &named[0], "ann").0, Ok(Begun::Started));
        assert_eq!(ids(purges.abandoned(&named, |_| false)), [0; 0], "it goes on");
        drop(purges.end(&named, 1, false));
        assert_eq!(ids(purges.abandoned(&named, |_| false)), [0; 0], "after a pause");
        tokio::time::advance(STALLED).await;
        assert_eq!(ids(purges.abandoned(&named, |_| false)), [1]);
        assert_eq!(begin(&mut purges, &purging, &named[0], "ann").0, Ok(Begun::Started));
        drop(purges.end(&named, 1, true));
        assert_eq!(ids(purges.abandoned(&named, |_| false)), [0; 0]);
        assert!(purges.unfinished(&named).is_empty());
    }
}
