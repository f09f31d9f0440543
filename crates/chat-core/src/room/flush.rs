//! The flushes of a room: events that are written straight to the connections of its members.
//!
//! A flush has a batch of events and visits the direct members in chunks. A task takes one chunk after the other; in a
//! large room several tasks do so. When the last chunk of a flush is done, the next flush takes all events that have
//! come meanwhile. So a room that is busy writes larger batches, and not more of them. If a session causes a flush, it
//! writes the first chunks itself, when it has written its own frames: see [`OwnFlushes`](super::OwnFlushes).
//!
//! A flush to many members costs about the same for one event as for several. So it waits for messages that come soon,
//! for [`HOLD_LIMIT`] at most: see [`Awaited`]. A store that answers later splits messages that come at about the same
//! time, so the appends that are at the store are awaited. In a busy room, members write again when they have got a
//! flush, and each at another time, so their next messages are awaited too.
//!
//! Invariants:
//!
//! 1. One flush of a room goes on at a time. The next one begins where it ended.
//! 2. A member gets a batch only if its position is exactly the beginning of the batch, and its [outlet] is open. The
//!    position moves under the lock of its [seat], together with the write.
//! 3. When a flush ends, each direct member has got its events, has taken them itself, or is awake.
//! 4. A flush waits at most once: for appends that no earlier flush has waited for, whether they are then stored,
//!    refused or dropped, and for members who have written before the last flush and not since. The wait ends with the
//!    last of them. While a task waits, no other task begins a flush.
//!
//! [outlet]: super::outlet::Outlet
//! [seat]: super::seat::Seat

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use chat_proto::room::{Flush, Place};
use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::awaited::Awaited;
use super::inbox::wake_all;
use super::live::{Shared, State};
use super::own_flushes;
use super::seat::{Flushed, Seat};
use crate::sync::{spawn, workers};

/// The most members of one chunk. Small for shuttle, which checks a few members.
const CHUNK: usize = if cfg!(feature = "shuttle") { 1 } else { 64 };

/// The members of a chunk that need no allocation: those of a small room.
const FEW: usize = 4;

/// The direct members up to which a flush does not wait.
const SMALL_ROOM: usize = if cfg!(feature = "shuttle") { 3 } else { 64 };

/// The chunks that a task writes before other tasks get their turn: about 1 ms with short messages.
const CHUNKS_PER_TURN: usize = 4;

/// The approximate number of bytes that a task writes before other tasks get their turn. One member may get more.
const BYTES_PER_TURN: usize = 256 * 1024;

/// The direct members for which one more task writes.
const MEMBERS_PER_TASK: usize = if cfg!(feature = "shuttle") { 1 } else { 256 };

/// The direct members from which on a flush may also wait for writers: it takes about as long as the wait.
const BUSY_ROOM: usize = CHUNK * CHUNKS_PER_TURN;

/// The longest wait of a flush, and the longest time since the last flush if it waits for writers. The timers of tokio
/// have a resolution of 1 ms.
const HOLD_LIMIT: Duration = Duration::from_millis(2);

/// The flush of a room that goes on, and the tasks that write it.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    tasks: usize,
    round: Option<Round>,
    /// True while a task waits for messages. It begins the next flush.
    is_held: bool,
}

#[derive(Debug)]
struct Round {
    flush: Arc<Flush>,
    /// The last member whose chunk was begun.
    after: Option<u64>,
    /// True if no chunk is left to begin.
    is_begun: bool,
    /// The chunks that are being written.
    in_work: usize,
    /// The chunks that were begun.
    chunks: usize,
}

/// The members of a chunk.
type Chunk = SmallVec<[Arc<Seat>; FEW]>;

/// The next work of a task.
enum Next {
    /// The members of a chunk get this flush.
    Chunk(Arc<Flush>),
    /// A flush of several chunks has ended, and another one follows. Members that have got the events may have
    /// answered, so their sessions get a turn first: what they send is in the next flush then.
    Pause,
    /// The task waits for messages before the next flush.
    Hold,
    /// Nothing is left, or other tasks do it.
    Nothing,
}

impl Round {
    fn new(flush: Flush) -> Self {
        Self { flush: Arc::new(flush), after: None, is_begun: false, in_work: 0, chunks: 0 }
    }

    /// Returns the number of members in a chunk, which is written in one turn.
    fn chunk_members(&self) -> usize {
        (BYTES_PER_TURN / self.flush.payload_bytes().max(1)).clamp(1, CHUNK)
    }
}

impl Flushing {
    /// Returns true if a task must be started.
    pub(super) fn start(&mut self) -> bool {
        let is_first = self.tasks == 0;
        self.tasks = self.tasks.max(1);
        is_first
    }

    /// Records the end of a step of a task.
    fn end_step(&mut self, step: Step) {
        match (step, &mut self.round) {
            (Step::Chunk, Some(round)) => round.in_work -= 1,
            (Step::Hold, _) => self.is_held = false,
            _ => {}
        }
    }
}

impl State {
    /// Returns true if a flush may wait before it begins.
    fn is_large(&self) -> bool {
        self.room.direct_count() > SMALL_ROOM
    }

    /// Returns true if a flush may also wait for writers.
    pub(super) fn awaits_writers(&self) -> bool {
        self.room.direct_count() >= BUSY_ROOM
    }

    /// Returns the number of tasks that must be started for the members of the room, and their runtime.
    fn widen(&mut self) -> Option<(usize, Handle)> {
        let wanted = self.room.direct_count() / MEMBERS_PER_TASK;
        if wanted <= self.flushing.tasks {
            return None;
        }
        let runtime = self.flush_runtime();
        let more = wanted.min(workers(&runtime)).saturating_sub(self.flushing.tasks);
        self.flushing.tasks += more;
        (more > 0).then_some((more, runtime))
    }

    /// Takes the next chunk, of the present flush or of the next one.
    ///
    /// The next flush of a large room waits first for what is awaited, if it may.
    fn next_chunk(&mut self, chunk: &mut Chunk, awaited: &Awaited, may_wait: bool) -> Next {
        loop {
            let Some(round) = &mut self.flushing.round else {
                if self.flushing.is_held {
                    return Next::Nothing;
                }
                let is_large = self.is_large();
                let busy_for = self.awaits_writers().then_some(HOLD_LIMIT);
                if is_large && may_wait && self.room.needs_flush() && awaited.begin_wait(busy_for) {
                    self.flushing.is_held = true;
                    return Next::Hold;
                }
                let Some(flush) = self.room.flush() else { return Next::Nothing };
                if is_large {
                    awaited.begin_flush();
                }
                self.flushing.round = Some(Round::new(flush));
                continue;
            };
            if !round.is_begun {
                let chunk_members = round.chunk_members();
                for (id, seat) in self.room.direct_members(round.after).take(chunk_members) {
                    round.after = Some(id);
                    chunk.push(Arc::clone(seat));
                }
                round.is_begun = chunk.len() < chunk_members;
                if !chunk.is_empty() {
                    round.in_work += 1;
                    round.chunks += 1;
                    return Next::Chunk(Arc::clone(&round.flush));
                }
            }
            if round.in_work > 0 {
                return Next::Nothing;
            }
            let was_long = round.chunks > 1;
            self.room.flushed(&round.flush);
            self.flushing.round = None;
            if was_long && self.room.needs_flush() {
                return Next::Pause;
            }
        }
    }
}

impl Shared {
    /// Starts a flush, which [`Flushing`] has counted. The session that is polled on this thread writes the first
    /// chunks, or otherwise a task.
    pub(super) fn start_flush(self: &Arc<Self>) {
        if let Some(task) = own_flushes::add(Task::new(self)) {
            task.spawn();
        }
    }

    /// Records the end of a task.
    fn end_flush(&self, state: &mut State) {
        state.flushing.tasks -= 1;
        if state.flushing.tasks == 0 {
            state.flushing.round = None;
            if state.is_large() {
                self.awaited.end_flushes();
            }
            self.is_flushing.store(false, Ordering::Release);
        }
    }

    fn write_chunk(&self, chunk: &mut Chunk, flush: &Flush) {
        let (mut written, mut behind) = (0_u64, Vec::new());
        for seat in chunk.drain(..) {
            match seat.flush(flush) {
                Flushed::Written(waker) => {
                    written += 1;
                    wake_all(waker);
                }
                Flushed::Behind(place) => behind.push(place),
                Flushed::Done => {}
            }
        }
        if !behind.is_empty() {
            wake_all(self.note_places(&behind));
        }
        if written > 0 {
            // One addition to each for a chunk needs no part of its own.
            self.counters.bytes_sent.add(0, written * flush.payload_bytes() as u64);
            self.counters.delivered_directly.add(0, written * flush.count());
        }
    }

    /// Records that the members at these places have events to take. Returns the wakers of their sessions.
    #[must_use = "the tasks are woken by the caller"]
    fn note_places(&self, places: &[Place]) -> Vec<Waker> {
        let mut state = self.lock();
        let wake = |place: &Place| {
            state.room.wake_at(*place).and_then(|seat| seat.inbox().push(self.name().clone()))
        };
        places.iter().filter_map(wake).collect()
    }
}

/// A task that writes the flushes of a room.
pub(super) struct Task {
    room: Arc<Shared>,
    step: Step,
}

/// The present step of a task, which [`Flushing`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The task has not begun, or pauses.
    Pause,
    /// The task writes a chunk.
    Chunk,
    /// The task waits for messages.
    Hold,
    /// The task is over.
    End,
}

impl Task {
    fn new(room: &Arc<Shared>) -> Self {
        Self { room: Arc::clone(room), step: Step::Pause }
    }

    fn spawn(self) {
        let runtime = self.room.lock().flush_runtime();
        spawn(&runtime, self.run());
    }

    /// Writes chunks until nothing is left.
    async fn run(mut self) {
        loop {
            // The wait may have begun in a session, which does not wait itself.
            if self.step == Step::Hold {
                // A store may hang, and a writer may stop.
                let _late = timeout(HOLD_LIMIT, self.room.awaited.over()).await;
            }
            if !self.write_turn() {
                return;
            }
            if self.step != Step::Hold {
                yield_now().await;
            }
        }
    }

    /// Writes the chunks of one turn, and leaves the rest to a task of a runtime.
    pub(super) fn run_once(mut self) {
        if self.write_turn() {
            self.spawn();
        }
    }

    /// Writes the chunks of one turn. Returns false if nothing is left.
    fn write_turn(&mut self) -> bool {
        let (mut chunk, mut bytes) = (Chunk::new(), 0);
        for _ in 0..CHUNKS_PER_TURN {
            let flush = match self.next_chunk(&mut chunk) {
                Next::Chunk(flush) => flush,
                Next::Pause | Next::Hold => return true,
                Next::Nothing => return false,
            };
            let chunk_bytes = chunk.len() * flush.payload_bytes();
            bytes += chunk_bytes;
            self.room.write_chunk(&mut chunk, &flush);
            if bytes + chunk_bytes > BYTES_PER_TURN {
                break;
            }
        }
        true
    }

    /// Takes the next chunk, after the last one was written.
    fn next_chunk(&mut self, chunk: &mut Chunk) -> Next {
        let mut state = self.room.lock();
        state.flushing.end_step(self.step);
        let may_wait = self.step != Step::Hold;
        let next = state.next_chunk(chunk, &self.room.awaited, may_wait);
        self.step = match next {
            Next::Chunk(_) => Step::Chunk,
            Next::Pause => Step::Pause,
            Next::Hold => Step::Hold,
            Next::Nothing => Step::End,
        };
        let more = match next {
            Next::Chunk(_) => state.widen(),
            Next::Pause | Next::Hold => None,
            Next::Nothing => {
                // Counted under the same lock, so that the next change starts a task.
                self.room.end_flush(&mut state);
                None
            }
        };
        drop(state);
        if let Some((more, runtime)) = more {
            self.start_more(more, &runtime);
        }
        next
    }

    /// Starts this many more tasks, which write the same flush.
    #[cold]
    fn start_more(&self, more: usize, runtime: &Handle) {
        (0..more).for_each(|_| spawn(runtime, Self::new(&self.room).run()));
        // A worker keeps the task that it spawned last for itself, and wakes no other worker for it.
        spawn(runtime, async {});
    }
}

impl Drop for Task {
    // The task was given up, because its runtime has ended or its session has panicked. The members take the events
    // themselves. Another task that is left ends the flush.
    fn drop(&mut self) {
        if self.step == Step::End {
            return;
        }
        let seats: Vec<_> =
            self.room.lock().room.direct_members(None).map(|(_, seat)| Arc::clone(seat)).collect();
        // A seat is locked before its room. The flush does not end meanwhile, because this task still counts.
        let places: Vec<_> = seats.iter().filter_map(|seat| seat.with(|member| member.place())).collect();
        let mut state = self.room.lock();
        state.flushing.end_step(self.step);
        let members = state.room.give_up_flush(places);
        let wakers: Vec<_> = members.filter_map(|seat| seat.inbox().push(self.room.name().clone())).collect();
        self.room.end_flush(&mut state);
        drop(state);
        wake_all(wakers);
    }
}
