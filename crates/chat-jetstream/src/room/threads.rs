//! Pages of threads. The state of a root names the messages of its thread, or the blocks that name them.

use std::collections::BTreeMap;
use std::ops;
use std::sync::Arc;

use bytes::Bytes;
use chat_core::{Page, Range, StoredMessage, ThreadError, Unavailable};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use crate::life::Life;
use crate::link::{From, Stored};
use crate::node::ValidPlaces;
use crate::record::{BLOCK, Block, Content, Entry, MessageState, Reply, Thread, Unreadable};

use super::load::Loading;
use super::read::{MAX_LAG, MAX_PAGE, cut, wait_for_replica};
use super::records::Records;
use super::{SharedRoom, Tail, View};

/// The blocks that are read in one request.
const BLOCKS: usize = 16;

/// The messages that are read before a page looks if it is full.
const CHUNK: usize = 64;

/// The records that are read at the same time.
const MAX_READING: usize = 16;

/// A thread at one time.
struct ThreadView<'a> {
    room: &'a SharedRoom,
    life: Arc<Life>,
    tail: Tail,
    root: u64,
    thread: Thread,
}

impl SharedRoom {
    /// Reads part of the thread that begins with the message `root`.
    pub(crate) async fn thread(&self, root: u64, range: Range) -> Result<Page, ThreadError> {
        let View { life, tail } = self.look().await?;
        let loaded =
            self.load(&life, &tail, ([root].into(), Vec::new()), false).await.map_err(Unavailable::from)?;
        let thread = match loaded.targets.get(&root) {
            Some(Loading::Known(state)) if state.linked().is_root() => state.thread().clone(),
            Some(Loading::Damaged) => return Err(Unavailable::new("the message is damaged").into()),
            _ => return Err(ThreadError::NoMessage),
        };
        let view = ThreadView { room: self, life, tail, root, thread };
        Ok(view.page(range).await?)
    }

    /// Removes the blocks of a thread whose root is removed next.
    pub(super) async fn remove_thread(
        &self,
        (life, places): (&Life, &ValidPlaces),
        root: u64,
        state: &Stored,
    ) -> Result<(), Unavailable> {
        // One that is damaged may have blocks.
        let place = state.place;
        let state = MessageState::decode(state.payload.clone());
        if state.is_none_or(|state| state.thread().blocks() > 0) {
            self.node.purge(places, &life.block_subject(&self.token, root, "*"), place).await?;
        }
        Ok(())
    }

    /// Reads the entries of some messages that one record has. Those that the log has lost are left out.
    async fn replies_of(&self, life: &Arc<Life>, replies: &[Reply]) -> Result<Vec<Entry>, Unavailable> {
        let Some(first) = replies.first() else { return Ok(Vec::new()) };
        let (from, until) = (From::Place(first.after() + 1), Instant::now() + MAX_LAG);
        let mut records = Records::new(self, life, from, Some(first.seq()));
        let mut found = Vec::new();
        while found.is_empty() {
            found = records.read(1).await?.records;
            if found.is_empty() {
                wait_for_replica(until).await?;
            }
        }
        let is_wanted = |entry: &Entry| replies.iter().any(|reply| reply.seq() == entry.seq);
        let mut entries = Vec::new();
        for record in found {
            match record {
                Ok(record) => entries.extend(record.entries.into_iter().filter(is_wanted)),
                Err(unreadable) => drop(self.node.unreadable(unreadable)),
            }
        }
        for entry in &mut entries {
            // A frame must not keep its record in memory.
            if let Content::Message { frame, .. } = &mut entry.content {
                *frame = Bytes::copy_from_slice(frame);
            }
        }
        Ok(entries)
    }
}

impl ThreadView<'_> {
    async fn page(&self, range: Range) -> Result<Page, Unavailable> {
        let (limit, is_backwards, mut next) = match range {
            Range::Newest { limit } => (limit, true, self.thread.len()),
            Range::Before { seq, limit } => (limit, true, self.before(seq).await?),
            Range::After { seq, limit } | Range::Entries { after: seq, limit } => {
                (limit, false, self.before(seq.saturating_add(1)).await?)
            }
            _ => return Err(Unavailable::new("this store does not know the range")),
        };
        let limit = limit.clamp(1, MAX_PAGE);
        let max_bytes = self.room.limits.wire.max_batch_bytes;
        let (mut messages, mut more) = (Vec::new(), true);
        // A page whose messages are lost goes on to the next ones.
        while messages.is_empty() && more {
            let count = limit as u64;
            let numbers = if is_backwards {
                next.saturating_sub(count)..next
            } else {
                next..self.thread.len().min(next + count)
            };
            (next, more) = if is_backwards {
                (numbers.start, numbers.start > 0)
            } else {
                (numbers.end, numbers.end < self.thread.len())
            };
            let mut replies = self.replies(numbers).await?;
            if is_backwards {
                replies.reverse();
            }
            for replies in replies.chunks(CHUNK) {
                messages.extend(self.messages(replies).await?);
                if cut(&mut messages, max_bytes) {
                    more = true;
                    break;
                }
            }
        }
        if is_backwards {
            messages.reverse();
        }
        Ok(Page::new(self.life.epoch(&self.room.name), messages).with_more(more))
    }

    /// Returns the number of messages of the thread that are before a position.
    async fn before(&self, seq: u64) -> Result<u64, Unavailable> {
        let count_in = |replies: &[Reply]| replies.partition_point(|reply| reply.seq() < seq) as u64;
        let newest = self.thread.newest();
        if newest.first().is_some_and(|reply| reply.seq() < seq) {
            return Ok(self.thread.len() - newest.len() as u64 + count_in(newest));
        }
        // The blocks before these begin before the position, and those after them do not.
        let mut range = 0..self.thread.blocks();
        while range.end - range.start > BLOCKS as u64 {
            let step = (range.end - range.start).div_ceil(BLOCKS as u64);
            let numbers: Vec<_> =
                range.clone().step_by(usize::try_from(step).unwrap_or(usize::MAX)).collect();
            let blocks = self.blocks(&numbers).await?;
            let begins_before = |block: &&Block| count_in(&block.replies) > 0;
            let known = blocks.values().rfind(begins_before).map_or(range.start, |block| block.number);
            range = known..(known + step).min(range.end);
        }
        let numbers: Vec<_> = range.clone().collect();
        let blocks = self.blocks(&numbers).await?;
        Ok(range.start * BLOCK as u64 + blocks.values().map(|block| count_in(&block.replies)).sum::<u64>())
    }

    /// Returns the messages of the thread with these numbers, which begin at 0.
    async fn replies(&self, numbers: ops::Range<u64>) -> Result<Vec<Reply>, Unavailable> {
        let size = BLOCK as u64;
        let blocks = numbers.start / size..numbers.end.div_ceil(size).min(self.thread.blocks());
        let mut replies = Vec::new();
        let needed: Vec<_> = blocks.clone().collect();
        for needed in needed.chunks(BLOCKS) {
            replies.extend(self.blocks(needed).await?.into_values().flat_map(|block| block.replies));
        }
        let begin = blocks.start.min(self.thread.blocks()) * size;
        replies.extend(self.thread.newest());
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let wanted = replies.into_iter().skip(count(numbers.start - begin));
        Ok(wanted.take(count(numbers.end - numbers.start)).collect())
    }

    /// Reads some blocks, at most [`BLOCKS`].
    async fn blocks(&self, numbers: &[u64]) -> Result<BTreeMap<u64, Block>, Unavailable> {
        let (node, token) = (&self.room.node, &self.room.token);
        let mut found = BTreeMap::new();
        if numbers.is_empty() {
            return Ok(found);
        }
        let (known, until) = (self.life.subject(token), Instant::now() + MAX_LAG);
        let subject = |number: &u64| self.life.block_subject(token, self.root, number);
        let subjects: BTreeMap<_, _> = numbers.iter().map(|number| (subject(number), *number)).collect();
        let stored = loop {
            let subjects = subjects.keys().cloned().collect();
            match node.link.last_of(subjects, &known, self.tail.place).await? {
                Some(stored) => break stored,
                None => wait_for_replica(until).await?,
            }
        };
        for stored in stored {
            let block =
                subjects.get(&stored.subject).and_then(|number| Block::decode(*number, stored.payload));
            found.extend(block.map(|block| (block.number, block)));
        }
        // One that this copy of the stream lacks or has damaged comes from the leader.
        for number in numbers {
            if found.contains_key(number) {
                continue;
            }
            let last = node.link.last(&subject(number)).await?;
            if last.is_none() && self.root < self.room.known().tail.first() {
                return Err(Unavailable::new("the log has removed the thread"));
            }
            let place = last.as_ref().map_or(0, |(place, _)| *place);
            let block = last.and_then(|(_, bytes)| Block::decode(*number, bytes));
            found.insert(*number, block.ok_or_else(|| node.unreadable(Unreadable { place }))?);
        }
        Ok(found)
    }

    /// Reads these messages in their present form, in their order. Those that the log has lost are left out.
    async fn messages(&self, replies: &[Reply]) -> Result<Vec<StoredMessage>, Unavailable> {
        let Self { room, life, tail, .. } = self;
        let mut states = room.states(life, replies.iter().map(|reply| reply.seq()), tail.place).await?.states;
        let unchanged: Vec<_> =
            replies.iter().copied().filter(|reply| !states.contains_key(&reply.seq())).collect();
        let records = unchanged.chunk_by(|one, other| one.after() == other.after()).map(<[_]>::to_vec);
        let read = |replies: Vec<Reply>| async move { room.replies_of(life, &replies).await };
        let entries: Vec<_> = stream::iter(records).map(read).buffered(MAX_READING).try_collect().await?;
        let mut entries: BTreeMap<_, _> =
            entries.into_iter().flatten().map(|entry| (entry.seq, entry)).collect();
        let message = |reply: &Reply| match states.remove(&reply.seq()) {
            Some((_, state)) => Some(state?.stored(&room.name, reply.seq())),
            None => Some(entries.remove(&reply.seq())?.without_state(&room.name)),
        };
        Ok(replies.iter().filter_map(message).collect())
    }
}
