use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::hub::Hub;
use crate::ledger::Outcome;
use crate::writer::Job;

/// Tells of what is committed, first the outlets, then who waits, in the order of the commits.
///
/// It does so in a thread of the runtime: to wake a room's members there costs much less than from any other.
#[derive(Debug)]
pub(crate) struct Teller {
    hub: Arc<Hub>,
    waiting: Mutex<VecDeque<Vec<(Job, Outcome)>>>,
    /// Held by who tells.
    turn: Mutex<()>,
}

/// Tells when it goes, be it that the runtime runs it or that it has ended.
struct Turn(Arc<Teller>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.tell();
    }
}

impl Teller {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, waiting: Mutex::default(), turn: Mutex::default() }
    }

    /// Lets a runtime tell of a batch.
    pub(crate) fn hand_over(self: &Arc<Self>, runtime: &Handle, batch: Vec<(Job, Outcome)>) {
        self.waiting.lock().push_back(batch);
        let turn = Turn(Arc::clone(self));
        runtime.spawn(async move { drop(turn) });
    }

    /// Tells of all that waits; on return nothing does.
    pub(crate) fn finish(&self) {
        let _turn = self.turn.lock();
        self.tell_in_turn();
    }

    /// Tells of all that waits, or leaves it to who is at it.
    fn tell(&self) {
        // Looked at again without the turn: what came while it was held may have been left to this one.
        while !self.waiting.lock().is_empty() {
            let Some(_turn) = self.turn.try_lock() else { return };
            self.tell_in_turn();
        }
    }

    fn tell_in_turn(&self) {
        while let Some(batch) = self.next() {
            for (job, outcome) in batch {
                self.answer(job, outcome);
            }
        }
    }

    fn next(&self) -> Option<Vec<(Job, Outcome)>> {
        self.waiting.lock().pop_front()
    }

    fn answer(&self, job: Job, outcome: Outcome) {
        let Job { message, answer, place, .. } = job;
        let answered = match outcome {
            Outcome::Stored(appended, stored) => {
                self.hub.counters.appended();
                self.hub.tell(&message.room, &stored);
                Ok(appended)
            }
            Outcome::Known(appended) => Ok(appended),
            Outcome::Refused(error) => Err(error),
        };
        // Whoever has gone meanwhile does not hear of it.
        let _gone = answer.send(answered);
        drop(place);
    }
}
