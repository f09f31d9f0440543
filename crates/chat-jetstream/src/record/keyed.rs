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

#[cfg(test)]
mod tests {
    use chat_core::{RawValue, User};

    use super::*;

    fn key(user: &str, key: &str) -> KeyUse {
        let message = NewMessage::new(User::guest(user).unwrap(), RawValue::NULL.to_owned());
        KeyUse::of(&message.with_key(key.to_owned())).unwrap()
    }

    #[test]
    fn a_use_is_made_again_from_hashes_and_gives_the_hash_of_its_key() {
        let ann = User::guest("ann").unwrap().key();
        let used = key("ann", "k");
        let digest = Sha1::digest("k").into();
        assert_eq!(used.key_digest(&ann), digest);
        assert_eq!(KeyUse::restore(&ann, &digest, used.digest), used);
        assert_ne!(key("bo", "k").slot, used.slot);
    }
}
