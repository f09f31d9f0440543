use chat_core::RoomName;
use chat_proto::UserKey;
use sha1::{Digest, Sha1};

/// Bits of a message's id that say its place in the room; those above say the room.
const SEQ_BITS: u32 = 36;

/// The last place in a room: some 68 billion messages.
pub(crate) const LAST_SEQ: u64 = (1 << SEQ_BITS) - 1;

/// The rooms that fit into the ids beside it: some 134 million.
pub(crate) const LAST_ROOM: i64 = i64::MAX >> SEQ_BITS;

/// The id of a message. A position that no room reaches is the last one.
pub(crate) fn id(room: i64, seq: u64) -> i64 {
    (room << SEQ_BITS) | i64::try_from(seq.min(LAST_SEQ)).unwrap_or(i64::MAX)
}

/// A message's place in its room.
pub(crate) fn seq(id: i64) -> u64 {
    id.unsigned_abs() & LAST_SEQ
}

/// What the checksum of a message is to be: 32 bits, in the type that a damaged one may have.
pub(crate) fn sum(room: &RoomName, seq: u64, frame: &[u8]) -> i64 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(room.as_str().as_bytes());
    // Stands in no text, so it ends the name.
    sum.update(&[0xff]);
    sum.update(&seq.to_le_bytes());
    sum.update(frame);
    i64::from(sum.finalize())
}

/// Where a key stands among all keys: those of different rooms and users never meet.
pub(crate) fn slot(room: i64, user: &UserKey, key: &str) -> Vec<u8> {
    let id = user.id().as_bytes();
    let mut slot = room.to_be_bytes().to_vec();
    slot.push(u8::from(user.is_guest()));
    slot.extend((id.len() as u64).to_be_bytes());
    slot.extend(id);
    slot.extend(key.as_bytes());
    slot
}

/// A room's epoch: of this life of the store, and of this room alone.
pub(crate) fn epoch(store: &str, room: &RoomName) -> String {
    let digest = Sha1::new().chain_update(store).chain_update([0xff]).chain_update(room.as_str()).finalize();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_room_and_a_place_and_lies_among_those_of_its_room() {
        for room in [1, 2, LAST_ROOM] {
            for place in [0, 1, LAST_SEQ] {
                assert_eq!((id(room, place) >> SEQ_BITS, seq(id(room, place))), (room, place));
            }
            assert_eq!(id(room, u64::MAX), id(room, LAST_SEQ));
        }
        assert!(id(1, LAST_SEQ) < id(2, 0));
        assert_eq!(id(LAST_ROOM, LAST_SEQ), i64::MAX);
    }
}
