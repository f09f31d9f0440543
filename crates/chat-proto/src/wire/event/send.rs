//! The events that a `send` or a change causes. They are written by hand, because a server writes more of them than of
//! all others.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::room::{ChangeEntry, ChangeKind, Folded, Links, NewMessage};
use crate::{RoomName, User};

/// A `message` event.
pub(crate) struct Message<'a> {
    pub(crate) room: &'a RoomName,
    pub(crate) seq: u64,
    pub(crate) user: &'a User,
    pub(crate) at: u64,
    pub(crate) key: Option<&'a str>,
    pub(crate) body: Option<&'a RawValue>,
    /// `None` for a message that was not changed.
    pub(crate) folded: Option<&'a Folded>,
    /// `None` for a message without links.
    pub(crate) links: Option<&'a Links>,
}

impl Message<'_> {
    /// Writes the event as the text of one frame.
    pub(crate) fn encode(&self) -> Bytes {
        const FIELDS: &str =
            r#"{"type":"message","room":"","seq":,"user":{"id":"","name":""},"at":,"body":}"#;
        let Self { room, seq, user, at, key, body, folded, links } = self;
        let body = body.map_or("", RawValue::get);
        let folded = folded.map_or_else(String::new, fields);
        let links = links.map_or_else(String::new, |links| fields(&*kept(links, !body.is_empty())));
        let key_len = key.map_or(0, |key| r#","key":"""#.len() + key.len());
        let texts = [FIELDS, room.as_str(), user.id(), user.name(), body, &folded, &links];
        let mut frame = Frame::new(&texts, &[*seq, *at], key_len);
        frame.raw(r#"{"type":"message","room":"#).text(room.as_str());
        frame.raw(r#","seq":"#).json(seq);
        frame.raw(r#","user":{"id":"#).text(user.id()).raw(r#","name":"#).text(user.name());
        frame.raw(r#"},"at":"#).json(at);
        if let Some(key) = key {
            frame.raw(r#","key":"#).text(key);
        }
        if !folded.is_empty() {
            frame.raw(",").raw(&folded);
        }
        if !body.is_empty() {
            frame.raw(r#","body":"#).raw(body);
        }
        if !links.is_empty() {
            frame.raw(",").raw(&links);
        }
        frame.raw("}");
        frame.finish()
    }
}

/// Returns the fields of an object, without the braces around them.
fn fields(object: &impl Serialize) -> String {
    let object = text(object);
    object[1..object.len() - 1].to_owned()
}

/// Returns the links of a message that readers get. A deleted message, which has no body, mentions nobody.
fn kept(links: &Links, has_body: bool) -> Cow<'_, Links> {
    if has_body || links.mentions.is_none() {
        Cow::Borrowed(links)
    } else {
        Cow::Owned(links.clone().with_mentions(None))
    }
}

/// A `changed` event.
pub(crate) struct Changed<'a> {
    pub(crate) room: &'a RoomName,
    pub(crate) entry: &'a ChangeEntry,
    /// The state of the message, and the message. `None` if a later entry has replaced this change.
    pub(crate) state: Option<(&'a Folded, &'a NewMessage)>,
}

impl Changed<'_> {
    /// Writes the event as the text of one frame.
    pub(crate) fn encode(&self) -> Bytes {
        const FIELDS: &str = r#"{"type":"changed","room":"","seq":,"at":,"by":{"id":"","name":""},"target":,"what":"reactions","reactions":}"#;
        let ChangeEntry { seq, at, by, target, kind } = self.entry;
        let state = self.state.map(|(folded, message)| match kind {
            ChangeKind::Edited => (r#""edited","body":"#, edited(message)),
            ChangeKind::Reactions => (r#""reactions","reactions":"#, text(&folded.reactions)),
            ChangeKind::Pinned => (r#""pinned","pinned":"#, text(&folded.pinned)),
            ChangeKind::Deleted => {
                match folded.deleted.as_ref().and_then(|deleted| deleted.reason.as_ref()) {
                    Some(reason) => (r#""deleted","reason":"#, text(reason)),
                    None => (r#""deleted""#, String::new()),
                }
            }
        });
        let replaced = match kind {
            // A client may still hold the message, and no later entry would tell it.
            ChangeKind::Deleted => r#""deleted""#,
            _ => r#""superseded""#,
        };
        let (what, state) = state.unwrap_or((replaced, String::new()));
        let mut frame =
            Frame::new(&[FIELDS, self.room.as_str(), by.id(), by.name(), &state], &[*seq, *at, *target], 0);
        frame.raw(r#"{"type":"changed","room":"#).text(self.room.as_str()).raw(r#","seq":"#).json(seq);
        frame.raw(r#","at":"#).json(at).raw(r#","by":{"id":"#).text(by.id());
        frame.raw(r#","name":"#).text(by.name()).raw(r#"},"target":"#).json(target);
        frame.raw(r#","what":"#).raw(what).raw(&state).raw("}");
        frame.finish()
    }
}

/// Returns the body of an edited message, and the field of its mentions if there are any.
fn edited(message: &NewMessage) -> String {
    let body = message.body.get();
    match message.links.as_deref().and_then(|links| links.mentions.as_ref()) {
        Some(mentions) => format!(r#"{body},"mentions":{}"#, text(mentions)),
        None => body.to_owned(),
    }
}

fn text(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("the state of a message is always JSON")
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
            frame.raw(r#","ref":"#).text(reference);
        }
        frame.raw(r#","room":"#).text(room.as_str()).raw(r#","seq":"#).json(seq).raw(r#","at":"#).json(at);
        frame.raw(duplicate).raw("}");
        frame.finish()
    }
}

/// Returns true if a JSON string of these bytes has a character to escape. It looks at eight bytes at once, as
/// described in "Bit Twiddling Hacks" by Sean Eron Anderson.
fn has_escapes(text: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let escapes = |word: u64| {
        let [quotes, backslashes] = [b'"', b'\\'].map(|byte| word ^ (ONES * u64::from(byte)));
        let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word;
        (below(word, b' ') | below(quotes, 1) | below(backslashes, 1)) & HIGHS
    };
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [b'a'; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).any(|word| escapes(u64::from_ne_bytes(*word)) != 0)
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

    /// Adds a JSON string. Most have no character to escape, and are copied.
    fn text(&mut self, text: &str) -> &mut Self {
        if has_escapes(text.as_bytes()) { self.json(text) } else { self.raw("\"").raw(text).raw("\"") }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_json_string_with_and_without_escapes() {
        let texts = (0..=17).flat_map(|len| (0..len).map(move |place| (len, place)));
        for (len, place) in texts {
            for byte in 0..=127_u8 {
                let mut bytes = vec![b'x'; len];
                bytes[place] = byte;
                let text = String::from_utf8(bytes).unwrap();
                for text in [&text, &format!("ü{text}ß")] {
                    let mut frame = Frame::new(&[], &[], 0);
                    frame.text(text);
                    assert_eq!(frame.0, serde_json::to_vec(text).unwrap(), "{text:?}");
                }
            }
        }
    }
}
