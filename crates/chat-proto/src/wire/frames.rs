//! The frames of a WebSocket server (RFC 6455 section 5.2), which are not masked.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The first byte of a text message in one frame.
const TEXT: u8 = 0x81;

/// The number in the second byte of a header after which the length follows in two bytes.
const LENGTH_16: u8 = 126;

/// The same for a length in eight bytes.
const LENGTH_64: u8 = 127;

/// Adds the header of a whole message: `first` is the first byte of its only frame, `length` that of its payload.
///
/// ```
/// let mut bytes = bytes::BytesMut::new();
/// chat_proto::frames::put_header(&mut bytes, 0x82, 300);
/// assert_eq!(&bytes[..], [0x82, 126, 1, 44]);
/// ```
pub fn put_header(bytes: &mut BytesMut, first: u8, length: usize) {
    bytes.put_u8(first);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..LENGTH_16), _) => bytes.put_u8(length),
        (_, Ok(length)) => {
            bytes.put_u8(LENGTH_16);
            bytes.put_u16(length);
        }
        _ => {
            bytes.put_u8(LENGTH_64);
            bytes.put_u64(length as u64);
        }
    }
}

/// Returns the length of the header of a payload of this length.
fn header_bytes(length: usize) -> usize {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(..LENGTH_16), _) => 2,
        (_, Ok(_)) => 4,
        _ => 10,
    }
}

/// Returns whole text messages, one after the other.
///
/// ```
/// assert_eq!(&chat_proto::frames::texts([&b"hi"[..], b""])[..], b"\x81\x02hi\x81\x00");
/// ```
pub fn texts<'a, I>(payloads: I) -> Bytes
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: Clone,
{
    let payloads = payloads.into_iter();
    // Exactly, so that the buffer becomes the result without a second allocation.
    let length = payloads.clone().map(|payload| header_bytes(payload.len()) + payload.len()).sum();
    let mut bytes = BytesMut::with_capacity(length);
    for payload in payloads {
        put_header(&mut bytes, TEXT, payload.len());
        bytes.put_slice(payload);
    }
    bytes.freeze()
}

/// Takes the payload of the first message off whole messages, without a copy. Returns `None` if there is no complete
/// frame.
///
/// ```
/// use chat_proto::frames::{take_payload, texts};
///
/// let mut bytes = texts([&b"hi"[..], &[b'a'; 300], b""]);
/// let payloads: Vec<_> = std::iter::from_fn(|| take_payload(&mut bytes)).collect();
/// assert_eq!(payloads, [&b"hi"[..], &[b'a'; 300], b""]);
/// assert!(bytes.is_empty());
/// ```
pub fn take_payload(bytes: &mut Bytes) -> Option<Bytes> {
    let (start, length) = match *bytes.get(1)? {
        LENGTH_16 => (4, u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        LENGTH_64 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
        length => (2, u64::from(length)),
    };
    let end = usize::try_from(length).ok()?.checked_add(start)?;
    if bytes.len() < end {
        return None;
    }
    let mut payload = bytes.split_to(end);
    payload.advance(start);
    Some(payload)
}
