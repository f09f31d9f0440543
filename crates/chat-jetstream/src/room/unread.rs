//! The position up to which a user has read a room, and the messages after it.

use std::collections::BTreeSet;

use chat_core::{Marked, MarkerError, Unavailable, Unread, UnreadCount, UserKey};

use crate::record::Content;
use crate::users::{Marker, Users};

use super::read::Wanted;
use super::{SharedRoom, View};

/// The entries that are read at a time. Among many changes, a count reads more and more, up to the second value.
const CHUNKS: (u64, u64) = (128, 2_048);

/// The entries that one count reads. If there are more, the number is [`UnreadCount::MAX`].
const MAX_ENTRIES: u64 = 20_000;

impl SharedRoom {
    /// Moves the marker of a user forward to the entry `seq`.
    pub(crate) async fn mark(&self, users: &Users, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        let mut view = self.view()?;
        if seq > view.tail.head {
            view = self.look().await?;
        }
        if seq > view.tail.head {
            return Err(MarkerError::BeyondHead);
        }
        let epoch = view.life.epoch(&self.name);
        let new = Marker { user: user.id().to_owned(), epoch: epoch.clone(), seq };
        let (present, moved) = users.mark(user, &self.token, new).await?;
        Ok(Marked::new(epoch, present).with_moved(moved))
    }

    /// Returns the marker of a user, and the numbers of the unread messages up to the entry `up_to`.
    pub(crate) async fn unread(
        &self,
        users: &Users,
        user: &UserKey,
        up_to: u64,
    ) -> Result<Unread, Unavailable> {
        let mut view = self.view()?;
        if up_to > view.tail.head {
            view = self.look().await?;
        }
        let (epoch, head) = (view.life.epoch(&self.name), view.tail.head);
        let read = users.marker(user, &self.token, &epoch).await?.unwrap_or_default().min(head);
        let mut count = UnreadCount::new(user);
        let is_complete = self.count(&view, (read, up_to.min(head)), &mut count).await?;
        let mut unread = Unread::new(epoch, head, read).with_count(&count);
        if !is_complete {
            unread.unread = UnreadCount::MAX;
        }
        Ok(unread)
    }

    /// Lets a count look at the messages after the position `read`, up to another one. Returns false if there are too
    /// many entries between them.
    async fn count(
        &self,
        View { life, tail }: &View,
        (read, up_to): (u64, u64),
        count: &mut UnreadCount<'_>,
    ) -> Result<bool, Unavailable> {
        let begin = read.saturating_add(1).max(tail.first());
        let (mut end, mut chunk, mut left) = (up_to + 1, CHUNKS.0, MAX_ENTRIES);
        while end > begin {
            if left == 0 {
                return Ok(false);
            }
            let from = end.saturating_sub(chunk.min(left)).max(begin);
            let entries = self.collect(life, &Wanted::messages(from, end)).await?.entries;
            let is_of_guest = |content: &Content| matches!(content, Content::Message { is_guest: true, .. });
            let of_guests = entries.iter().filter(|entry| is_of_guest(&entry.content));
            let of_guests: BTreeSet<_> = of_guests.map(|entry| entry.seq).collect();
            for stored in self.fold(life, tail, entries.into()).await?.iter().rev() {
                if !count.look(stored, Some(of_guests.contains(&stored.seq))) {
                    return Ok(true);
                }
            }
            left -= end - from;
            (end, chunk) = (from, (chunk * 2).min(CHUNKS.1));
        }
        Ok(true)
    }
}
