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
        frame.raw(r#"{"type":"message","room":"#).json(room);
        frame.raw(r#","seq":"#).json(seq);
        frame.raw(r#","user":{"id":"#).json(user.id()).raw(r#","name":"#).json(user.name());
        frame.raw(r#"},"at":"#).json(at);
        if let Some(key) = key {
            frame.raw(r#","key":"#).json(key);
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
        frame.raw(r#"{"type":"changed","room":"#).json(self.room).raw(r#","seq":"#).json(seq);
        frame.raw(r#","at":"#).json(at).raw(r#","by":{"id":"#).json(by.id());
        frame.raw(r#","name":"#).json(by.name()).raw(r#"},"target":"#).json(target);
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
