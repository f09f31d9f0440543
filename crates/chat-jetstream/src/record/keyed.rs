use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chat_core::{NewChange, NewMessage, UserKey};
use sha1::{Digest, Sha1};

use crate::life::hex;

/// The key of one user.
pub(crate) type Slot = [u8; 20];

/// The use of an idempotency key, as a record keeps it. The text of the key is only in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyUse {
    /// The user, as a hash. A collision would only let two users share a limit.
    pub(crate) owner: u64,
    /// The hash of the key, combined with that of the user. Anyone who knows the user can take the first one out again.
    pub(crate) slot: Slot,
    /// The hash of the content that the key stands for.
    pub(crate) digest: [u8; 20],
}

impl KeyUse {
    /// Returns the use of the key of a message, if it has one.
    pub(crate) fn of(message: &NewMessage) -> Option<Self> {
        Some(Self::new(&message.user.key(), message.key.as_deref()?, &message.content()))
    }

    /// Returns the use of the key of a change. Only an edit has one.
    pub(crate) fn of_change(change: &NewChange) -> Option<Self> {
        Some(Self::new(&change.user.key(), change.key.as_deref()?, &change.content()?))
    }

    fn new(user: &UserKey, key: &str, content: &str) -> Self {
        Self::restore(user, &Sha1::digest(key).into(), Sha1::digest(content).into())
    }

    /// Returns the use of a key of which the SHA-1 hashes of its text and of the content are known.
    pub(crate) fn restore(user: &UserKey, key: &[u8; 20], content: [u8; 20]) -> Self {
        let user = user_digest(user);
        let mut owner = [0; 8];
        owner.copy_from_slice(&user[..8]);
        Self { owner: u64::from_be_bytes(owner), slot: combined(&user, key), digest: content }
    }

    /// Returns the hash of the text of the key, which this user has used.
    pub(crate) fn key_digest(&self, user: &UserKey) -> [u8; 20] {
        combined(&user_digest(user), &self.slot)
    }

    pub(super) fn encode(&self, bytes: &mut BytesMut) {
        bytes.put_u64(self.owner);
        bytes.put_slice(&self.slot);
        bytes.put_slice(&self.digest);
    }

    pub(super) fn decode(bytes: &mut Bytes) -> Option<Self> {
        let mut key = Self { owner: bytes.try_get_u64().ok()?, slot: [0; 20], digest: [0; 20] };
        bytes.try_copy_to_slice(&mut key.slot).ok()?;
        bytes.try_copy_to_slice(&mut key.digest).ok()?;
        Some(key)
    }
}

/// Returns the token of a user in subjects. It is a hash: no text of a user is in a subject.
pub(crate) fn user_token(user: &UserKey) -> String {
    hex(&user_digest(user)[..16])
}

fn user_digest(user: &UserKey) -> [u8; 20] {
    let kind = [u8::from(user.is_guest())];
    Sha1::new_with_prefix(kind).chain_update(user.id()).finalize().into()
}

/// Combines two hashes. The result and one of them give the other one.
fn combined(one: &[u8; 20], other: &[u8; 20]) -> [u8; 20] {
    std::array::from_fn(|index| one[index] ^ other[index])
}

/// The keys of a room that are not older than the key window.
#[derive(Debug, Default)]
pub(crate) struct KeyWindow {
    uses: HashMap<Slot, Keyed>,
    /// The slots, their times and their owners, oldest first.
    order: VecDeque<(Slot, u64, u64)>,
    /// The number of keys of each owner.
    counts: HashMap<u64, usize>,
}

/// The entry that the use of a key has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keyed {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    digest: [u8; 20],
}

impl KeyWindow {
    /// Returns the entry of an earlier use of the key. The error is an earlier use for another content.
    pub(crate) fn find(&self, key: &KeyUse) -> Result<Option<Keyed>, OtherContent> {
        match self.uses.get(&key.slot) {
            Some(known) if known.digest != key.digest => Err(OtherContent),
            known => Ok(known.copied()),
        }
    }

    /// Returns the number of keys that the user of this key has.
    pub(crate) fn count(&self, key: &KeyUse) -> usize {
        self.counts.get(&key.owner).copied().unwrap_or_default()
    }

    /// Records the use of a key. A key that is known keeps its entry.
    pub(crate) fn insert(&mut self, key: &KeyUse, seq: u64, at: u64) {
        if self.uses.contains_key(&key.slot) {
            return;
        }
        self.uses.insert(key.slot, Keyed { seq, at, digest: key.digest });
        self.order.push_back((key.slot, at, key.owner));
        *self.counts.entry(key.owner).or_default() += 1;
    }

    /// Forgets the keys that are older than the window.
    pub(crate) fn forget(&mut self, now: u64, window: Duration) {
        while let Some((slot, at, owner)) = self.order.front() {
            if Duration::from_millis(now.saturating_sub(*at)) < window {
                break;
            }
            self.uses.remove(slot);
            if let Some(count) = self.counts.get_mut(owner) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(owner);
                }
            }
            self.order.pop_front();
        }
    }
}

/// The key is known for another content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherContent;

#[cfg(test)]
mod tests {
    use chat_core::{RawValue, User};

    use super::*;

    fn key(user: &str, key: &str, body: &str) -> KeyUse {
        let body = RawValue::from_string(body.to_owned()).unwrap();
        let message = NewMessage::new(User::guest(user).unwrap(), body).with_key(key.to_owned());
        KeyUse::of(&message).unwrap()
    }

    #[test]
    fn a_key_is_known_for_its_content_until_its_window_ends() {
        let (mut keys, day) = (KeyWindow::default(), Duration::from_millis(100));
        let first = key("ann", "k", "{}");
        keys.insert(&first, 7, 1_000);
        keys.insert(&key("bo", "k", "{}"), 8, 1_050);
        assert_eq!(keys.find(&first).unwrap().map(|keyed| (keyed.seq, keyed.at)), Some((7, 1_000)));
        assert_eq!(keys.find(&key("ann", "k", "{ }")), Err(OtherContent));
        assert_eq!(keys.find(&key("ann", "l", "{}")), Ok(None));
        assert_eq!(keys.count(&first), 1);
        keys.forget(1_099, day);
        assert!(keys.find(&first).unwrap().is_some());
        keys.forget(1_100, day);
        assert_eq!((keys.find(&first), keys.count(&first)), (Ok(None), 0));
        assert!(keys.find(&key("bo", "k", "{}")).unwrap().is_some());
    }
    #[test]
    fn a_use_is_made_again_from_hashes_and_gives_the_hash_of_its_key() {
        let ann = User::guest("ann").unwrap().key();
        let used = key("ann", "k", "{}");
        let digest = Sha1::digest("k").into();
        assert_eq!(used.key_digest(&ann), digest);
        assert_eq!(KeyUse::restore(&ann, &digest, used.digest), used);
        assert_ne!(key("bo", "k", "{}").slot, used.slot);
    }
}
