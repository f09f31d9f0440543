use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sha1::{Digest, Sha1};

use crate::room::{NewChange, NewMessage, Unavailable};
use crate::{RoomLimits, UserKey};

/// The bytes that a key takes beside its text: two nodes of a tree and a place in a queue, rounded up.
const KEY_OVERHEAD: usize = 256;

/// The idempotency keys of a log, and the entry that each has stored.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The entry of each user and key.
    entries: BTreeMap<Owner, Keyed>,
    /// The keys and their times, oldest first.
    order: VecDeque<(Owner, u64)>,
    /// The bytes of the texts of the keys.
    bytes: usize,
    /// The number of keys of each user.
    counts: BTreeMap<UserKey, usize>,
}

type Owner = (UserKey, Arc<str>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed {
    pub(super) seq: u64,
    pub(super) at: u64,
    digest: [u8; 20],
}

/// A key that a message or a change uses, and the digest of what it is used for.
pub(super) struct Use {
    owner: Owner,
    digest: [u8; 20],
}

/// The key is known for another content.
pub(super) struct OtherContent;

impl Use {
    pub(super) fn of_message(message: &NewMessage) -> Option<Self> {
        let key = message.key.as_deref()?.into();
        Some(Self { owner: (message.user.key(), key), digest: Sha1::digest(&*message.content()).into() })
    }

    /// Returns `None` without a key. Only an edit has one.
    pub(super) fn of_change(change: &NewChange) -> Option<Self> {
        let digest = Sha1::digest(change.content()?).into();
        Some(Self { owner: (change.user.key(), change.key.as_deref()?.into()), digest })
    }
}

impl Keys {
    /// Returns the entry that an earlier use of the key has stored.
    pub(super) fn find(&self, used: &Use) -> Result<Option<Keyed>, OtherContent> {
        match self.entries.get(&used.owner) {
            Some(known) if known.digest != used.digest => Err(OtherContent),
            known => Ok(known.copied()),
        }
    }

    /// Checks that the user has place for another key.
    pub(super) fn check_space(&self, used: &Use, limits: &RoomLimits) -> Result<(), Unavailable> {
        if self.counts.get(&used.owner.0).is_some_and(|count| *count >= limits.log_keys.max(1)) {
            return Err(Unavailable::over_quota("the user has too many keys in this room"));
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, used: Use, seq: u64, at: u64) {
        let Use { owner, digest } = used;
        *self.counts.entry(owner.0.clone()).or_default() += 1;
        self.bytes += 2 * owner.1.len();
        self.order.push_back((owner.clone(), at));
        self.entries.insert(owner, Keyed { seq, at, digest });
    }

    /// Forgets the keys that are older than the window.
    pub(super) fn forget(&mut self, now: u64, window: Duration) {
        while let Some((oldest, at)) = self.order.front() {
            if Duration::from_millis(now.saturating_sub(*at)) < window {
                break;
            }
            self.entries.remove(oldest);
            self.bytes -= 2 * oldest.1.len();
            if let Some(count) = self.counts.get_mut(&oldest.0) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&oldest.0);
                }
            }
            self.order.pop_front();
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes + self.order.len() * KEY_OVERHEAD
    }
}
