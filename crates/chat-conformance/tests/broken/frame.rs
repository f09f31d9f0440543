use serde_json::Value;

/// A frame on the wire, which can be invalid.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The first byte: FIN, the reserved bits and the opcode.
    pub(crate) first: u8,
    pub(crate) masked: bool,
    /// The unmasked payload.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn close(payload: &[u8]) -> Self {
        Self { first: 0x88, masked: false, payload: payload.to_vec() }
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    pub(crate) fn with_opcode(self, opcode: u8) -> Self {
        Self { first: self.first & 0xf0 | opcode, ..self }
    }

    pub(crate) fn with_payload(self, payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), ..self }
    }

    /// Returns the JSON of an unfragmented text.
    pub(crate) fn json(&self) -> Option<Value> {
        let text = self.first == 0x81;
        text.then(|| serde_json::from_slice(&self.payload).ok()).flatten()
    }

    /// Removes the first frame from `bytes`, if it is complete.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let [first, second, ..] = bytes[..] else { return None };
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let (mask_at, masked) = (2 + extended, second & 0x80 != 0);
        let length = bytes.get(2..mask_at)?.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        let length = if extended == 0 { u64::from(second & 0x7f) } else { length };
        let start = mask_at + if masked { 4 } else { 0 };
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        let mut payload = bytes.get(start..end)?.to_vec();
        if masked {
            let mask = &bytes[mask_at..start];
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        }
        bytes.drain(..end);
        Some(Self { first, masked, payload })
    }

    /// Returns the bytes of the frame. A mask is zero.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (bit, length) = (if self.masked { 0x80 } else { 0 }, self.payload.len());
        let mut bytes = vec![self.first];
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..126), _) => bytes.push(bit | short),
            (_, Ok(middle)) => {
                bytes.push(bit | 126);
                bytes.extend(middle.to_be_bytes());
            }
            _ => {
                bytes.push(bit | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if self.masked {
            bytes.extend([0; 4]);
        }
        bytes.extend(&self.payload);
        bytes
    }
}
