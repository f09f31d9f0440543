//! The messages of a client, from the bytes of its stream (RFC 6455 section 5).

use std::io::Cursor;
use std::mem;
use std::str;

use bytes::{Buf, Bytes, BytesMut};
use chat_core::ProtocolViolation;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::codec::close_payload;

/// The longest payload of a control frame.
const MAX_CONTROL_BYTES: usize = 125;

/// The bytes beside its payload, and beside as many again, that a frame may keep allocated.
const MAX_UNUSED_BYTES: usize = 64;

/// A decoder of the frames of a client. It holds memory only for a frame or a message that is incomplete, so that an
/// idle connection costs none.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The longest frame and the longest message in bytes.
    max: usize,
    /// The bytes that were read and not decoded.
    bytes: BytesMut,
    /// The size of the allocation of `bytes`, at least.
    allocated: usize,
    /// The header of a frame whose payload is incomplete, and the length of the payload.
    header: Option<(FrameHeader, usize)>,
    /// The message whose last fragment has not come.
    message: Option<Box<Fragments>>,
}

/// A message or a control frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A text message, which is valid UTF-8.
    Text(Bytes),
    Binary(Bytes),
    /// A ping, with the payload of its pong.
    Ping(Bytes),
    Pong,
    /// A close frame, with its code if it had one, and the payload of the answer.
    Close(Option<u16>, Bytes),
}

/// The fragments of a message.
#[derive(Debug)]
struct Fragments {
    is_text: bool,
    bytes: BytesMut,
    /// The number of bytes that are complete characters. Only text is checked.
    checked: usize,
}

impl Decoder {
    /// Returns a decoder for messages of at most `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, bytes: BytesMut::new(), allocated: 0, header: None, message: None }
    }

    /// Returns the bytes of the longest message.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Adds bytes that were read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes = bytes.into();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
        self.allocated = self.allocated.max(self.bytes.capacity());
    }

    /// Returns the next message or control frame, or `None` if it is incomplete.
    ///
    /// # Errors
    ///
    /// The violation of the protocol, after which no frame can be decoded.
    pub(crate) fn decode(&mut self) -> Result<Option<Received>, ProtocolViolation> {
        while let Some((header, length)) = self.next_header()? {
            if self.bytes.len() < length {
                self.bytes.reserve(length - self.bytes.len());
                self.header = Some((header, length));
                break;
            }
            let payload = self.take_payload(length);
            let received = self.accept(&header, payload)?;
            if received.is_some() {
                return Ok(received);
            }
        }
        Ok(None)
    }

    /// Takes the next header, if it is complete. Returns it with the length of the payload.
    fn next_header(&mut self) -> Result<Option<(FrameHeader, usize)>, ProtocolViolation> {
        if self.header.is_some() || self.bytes.is_empty() {
            return Ok(self.header.take());
        }
        let mut cursor = Cursor::new(&self.bytes);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| ProtocolViolation::Protocol)?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let end = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        self.bytes.advance(end);
        let length = usize::try_from(length).ok().filter(|length| *length <= self.max);
        Ok(Some((header, length.ok_or(ProtocolViolation::TooBig)?)))
    }

    /// Takes a payload off the bytes, which have all of it.
    fn take_payload(&mut self, length: usize) -> BytesMut {
        let is_last = self.bytes.len() == length;
        if is_last && self.allocated <= 2 * length + MAX_UNUSED_BYTES {
            self.allocated = 0;
            return mem::take(&mut self.bytes);
        }
        // Copied, because a slice would keep all bytes of the read.
        let payload = BytesMut::from(&self.bytes[..length]);
        if is_last {
            (self.bytes, self.allocated) = (BytesMut::new(), 0);
        } else {
            self.bytes.advance(length);
        }
        payload
    }

    /// Takes a whole frame. Returns a control frame, or the message that the frame completes.
    fn accept(
        &mut self,
        header: &FrameHeader,
        mut payload: BytesMut,
    ) -> Result<Option<Received>, ProtocolViolation> {
        let mask = header.mask.ok_or(ProtocolViolation::Protocol)?;
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(ProtocolViolation::Protocol);
        }
        unmask(&mut payload, mask);
        let data = match header.opcode {
            OpCode::Data(data) => data,
            OpCode::Control(_) if !header.is_final => return Err(ProtocolViolation::Protocol),
            OpCode::Control(control) => return accept_control(control, payload.freeze()).map(Some),
        };
        let mut message = match (data, self.message.take()) {
            (Data::Text, None) if header.is_final => {
                str::from_utf8(&payload).map_err(|_| ProtocolViolation::Utf8)?;
                return Ok(Some(Received::Text(payload.freeze())));
            }
            (Data::Binary, None) if header.is_final => return Ok(Some(Received::Binary(payload.freeze()))),
            (Data::Text | Data::Binary, None) => Box::new(Fragments::new(data == Data::Text)),
            (Data::Continue, Some(message)) => message,
            _ => return Err(ProtocolViolation::Protocol),
        };
        message.extend(&payload, self.max)?;
        if header.is_final {
            return message.finish().map(Some);
        }
        self.message = Some(message);
        Ok(None)
    }
}

impl Fragments {
    fn new(is_text: bool) -> Self {
        Self { is_text, bytes: BytesMut::new(), checked: 0 }
    }

    /// Adds a fragment. Text that cannot become valid is refused now, not at the end of the message.
    fn extend(&mut self, fragment: &[u8], max: usize) -> Result<(), ProtocolViolation> {
        if fragment.len() > max - self.bytes.len() {
            return Err(ProtocolViolation::TooBig);
        }
        self.bytes.extend_from_slice(fragment);
        if self.is_text {
            self.checked += match str::from_utf8(&self.bytes[self.checked..]) {
                Ok(text) => text.len(),
                // The last character continues in the next fragment.
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => return Err(ProtocolViolation::Utf8),
            };
        }
        Ok(())
    }

    fn finish(self) -> Result<Received, ProtocolViolation> {
        let Self { is_text, bytes, checked } = self;
        match is_text {
            true if checked < bytes.len() => Err(ProtocolViolation::Utf8),
            true => Ok(Received::Text(bytes.freeze())),
            false => Ok(Received::Binary(bytes.freeze())),
        }
    }
}

fn accept_control(control: Control, payload: Bytes) -> Result<Received, ProtocolViolation> {
    match control {
        _ if payload.len() > MAX_CONTROL_BYTES => Err(ProtocolViolation::Protocol),
        Control::Ping => Ok(Received::Ping(payload)),
        Control::Pong => Ok(Received::Pong),
        Control::Close => accept_close(payload),
        Control::Reserved(_) => Err(ProtocolViolation::Protocol),
    }
}

/// Takes a close frame (RFC 6455 section 5.5.1). A code that must not be sent is answered with 1002.
fn accept_close(payload: Bytes) -> Result<Received, ProtocolViolation> {
    let code = match *payload {
        [] => return Ok(Received::Close(None, payload)),
        [_] => return Err(ProtocolViolation::Protocol),
        [a, b, ref reason @ ..] => {
            str::from_utf8(reason).map_err(|_| ProtocolViolation::Utf8)?;
            CloseCode::from(u16::from_be_bytes([a, b]))
        }
    };
    if code.is_allowed() {
        return Ok(Received::Close(Some(code.into()), payload));
    }
    let code = CloseCode::Protocol.into();
    Ok(Received::Close(Some(code), close_payload(code, "Protocol violation")))
}

/// Applies the mask of a frame to its payload (RFC 6455 section 5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    // The mask twice, in each byte order.
    let wide = u64::from(u32::from_ne_bytes(mask)) * 0x1_0000_0001;
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100;

    /// Returns a masked frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 200];
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = if length < 126 { vec![first, 0x80 | length] } else { vec![first, 0xfe, 0, length] };
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Decodes bytes that arrive in parts of `size`.
    fn decode(bytes: &[u8], size: usize) -> (Vec<Received>, Result<(), ProtocolViolation>, Decoder) {
        let (mut decoder, mut all) = (Decoder::new(MAX), Vec::new());
        for part in bytes.chunks(size) {
            decoder.push(part);
            loop {
                match decoder.decode() {
                    Ok(Some(received)) => all.push(received),
                    Ok(None) => break,
                    Err(violation) => return (all, Err(violation), decoder),
                }
            }
        }
        (all, Ok(()), decoder)
    }

    #[test]
    fn messages_are_decoded_from_parts_of_any_size_and_leave_no_memory() {
        let long = [b'x'; MAX];
        let frames = [
            frame(0x81, b"one"),
            frame(0x89, b"early"),
            frame(0x01, "\u{20ac}".as_bytes().split_at(1).0),
            frame(0x8a, b""),
            frame(0x00, b""),
            frame(0x80, "\u{20ac}".as_bytes().split_at(1).1),
            frame(0x82, &long),
            frame(0x88, b"\x03\xe8bye"),
        ];
        let bytes = frames.concat();
        for size in 1..=bytes.len() {
            let (received, result, decoder) = decode(&bytes, size);
            let expected = [
                Received::Text("one".into()),
                Received::Ping("early".into()),
                Received::Pong,
                Received::Text("\u{20ac}".into()),
                Received::Binary(long.to_vec().into()),
                Received::Close(Some(1000), Bytes::from_static(b"\x03\xe8bye")),
            ];
            assert_eq!((&received[..], result), (&expected[..], Ok(())), "parts of {size} bytes");
            assert_eq!(decoder.bytes.capacity(), 0);
            assert!(decoder.message.is_none() && decoder.header.is_none());
        }
    }

    #[test]
    fn each_violation_is_found_in_parts_of_any_size() {
        use ProtocolViolation::{Protocol, TooBig, Utf8};
        let too_long = [0; MAX + 1];
        for (frames, expected) in [
            (vec![vec![0x81, 0x02, b'h', b'i']], Protocol),
            (vec![frame(0xc1, b"hi")], Protocol),
            (vec![frame(0x83, b"hi")], Protocol),
            (vec![frame(0x8b, b"hi")], Protocol),
            (vec![frame(0x09, b"")], Protocol),
            (vec![frame(0x80, b"hi")], Protocol),
            (vec![frame(0x01, b"hi"), frame(0x81, b"hi")], Protocol),
            (vec![frame(0x88, b"\x03")], Protocol),
            (vec![frame(0x88, b"\x03\xe8\xff")], Utf8),
            (vec![frame(0x81, b"\xc0")], Utf8),
            (vec![frame(0x01, b"\xc0")], Utf8),
            (vec![frame(0x01, b"\xe2"), frame(0x00, b"\x41")], Utf8),
            (vec![frame(0x01, b"\xe2"), frame(0x80, b"\x82")], Utf8),
            (vec![frame(0x82, &too_long)], TooBig),
            (vec![frame(0x02, &[0; MAX]), frame(0x80, b"1")], TooBig),
            (vec![vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]], TooBig),
        ] {
            let bytes = frames.concat();
            for size in 1..=bytes.len() {
                let (received, result, _) = decode(&bytes, size);
                assert_eq!((&received[..], result), (&[][..], Err(expected)), "{frames:x?} in {size}");
            }
        }
    }

    #[test]
    fn a_small_frame_at_the_end_of_a_read_does_not_keep_the_read() {
        let read = [frame(0x82, &[0; 100]).repeat(40), frame(0x89, b""), frame(0x89, b"ping")].concat();
        let mut decoder = Decoder::new(8_000);
        decoder.push(&read);
        let read = decoder.bytes.as_ptr_range();
        while let Some(received) = decoder.decode().expect("valid frames") {
            let (Received::Binary(payload) | Received::Ping(payload)) = received else {
                panic!("{received:?}");
            };
            assert!(!read.contains(&payload.as_ptr()), "{} bytes keep the read", payload.len());
        }
        assert_eq!(decoder.bytes.capacity(), 0);
    }

    #[test]
    fn a_control_frame_is_at_most_125_bytes_long() {
        for (length, expected) in [(125, Ok(())), (126, Err(ProtocolViolation::Protocol))] {
            let mut decoder = Decoder::new(1_000);
            decoder.push(&frame(0x8a, &vec![0; length]));
            assert_eq!(decoder.decode().map(|_| ()), expected);
        }
    }

    #[test]
    fn a_close_code_that_must_not_be_sent_is_answered_with_1002() {
        for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65535_u16] {
            let (received, ..) = decode(&frame(0x88, &code.to_be_bytes()), 1);
            let answer = Received::Close(Some(1002), close_payload(1002, "Protocol violation"));
            assert_eq!(received, [answer], "{code}");
        }
        for code in [1000, 1003, 1007, 1013, 3000, 4999_u16] {
            let (received, ..) = decode(&frame(0x88, &code.to_be_bytes()), 1);
            assert!(matches!(received[..], [Received::Close(Some(same), _)] if same == code), "{code}");
        }
    }
}
