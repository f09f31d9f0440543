use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use chat_core::{AppendError, AppendReceipt, CommitSink, RoomName, StoredMessage};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Tells the outlets of what is committed, in the order of the commits.
///
/// Whoever has appended does so, before it has its answer: to wake a room's members in a thread of the runtime costs
/// much less than from the one that writes.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    listeners: Mutex<Listeners>,
    waiting: Mutex<Waiting>,
    /// Held by who tells.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Listeners {
    /// Those who want to hear of a room: one, but where it is being opened anew.
    rooms: HashMap<RoomName, Vec<(u64, CommitSink)>>,
    next: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Committed>,
    /// Messages that wait no longer.
    taken: u64,
}

/// A message that is committed.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) room: RoomName,
    pub(crate) stored: StoredMessage,
    /// Its place in the queue, given back when it is told of.
    pub(crate) place: OwnedSemaphorePermit,
}

/// What became of an append.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) result: Result<AppendReceipt, AppendError>,
    /// The messages that are told of before anybody hears of it, counted from the first of all.
    pub(crate) after: u64,
}

/// An append that is to be answered. What it has added is told of even if nobody waits for the answer any more.
#[derive(Debug)]
pub(crate) struct Pending<'t> {
    teller: &'t Teller,
    answer: oneshot::Receiver<Answer>,
}

impl Teller {
    /// Lets an outlet hear of a room's messages, whoever appends them, until [`forget`](Self::forget).
    pub(crate) fn listen(&self, room: &RoomName, outlet: CommitSink) -> u64 {
        let mut listeners = self.listeners.lock();
        listeners.next += 1;
        let listener = listeners.next;
        listeners.rooms.entry(room.clone()).or_default().push((listener, outlet));
        listener
    }

    pub(crate) fn forget(&self, room: &RoomName, listener: u64) {
        let mut listeners = self.listeners.lock();
        if let Some(outlets) = listeners.rooms.get_mut(room) {
            outlets.retain(|(number, _)| *number != listener);
            if outlets.is_empty() {
                listeners.rooms.remove(room);
            }
        }
    }

    /// Lets a message wait until it is told of.
    pub(crate) fn push(&self, message: Committed) {
        self.waiting.lock().messages.push_back(message);
    }

    /// How many messages there have been.
    pub(crate) fn pushed(&self) -> u64 {
        let waiting = self.waiting.lock();
        waiting.taken + waiting.messages.len() as u64
    }

    /// Answers an append. If nobody waits, what is to be told of before is told of here.
    pub(crate) fn answer(&self, to: oneshot::Sender<Answer>, result: Result<AppendReceipt, AppendError>) {
        if let Err(unheard) = to.send(Answer { result, after: self.pushed() }) {
            self.tell(unheard.after);
        }
    }

    /// Waits for an answer.
    pub(crate) fn pending(&self, answer: oneshot::Receiver<Answer>) -> Pending<'_> {
        Pending { teller: self, answer }
    }

    /// Tells of so many messages, counted from the first of all: on return that is done, whoever did it.
    pub(crate) fn tell(&self, up_to: u64) {
        let _turn = self.turn.lock();
        while let Some(message) = self.take(up_to) {
            self.tell_of(message);
        }
    }

    fn take(&self, up_to: u64) -> Option<Committed> {
        let mut waiting = self.waiting.lock();
        if waiting.taken >= up_to {
            return None;
        }
        let message = waiting.messages.pop_front()?;
        waiting.taken += 1;
        Some(message)
    }

    fn tell_of(&self, Committed { room, stored, place }: Committed) {
        // Told without the lock: with the last who holds a room, its listener goes.
        let outlets = self.listeners.lock().rooms.get(&room).cloned().unwrap_or_default();
        for (_, outlet) in outlets {
            // It is the host's: what fails there costs neither the others nor the answer.
            if catch_unwind(AssertUnwindSafe(|| outlet.committed(&stored))).is_err() {
                tracing::error!(%room, seq = stored.seq, "an outlet has panicked");
            }
        }
        drop(place);
    }
}

impl Pending<'_> {
    /// The answer; none if the store, or its thread, has ended without one.
    pub(crate) async fn wait(mut self) -> Option<Result<AppendReceipt, AppendError>> {
        let Answer { result, after } = (&mut self.answer).await.ok()?;
        self.teller.tell(after);
        Some(result)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        // Closed first: what is answered from now on, the one who answers tells of.
        self.answer.close();
        if let Ok(Answer { after, .. }) = self.answer.try_recv() {
            self.teller.tell(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use chat_core::{NewMessage, User};
    use serde_json::value::RawValue;
    use tokio::runtime::Builder;
    use tokio::sync::Semaphore;

    use super::*;

    fn lobby() -> RoomName {
        "lobby".parse().expect("a room name")
    }

    /// A teller, and what it tells of the lobby.
    fn teller() -> (Arc<Teller>, mpsc::Receiver<u64>) {
        let teller = Teller::default();
        let (told, tells) = mpsc::channel();
        let outlet = CommitSink::new(move |stored| {
            // Another thread may go ahead, if it can.
            thread::yield_now();
            told.send(stored.seq).expect("somebody listens");
        });
        teller.listen(&lobby(), outlet);
        (Arc::new(teller), tells)
    }

    /// Does what the writer does with a message that it has stored.
    fn commit(teller: &Teller, seq: u64, answer: oneshot::Sender<Answer>) {
        let body = RawValue::from_string("{}".to_owned()).expect("JSON");
        let draft = NewMessage { user: User::guest("ann").expect("a name"), key: None, body };
        let stored = draft.into_stored(lobby(), seq, 0);
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
        teller.push(Committed { room: lobby(), stored, place });
        teller.answer(answer, Ok(AppendReceipt { seq, at: 0, duplicate: false }));
    }

    #[test]
    fn messages_are_told_of_in_order_and_before_they_are_answered_by_whichever_thread() {
        let (teller, tells) = teller();
        let runtime = Builder::new_multi_thread().worker_threads(4).build().expect("a runtime");
        let mut appends = Vec::new();
        for seq in 1..=2_000 {
            let (answer, answered) = oneshot::channel();
            let waits = Arc::clone(&teller);
            appends.push(runtime.spawn(async move {
                let answer = waits.pending(answered).wait().await.expect("an answer");
                (answer.map(|appended| appended.seq), waits.waiting.lock().taken)
            }));
            commit(&teller, seq, answer);
        }
        runtime.block_on(async {
            for (seq, append) in (1..).zip(appends) {
                let (answered, taken) = append.await.expect("no panic");
                assert!(answered == Ok(seq) && taken >= seq, "{answered:?} {taken}");
            }
        });
        assert_eq!(tells.try_iter().collect::<Vec<_>>(), (1..=2_000).collect::<Vec<_>>());
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_told_of_all_the_same() {
        let (teller, tells) = teller();
        let (answer, answered) = oneshot::channel();
        drop(teller.pending(answered));
        commit(&teller, 1, answer);
        assert_eq!(tells.try_recv(), Ok(1), "given up before it was answered");
        let (answer, answered) = oneshot::channel();
        let pending = teller.pending(answered);
        commit(&teller, 2, answer);
        assert_eq!(tells.try_recv(), Err(mpsc::TryRecvError::Empty), "that is for who waits");
        drop(pending);
        assert_eq!(tells.try_recv(), Ok(2), "given up before it was heard");
    }

    #[test]
    fn who_has_an_answer_has_told_of_what_was_before_and_of_nothing_else() {
        let (teller, tells) = teller();
        let (answers, mut pending): (Vec<_>, Vec<_>) = (1..=3).map(|_| oneshot::channel()).unzip();
        for (seq, answer) in (1..).zip(answers) {
            commit(&teller, seq, answer);
        }
        drop(teller.pending(pending.remove(1)));
        assert_eq!(
            tells.try_iter().collect::<Vec<_>>(),
            [1, 2],
            "one that waits does not keep others waiting"
        );
    }
}
