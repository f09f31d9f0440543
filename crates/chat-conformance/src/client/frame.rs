use std::fmt;

use serde_json::Value;

/// The mask of the examples in RFC 6455 section 5.7.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame to send, which can be wrong in any way (RFC 6455 section 5.2).
#[derive(Clone, Debug)]
pub struct Frame {
    is_final: bool,
    reserved: u8,
    opcode: u8,
    mask: Option<[u8; 4]>,
    payload: Vec<u8>,
    form: Form,
    announced: Option<u64>,
}

/// The encoding of the length.
#[derive(Clone, Copy, Debug)]
enum Form {
    Shortest,
    Sixteen,
    SixtyFour,
}

impl Frame {
    /// A final, masked frame of this opcode.
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self {
            is_final: true,
            reserved: 0,
            opcode,
            mask: Some(MASK),
            payload: payload.as_ref().to_vec(),
            form: Form::Shortest,
            announced: None,
        }
    }

    /// A continuation of a fragmented message.
    pub fn continuation(payload: impl AsRef<[u8]>) -> Self {
        Self::new(0, payload)
    }

    /// A text message of this JSON value.
    pub fn json(value: &Value) -> Self {
        Self::text(value.to_string())
    }

    /// A text message, also of bytes that are not UTF-8.
    pub fn text(payload: impl AsRef<[u8]>) -> Self {
        Self::new(1, payload)
    }

    /// A binary message.
    pub fn binary(payload: impl AsRef<[u8]>) -> Self {
        Self::new(2, payload)
    }

    /// A close frame with a code.
    pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Self {
        Self::new(8, [&code.to_be_bytes()[..], reason.as_ref()].concat())
    }

    /// A ping.
    pub fn ping(payload: impl AsRef<[u8]>) -> Self {
        Self::new(9, payload)
    }

    /// A pong.
    pub fn pong(payload: impl AsRef<[u8]>) -> Self {
        Self::new(10, payload)
    }

    /// Clears FIN: more of the message follows.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.is_final = false;
        self
    }

    /// Sets RSV1 (4), RSV2 (2) or RSV3 (1).
    #[must_use]
    pub fn reserved(mut self, bits: u8) -> Self {
        self.reserved = bits;
        self
    }

    /// Removes the mask.
    #[must_use]
    pub fn unmasked(mut self) -> Self {
        self.mask = None;
        self
    }

    /// Sets another mask.
    #[must_use]
    pub fn masked_with(mut self, mask: [u8; 4]) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Announces a length that is not the length of the payload.
    #[must_use]
    pub fn announcing(mut self, length: u64) -> Self {
        self.announced = Some(length);
        self
    }

    /// Encodes the length in 16 bits, even if it fits into 7.
    #[must_use]
    pub fn in_sixteen_bits(mut self) -> Self {
        self.form = Form::Sixteen;
        self
    }

    /// Encodes the length in 64 bits, even if it fits into fewer.
    #[must_use]
    pub fn in_sixty_four_bits(mut self) -> Self {
        self.form = Form::SixtyFour;
        self
    }

    /// Returns the bytes of the frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.is_final) << 7 | self.reserved << 4 | self.opcode];
        let length = self.announced.unwrap_or(self.payload.len() as u64);
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        match (self.form, u8::try_from(length), u16::try_from(length)) {
            (Form::Shortest, Ok(length @ ..=125), _) => bytes.push(masked | length),
            (Form::Shortest | Form::Sixteen, _, Ok(length)) => {
                bytes.push(masked | 126);
                bytes.extend(length.to_be_bytes());
            }
            _ => {
                bytes.push(masked | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        let mask = self.mask.unwrap_or_default();
        bytes.extend(self.mask.into_iter().flatten());
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, self.is_final, self.opcode, &self.payload)?;
        if self.reserved != 0 {
            write!(f, ", RSV bits {:03b}", self.reserved)?;
        }
        if self.mask.is_none() {
            f.write_str(", unmasked")?;
        }
        match self.announced {
            Some(length) => write!(f, ", announced as {length} bytes"),
            None => Ok(()),
        }
    }
}

/// A valid frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// True if it is the last frame of its message.
    pub is_final: bool,
    /// The opcode.
    pub opcode: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Received {
    /// Parses the first frame in `bytes`, and returns it with its length in bytes. Returns `None` if the frame is
    /// incomplete.
    ///
    /// # Errors
    ///
    /// If the frame violates a rule of RFC 6455. The text names the rule.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return Err(format!(
                "a frame with reserved bits ({first:02x}) and no extension (RFC 6455 section 5.2)"
            ));
        }
        if !matches!(opcode, 0..=2 | 8..=10) {
            return Err(format!("a frame of the reserved opcode {opcode} (RFC 6455 section 5.2)"));
        }
        if second & 0x80 != 0 {
            return Err("a masked frame from a server (RFC 6455 section 5.1)".to_owned());
        }
        let (length, header) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
            (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10),
            (126 | 127, _) => return Ok(None),
            (short, _) => (u64::from(short), 2),
        };
        let shortest = match length {
            ..126 => 2,
            126..=0xffff => 4,
            _ => 10,
        };
        if header != shortest {
            return Err(format!("a length of {length} in more bytes than needed (RFC 6455 section 5.2)"));
        }
        if opcode >= 8 && (!is_final || length > 125) {
            return Err(
                "a control frame that is fragmented or over 125 bytes (RFC 6455 section 5.5)".to_owned()
            );
        }
        let length = usize::try_from(length).map_err(|_| format!("a frame of {length} bytes"))?;
        let Some(payload) = bytes.get(header..header + length) else {
            return Ok(None);
        };
        Ok(Some((Self { is_final, opcode, payload: payload.to_vec() }, header + length)))
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, self.is_final, self.opcode, &self.payload)
    }
}

fn describe(f: &mut fmt::Formatter<'_>, is_final: bool, opcode: u8, payload: &[u8]) -> fmt::Result {
    let kind = match opcode {
        0 => "continuation",
        1 => "text",
        2 => "binary",
        8 => "close",
        9 => "ping",
        10 => "pong",
        _ => "reserved",
    };
    write!(f, "{kind}{}", if is_final { "" } else { ", not final" })?;
    match (opcode, payload) {
        (8, [high, low, reason @ ..]) => {
            write!(f, " {} {}", u16::from_be_bytes([*high, *low]), reason.escape_ascii())
        }
        (_, payload) if payload.len() <= 2_000 => match std::str::from_utf8(payload) {
            Ok(text) => write!(f, " {text}"),
            Err(_) => write!(f, " {}", payload.escape_ascii()),
        },
        (_, payload) => write!(f, " of {} bytes", payload.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_encoded_and_read() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(Frame::text("Hello").encode(), hello);
        let unmasked = Frame::text("Hello").unmasked().encode();
        assert_eq!(unmasked, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        for cut in 0..unmasked.len() {
            assert_eq!(Received::parse(&unmasked[..cut]), Ok(None));
        }
        let read = Received { is_final: true, opcode: 1, payload: b"Hello".to_vec() };
        assert_eq!(Received::parse(&unmasked), Ok(Some((read, 7))));
    }

    #[test]
    fn a_frame_that_violates_a_rule_is_an_error() {
        for bad in [
            Frame::text("x").encode(),
            Frame::text("x").unmasked().reserved(4).encode(),
            Frame::new(3, "x").unmasked().encode(),
            Frame::text("x").unmasked().in_sixteen_bits().encode(),
            Frame::text([0; 300]).unmasked().in_sixty_four_bits().encode(),
            Frame::ping([0; 126]).unmasked().encode(),
            Frame::ping("x").unmasked().unfinished().encode(),
        ] {
            assert!(Received::parse(&bad).is_err(), "{bad:02x?}");
        }
    }
}
