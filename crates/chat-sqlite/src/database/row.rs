//! The encoding of rows: ids, checksums and key slots.

use chat_core::RoomName;
use chat_proto::UserKey;
use rusqlite::Row;
use sha1::{Digest, Sha1};

/// Low bits of a message's id, which contain its `seq`. The bits above contain the number of the room.
const SEQ_BITS: u32 = 36;

/// The last `seq` of a room, about 68 billion.
pub(crate) const LAST_SEQ: u64 = (1 << SEQ_BITS) - 1;

/// The last number of a room that fits into an id, about 134 million.
pub(crate) const LAST_ROOM: i64 = i64::MAX >> SEQ_BITS;

/// Returns the id of a message. A `seq` above [`LAST_SEQ`] counts as [`LAST_SEQ`].
pub(crate) fn message_id(room: i64, seq: u64) -> i64 {
    (room << SEQ_BITS) | i64::try_from(seq.min(LAST_SEQ)).unwrap_or(i64::MAX)
}

/// Returns the number of the room of a message's id.
pub(crate) fn room_of(id: i64) -> i64 {
    id >> SEQ_BITS
}

/// Returns the `seq` of a message's id.
pub(crate) fn seq_of(id: i64) -> u64 {
    id.unsigned_abs() & LAST_SEQ
}

/// Returns the checksum of a message: 32 bits, in SQLite's integer type.
pub(crate) fn checksum(room: &RoomName, seq: u64, frame: &[u8]) -> i64 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(room.as_str().as_bytes());
    // This byte does not occur in UTF-8, so it marks the end of the name.
    sum.update(&[0xff]);
    sum.update(&seq.to_le_bytes());
    sum.update(frame);
    i64::from(sum.finalize())
}

/// Returns the `seq` and the frame of a row `(id, sum, frame)`. The frame is `None` if the checksum does not match.
pub(crate) fn verified_frame<'r>(
    room: &RoomName,
    row: &'r Row<'_>,
) -> rusqlite::Result<(u64, Option<&'r [u8]>)> {
    let (id, sum): (i64, i64) = (row.get(0)?, row.get(1)?);
    let seq = seq_of(id);
    let frame = row.get_ref(2)?.as_blob().ok().filter(|frame| checksum(room, seq, frame) == sum);
    Ok((seq, frame))
}

/// Bytes of a slot before the user's id: the room, the kind of user, the length of the id.
pub(crate) const SLOT_HEADER: usize = 17;

/// Bytes of the digest of a key at the end of a slot.
pub(crate) const KEY_DIGEST: usize = 20;

/// Returns the unique column of an idempotency key. Keys of different rooms or users never have the same slot. It
/// contains a digest of the key, because the text of a key may repeat a message that is erased later.
pub(crate) fn key_slot(room: i64, user: &UserKey, key: &str) -> Vec<u8> {
    slot_of(room, user.is_guest(), user.id(), &Sha1::digest(key).into())
}

/// Returns the slot of a key of which the digest is known.
pub(crate) fn slot_of(room: i64, is_guest: bool, id: &str, digest: &[u8; KEY_DIGEST]) -> Vec<u8> {
    let mut slot = room.to_be_bytes().to_vec();
    slot.push(u8::from(is_guest));
    slot.extend((id.len() as u64).to_be_bytes());
    slot.extend(id.as_bytes());
    slot.extend(digest);
    slot
}

/// Returns a slot with the digest of its key, from one with the text of the key.
pub(super) fn hashed_slot(slot: &[u8]) -> Vec<u8> {
    let owner = slot_owner(slot);
    let key = slot.get(owner.len()..).unwrap_or_default();
    [owner, &Sha1::digest(key)].concat()
}

/// The first byte of the column of a guest: all guests come after all other users.
pub(crate) const GUESTS: &[u8] = &[1];

/// Returns the column of a user in `reactions`, `markers` and `follows`. Different users never have the same.
pub(crate) fn user_column(user: &UserKey) -> Vec<u8> {
    user_column_of(user.is_guest(), user.id())
}

/// Returns the column of the user with an id.
pub(crate) fn user_column_of(is_guest: bool, id: &str) -> Vec<u8> {
    [&[u8::from(is_guest)], id.as_bytes()].concat()
}

/// Returns the part of a slot that all keys of the user in the room have in common.
pub(crate) fn slot_owner(slot: &[u8]) -> &[u8] {
    let length =
        slot.get(9..SLOT_HEADER).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    let end = SLOT_HEADER.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    slot.get(..end).unwrap_or(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_slot_is_its_room_and_user() {
        let user = |id| chat_core::User::guest(id).expect("a name").key();
        let (ann, anna) = (key_slot(1, &user("ann"), "a1"), key_slot(1, &user("anna"), "1"));
        let owner = |slot: &[u8]| slot[..slot.len() - KEY_DIGEST].to_vec();
        assert_eq!(slot_owner(&ann), owner(&key_slot(1, &user("ann"), "")));
        assert_eq!(slot_owner(&anna), owner(&key_slot(1, &user("anna"), "")));
        let text = [slot_owner(&ann), b"a1"].concat();
        assert_eq!(hashed_slot(&text), ann);
        assert_ne!(slot_owner(&ann), slot_owner(&key_slot(2, &user("ann"), "a1")));
        assert_eq!(slot_owner(b"damaged"), b"damaged");
    }

    #[test]
    fn an_id_contains_room_and_seq_and_orders_by_room_first() {
        for room in [1, 2, LAST_ROOM] {
            for seq in [0, 1, LAST_SEQ] {
                let id = message_id(room, seq);
                assert_eq!((room_of(id), seq_of(id)), (room, seq));
            }
            assert_eq!(message_id(room, u64::MAX), message_id(room, LAST_SEQ));
        }
        assert!(message_id(1, LAST_SEQ) < message_id(2, 0));
        assert_eq!(message_id(LAST_ROOM, LAST_SEQ), i64::MAX);
    }
}
