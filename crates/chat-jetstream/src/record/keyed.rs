use bytes::{Buf, BufMut, Bytes, BytesMut};
use chat_core::{NewChange, NewMessage, UserKey};
use sha1::{Digest, Sha1};

use crate::life::hex;

/// The use of an idempotency key, as a record keeps it. The text of the key is only in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyUse {
    /// The user, as a hash. A collision would only let two users share a limit.
    pub(crate) owner: u64,
    /// The user and the key, as a hash.
    pub(crate) slot: [u8; 16],
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
        let user = user_digest(user);
        let slot = Sha1::new_with_prefix(user).chain_update(key).finalize();
        let mut owner = [0; 8];
        owner.copy_from_slice(&user[..8]);
        let mut use_of = Self { owner: u64::from_be_bytes(owner), slot: [0; 16], digest: [0; 20] };
        use_of.slot.copy_from_slice(&slot[..16]);
        use_of.digest.copy_from_slice(&Sha1::digest(content));
        use_of
    }

    pub(super) fn encode(&self, bytes: &mut BytesMut) {
        bytes.put_u64(self.owner);
        bytes.put_slice(&self.slot);
        bytes.put_slice(&self.digest);
    }

    pub(super) fn decode(bytes: &mut Bytes) -> Option<Self> {
        let mut key = Self { owner: bytes.try_get_u64().ok()?, slot: [0; 16], digest: [0; 20] };
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
