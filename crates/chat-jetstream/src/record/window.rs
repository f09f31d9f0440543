use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::mem::size_of;
use std::time::Duration;

use super::KeyUse;

/// A slot of the index without a number.
const EMPTY: u32 = u32::MAX;

/// The bytes of the count of a user in its map, rounded up.
const COUNT_BYTES: usize = 24;

/// The keys of a room that are not older than the key window.
///
/// A room may have many of them, so each takes 40 bytes, and 6 more in the index of a room to which nobody writes.
#[derive(Debug, Default)]
pub(crate) struct KeyWindow {
    /// The uses of keys, oldest first.
    uses: VecDeque<Use>,
    /// A hash table with the numbers of the uses. A number below `forgotten` is that of a use which is forgotten.
    index: Vec<u32>,
    /// The slots of the index that are not empty.
    filled: usize,
    /// The uses that were forgotten since the index was made.
    forgotten: usize,
    /// The number of keys of each owner.
    counts: HashMap<u64, usize>,
    /// A hash that nobody can predict, so that no user can choose keys which make the index slow.
    hasher: RandomState,
}

/// The entry that the use of a key has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keyed {
    pub(crate) seq: u64,
    pub(crate) at: u64,
}

/// The use of a key in memory, without the parts of its hashes that are not needed.
///
/// Two keys are the same if the hash of the user and that of the key are, 16 bytes together. The user is part of both,
/// so a user who looks for two keys or two contents with one hash can only lose messages of their own.
#[derive(Clone, Copy, Debug)]
struct Use {
    owner: u64,
    slot: u64,
    digest: u64,
    seq: u64,
    at: u64,
}

impl Use {
    fn new(key: &KeyUse, seq: u64, at: u64) -> Self {
        Self { owner: key.owner, slot: first(&key.slot), digest: first(&key.digest), seq, at }
    }

    fn is_of(&self, key: &Self) -> bool {
        (self.owner, self.slot) == (key.owner, key.slot)
    }
}

fn first<const N: usize>(bytes: &[u8; N]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl KeyWindow {
    /// Returns the entry of an earlier use of the key. The error is an earlier use for another content.
    pub(crate) fn find(&self, key: &KeyUse) -> Result<Option<Keyed>, OtherContent> {
        let key = Use::new(key, 0, 0);
        if self.index.is_empty() {
            return Ok(None);
        }
        match self.used(self.index[self.slot(&key)]) {
            Some(known) if known.digest != key.digest => Err(OtherContent),
            known => Ok(known.map(|Use { seq, at, .. }| Keyed { seq: *seq, at: *at })),
        }
    }

    /// Returns the number of keys that the user of this key has.
    pub(crate) fn count(&self, key: &KeyUse) -> usize {
        self.counts.get(&key.owner).copied().unwrap_or_default()
    }

    /// Records the use of a key. An earlier one was too old when this one was stored.
    pub(crate) fn insert(&mut self, key: &KeyUse, seq: u64, at: u64) {
        let is_full = (self.filled + 1) * 4 > self.index.len() * 3;
        if is_full || self.forgotten + self.uses.len() >= EMPTY as usize {
            self.make_index(2 * self.uses.len() + 8);
        }
        let (new, number) = (Use::new(key, seq, at), self.forgotten + self.uses.len());
        self.uses.push_back(new);
        self.point(&new, number);
        *self.counts.entry(new.owner).or_default() += 1;
    }

    /// Forgets the keys that are older than the window.
    pub(crate) fn forget(&mut self, now: u64, window: Duration) {
        while let Some(Use { owner, at, .. }) = self.uses.front() {
            if Duration::from_millis(now.saturating_sub(*at)) < window {
                break;
            }
            if let Some(count) = self.counts.get_mut(owner) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(owner);
                }
            }
            self.uses.pop_front();
            self.forgotten += 1;
        }
    }

    /// Frees the memory that is kept for further keys.
    pub(crate) fn shrink(&mut self) {
        self.uses.shrink_to_fit();
        self.counts.shrink_to_fit();
        self.make_index(self.uses.len() + self.uses.len() / 2 + 2);
    }

    /// Returns the bytes of the keys in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.uses.capacity() * size_of::<Use>()
            + self.index.capacity() * size_of::<u32>()
            + self.counts.capacity() * COUNT_BYTES
    }

    /// Returns the use with this number, unless it is forgotten.
    fn used(&self, number: u32) -> Option<&Use> {
        self.uses.get((number as usize).checked_sub(self.forgotten)?)
    }

    /// Returns the slot of the index that has the number of a key, or the empty slot for it.
    fn slot(&self, key: &Use) -> usize {
        let slot = self.hasher.hash_one(key.slot) % self.index.len() as u64;
        let mut slot = usize::try_from(slot).unwrap_or_default();
        while self.index[slot] != EMPTY && !self.used(self.index[slot]).is_some_and(|known| known.is_of(key))
        {
            slot = (slot + 1) % self.index.len();
        }
        slot
    }

    /// Lets the index name the use of a key.
    fn point(&mut self, key: &Use, number: usize) {
        let slot = self.slot(key);
        self.filled += usize::from(self.index[slot] == EMPTY);
        self.index[slot] = u32::try_from(number).unwrap_or(EMPTY);
    }

    /// Makes the index of all uses, with this number of slots.
    fn make_index(&mut self, slots: usize) {
        (self.index, self.filled, self.forgotten) = (vec![EMPTY; slots], 0, 0);
        for number in 0..self.uses.len() {
            let key = self.uses[number];
            self.point(&key, number);
        }
    }
}

/// The key is known for another content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherContent;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chat_core::{NewMessage, RawValue, User};

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
        assert_eq!((keys.find(&first), keys.count(&first)), (Ok(None), 0));
        keys.insert(&first, 7, 1_000);
        keys.insert(&key("bo", "k", "{}"), 8, 1_050);
        assert_eq!(keys.find(&first), Ok(Some(Keyed { seq: 7, at: 1_000 })));
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
    fn a_key_that_was_used_again_after_its_window_is_known_for_the_later_use() {
        let mut keys = KeyWindow::default();
        // The node has not forgotten the first use when it hears of the second one.
        keys.insert(&key("ann", "k", "{}"), 7, 1_000);
        keys.insert(&key("ann", "k", "[]"), 9, 1_100);
        keys.forget(1_101, Duration::from_millis(100));
        assert_eq!(keys.find(&key("ann", "k", "[]")), Ok(Some(Keyed { seq: 9, at: 1_100 })));
        assert_eq!(keys.count(&key("ann", "k", "[]")), 1);
    }

    #[test]
    fn keys_are_found_as_in_a_map_and_take_little_memory() {
        let window = Duration::from_millis(2_000);
        let (mut keys, mut map) = (KeyWindow::default(), BTreeMap::new());
        // A key is repeated while it is known, and again when it is not.
        let of = |number: u64| {
            let chosen = number * 7 % 1_500;
            key(&format!("u{}", chosen % 50), &format!("k{chosen}"), "{}")
        };
        for number in 0..12_000 {
            let (at, new) = (number, of(number));
            keys.forget(at, window);
            map.retain(|_, keyed: &mut Keyed| Duration::from_millis(at - keyed.at) < window);
            let slot = (new.owner, new.slot);
            assert_eq!(keys.find(&new), Ok(map.get(&slot).copied()), "{number}");
            map.entry(slot).or_insert_with(|| {
                keys.insert(&new, number, at);
                Keyed { seq: number, at }
            });
            if number % 1_000 == 999 {
                keys.shrink();
                let each = keys.bytes() / map.len();
                assert!((46..52).contains(&each), "{each} bytes for each of {} keys", map.len());
            }
            assert!(keys.bytes() < 100 * 1_500, "{} bytes", keys.bytes());
        }
        let owned = map.keys().filter(|(owner, _)| *owner == of(0).owner).count();
        assert_eq!((keys.count(&of(0)), keys.uses.len()), (owned, map.len()));
    }
}
