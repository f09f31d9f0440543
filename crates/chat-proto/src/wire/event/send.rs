//! The events that a `send` causes. They are written by hand, because a server writes more of them than of all others.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{RoomName, User};

/// A `message` event.
pub(crate) struct Message<'a> {
    pub(crate) room: &'a RoomName,
    pub(crate) seq: u64,
    pub(crate) user: &'a User,
    pub(crate) at: u64,
    pub(crate) key: Option<&'a str>,
    pub(crate) body: &'a RawValue,
}

impl Message<'_> {
    /// Writes the event as the text of one frame.
    pub(crate) fn encode(&self) -> Bytes {
        const FIELDS: &str =
            r#"{"type":"message","room":"","seq":,"user":{"id":"","name":""},"at":,"body":}"#;
        let Self { room, seq, user, at, key, body } = self;
        let key_len = key.map_or(0, |key| r#","key":"""#.len() + key.len());
        let texts = [FIELDS, room.as_str(), user.id(), user.name(), body.get()];
        let mut frame = Frame::new(&texts, &[*seq, *at], key_len);
        frame.raw(r#"{"type":"message","room":"#).json(room);
        frame.raw(r#","seq":"#).json(seq);
        frame.raw(r#","user":{"id":"#).json(user.id()).raw(r#","name":"#).json(user.name());
        frame.raw(r#"},"at":"#).json(at);
        if let Some(key) = key {
            frame.raw(r#","key":"#).json(key);
        }
        frame.raw(r#","body":"#).raw(body.get()).raw("}");
        frame.finish()
    }
}

/// A `sent` event.
pub(super) struct Sent<'a> {
    pub(super) reference: Option<&'a str>,
    pub(super) room: &'a RoomName,
    pub(super) seq: u64,
    pub(super) at: u64,
    pub(super) duplicate: bool,
}

impl Sent<'_> {
    pub(super) fn encode(&self) -> Bytes {
        const FIELDS: &str = r#"{"type":"sent","room":"","seq":,"at":}"#;
        let Self { reference, room, seq, at, duplicate } = self;
        let duplicate = if *duplicate { r#","duplicate":true"# } else { "" };
        let reference_len = reference.map_or(0, |reference| r#","ref":"""#.len() + reference.len());
        let mut frame = Frame::new(&[FIELDS, room.as_str(), duplicate], &[*seq, *at], reference_len);
        frame.raw(r#"{"type":"sent""#);
        if let Some(reference) = reference {
            frame.raw(r#","ref":"#).json(reference);
        }
        frame.raw(r#","room":"#).json(room).raw(r#","seq":"#).json(seq).raw(r#","at":"#).json(at);
        frame.raw(duplicate).raw("}");
        frame.finish()
    }
}

/// A frame in a buffer that is long enough, unless a text has characters to escape.
struct Frame(Vec<u8>);

impl Frame {
    /// Returns an empty frame with space for texts, numbers, and more bytes.
    fn new(texts: &[&str], numbers: &[u64], more: usize) -> Self {
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let digits = |number: &u64| number.checked_ilog10().map_or(1, |log| log as usize + 1);
        Self(Vec::with_capacity(texts + numbers.iter().map(digits).sum::<usize>() + more))
    }

    fn raw(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    fn json(&mut self, value: &(impl Serialize + ?Sized)) -> &mut Self {
        serde_json::to_writer(&mut self.0, value).expect("a text or a number is always JSON");
        self
    }

    /// Returns the frame without the spare space of its buffer, because a room keeps it.
    fn finish(self) -> Bytes {
        self.0.into_boxed_slice().into()
    }
}
