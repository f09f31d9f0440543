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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use chat_core::{AppendError, Appended, Draft, Outlet, RoomName, User};
    use serde_json::value::RawValue;
    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::{Semaphore, oneshot};

    use super::*;
    use crate::ledger::Prepared;

    type Batch = Vec<(Job, Outcome)>;

    fn runtime(threads: usize) -> Runtime {
        Builder::new_multi_thread().worker_threads(threads).build().expect("a runtime")
    }

    /// A teller, and what it tells of the lobby.
    fn teller() -> (Arc<Teller>, mpsc::Receiver<u64>) {
        let hub = Arc::new(Hub::default());
        let (told, tells) = mpsc::channel();
        let outlet = Outlet::new(move |stored| {
            // Another thread may go ahead, if it can.
            std::thread::yield_now();
            told.send(stored.seq).expect("somebody listens");
        });
        hub.listen(&lobby(), outlet);
        (Arc::new(Teller::new(hub)), tells)
    }

    fn lobby() -> RoomName {
        "lobby".parse().expect("a room name")
    }

    /// A batch of one message that is stored, and its answer.
    fn batch(seq: u64, runtime: &Runtime) -> (Batch, oneshot::Receiver<Result<Appended, AppendError>>) {
        let body = RawValue::from_string("{}".to_owned()).expect("JSON");
        let user = User::guest("ann").expect("a name");
        let draft = Draft { user: user.clone(), key: None, body: body.clone() };
        let outcome =
            Outcome::Stored(Appended { seq, at: 0, duplicate: false }, draft.into_stored(lobby(), seq, 0));
        let message = Prepared { room: lobby(), user, key: None, body };
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
        let (answer, answered) = oneshot::channel();
        (vec![(Job { message, answer, place, runtime: runtime.handle().clone() }, outcome)], answered)
    }

    #[test]
    fn batches_are_told_in_the_order_of_their_commits_by_whichever_thread() {
        let (teller, tells) = teller();
        let runtime = runtime(4);
        for seq in 1..=2_000 {
            let (batch, _answered) = batch(seq, &runtime);
            teller.hand_over(runtime.handle(), batch);
        }
        for seq in 1..=2_000 {
            assert_eq!(tells.recv_timeout(Duration::from_secs(20)), Ok(seq));
        }
    }

    #[test]
    fn what_a_runtime_has_not_told_at_its_end_is_told_all_the_same() {
        let (teller, tells) = teller();
        let ended = runtime(1);
        let (busy, is_busy) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        ended.spawn(async move {
            busy.send(()).expect("somebody waits");
            let _ended = ends.recv();
        });
        is_busy.recv().expect("begun");
        let (waits, mut answered) = batch(1, &ended);
        teller.hand_over(ended.handle(), waits);
        assert_eq!(tells.try_recv(), Err(mpsc::TryRecvError::Empty), "its only thread is busy");
        let handle = ended.handle().clone();
        drop(end);
        drop(ended);
        assert_eq!(tells.try_recv(), Ok(1));
        assert!(answered.try_recv().expect("an answer").is_ok());
        let (late, mut answered) = batch(2, &runtime(1));
        teller.hand_over(&handle, late);
        assert_eq!(tells.try_recv(), Ok(2));
        assert!(answered.try_recv().expect("an answer").is_ok());
    }
}
