use chat_core::ProtocolViolation;

/// A limit on the frames and messages of a client's byte stream, in front of a WebSocket implementation that believes
/// the lengths that frame headers announce (RFC 6455 section 5.2).
///
/// The limiter passes bytes frame by frame. It stops at a frame, or a message of several frames, that is longer than
/// the limit, and at a message that has more fragments than it may have bytes.
///
/// ```
/// use chat_core::ProtocolViolation;
/// use chat_websocket::FrameLimiter;
///
/// let mut limiter = FrameLimiter::new(4);
/// assert_eq!(limiter.pass(b"\x81\x82\0\0\0\0hi"), Ok(8));
/// assert_eq!(limiter.pass(b"\x81\x85"), Err(ProtocolViolation::TooBig));
/// ```
#[derive(Debug)]
pub struct FrameLimiter {
    max: u64,
    header: Vec<u8>,
    /// Bytes of the current frame's payload still to come.
    payload: u64,
    /// Bytes of the current message's payload so far, each fragment counted as one more.
    message: u64,
}

impl FrameLimiter {
    /// Returns a limiter for messages of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { max: max as u64, header: Vec::with_capacity(14), payload: 0, message: 0 }
    }

    /// Returns the number of the next bytes that may pass, up to the end of one frame. The next call continues there.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation::TooBig`] if the frame, or its message, is too long.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, ProtocolViolation> {
        let mut at = 0;
        while at < bytes.len() {
            if self.payload > 0 {
                let skipped = self.payload.min((bytes.len() - at) as u64);
                self.payload -= skipped;
                at += usize::try_from(skipped).unwrap_or(usize::MAX);
            } else {
                self.header.push(bytes[at]);
                at += 1;
                let Some(length) = announced(&self.header) else {
                    continue;
                };
                self.begin(length)?;
            }
            if self.payload == 0 {
                break;
            }
        }
        Ok(at)
    }

    /// Returns true if the bytes that have passed end with the end of a frame.
    pub fn is_between_frames(&self) -> bool {
        self.payload == 0 && self.header.is_empty()
    }

    /// Continues from the header to the payload.
    fn begin(&mut self, length: u64) -> Result<(), ProtocolViolation> {
        let (first, masked) = (self.header[0], self.header[1] & 0x80 != 0);
        self.header.clear();
        let is_control = first & 0x08 != 0;
        let total = if is_control { length } else { self.message.saturating_add(length) };
        if length > self.max || total > self.max.saturating_mul(2) {
            return Err(ProtocolViolation::TooBig);
        }
        if !is_control {
            let is_last = first & 0x80 != 0;
            self.message = if is_last { 0 } else { total + 1 };
        }
        self.payload = length + if masked { 4 } else { 0 };
        Ok(())
    }
}

/// Returns the length that a header announces, once that part of the header has arrived.
fn announced(header: &[u8]) -> Option<u64> {
    let short = header.get(1)? & 0x7f;
    match (short, &header[2..]) {
        (126, [a, b]) => Some(u64::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h]) => Some(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        (126 | 127, _) => None,
        (short, _) => Some(u64::from(short)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match u8::try_from(length) {
            Ok(short) if short < 126 => frame.push(0x80 | short),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(vec![0; length]);
        frame
    }

    /// Passes bytes that arrive in parts of `size`, and returns the lengths of the frames that passed.
    fn pass(limiter: &mut FrameLimiter, bytes: &[u8], size: usize) -> Result<Vec<usize>, ProtocolViolation> {
        let (mut frames, mut length) = (Vec::new(), 0);
        for mut part in bytes.chunks(size) {
            while !part.is_empty() {
                let passed = limiter.pass(part)?;
                length += passed;
                part = &part[passed..];
                if limiter.is_between_frames() {
                    frames.push(std::mem::take(&mut length));
                }
            }
        }
        Ok(frames)
    }

    #[test]
    fn frames_within_the_limit_pass_one_by_one_in_parts_of_any_size() {
        let frames = [frame(0x81, 1_000), frame(0x89, 5), frame(0x8a, 0), frame(0x01, 500), frame(0x80, 500)];
        let bytes = frames.concat();
        for size in 1..=bytes.len() {
            let lengths = pass(&mut FrameLimiter::new(1_000), &bytes, size);
            assert_eq!(lengths, Ok(frames.iter().map(Vec::len).collect()));
        }
    }

    #[test]
    fn a_frame_that_announces_too_many_bytes_is_stopped_at_its_header() {
        let mut limiter = FrameLimiter::new(1_000);
        let good = frame(0x81, 3);
        assert_eq!(limiter.pass(&good), Ok(good.len()));
        let mut header = vec![0x81, 0xff];
        header.extend((1_u64 << 63).to_be_bytes());
        assert_eq!(limiter.pass(&header), Err(ProtocolViolation::TooBig));
    }

    #[test]
    fn endless_fragments_are_stopped() {
        let mut limiter = FrameLimiter::new(100);
        assert!(limiter.pass(&frame(0x01, 0)).is_ok());
        let stopped = (0..1_000).find(|_| limiter.pass(&frame(0x00, 0)).is_err());
        assert_eq!(stopped, Some(200));
    }
}
