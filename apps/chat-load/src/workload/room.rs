use std::sync::Arc;

use anyhow::Result;
use chat_client::{Command, RoomName, Text};
use serde_json::value::{RawValue, to_raw_value};

use super::mark::Mark;
use crate::check::SeqTable;
use crate::options::Protocol;

/// The ping of Engine.IO, on which Socket.IO is built.
pub(crate) const PING: &str = "2";

/// The reply to [`PING`].
pub(crate) const PONG: &str = "3";

/// A room of a run.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: RoomName,
    pub(super) protocol: Protocol,
    /// The messages of the room in its order. If the protocol has no order of the room: the messages of each writer.
    pub(super) tables: Vec<SeqTable>,
    /// The body of all messages whose identity is in their key.
    pub(super) body: Arc<RawValue>,
    /// The text of all messages, except for their marks.
    filler: Arc<str>,
}

/// A frame of a server that has no events.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A message, or `None` if it is not one of this run.
    Message(Option<Mark>),
    /// A frame that expects this reply.
    Ping(&'static str),
}

impl Room {
    /// Creates a room with `writers` writers, of which each table holds at most `messages` messages.
    pub(super) fn new(
        name: RoomName,
        protocol: Protocol,
        writers: usize,
        messages: u64,
        size: usize,
    ) -> Result<Self> {
        let filler = "x".repeat(size);
        let tables = match protocol {
            Protocol::Chat | Protocol::ChatBare => 1,
            Protocol::Plain | Protocol::Socketio => writers,
        };
        Ok(Self {
            name,
            protocol,
            tables: (0..tables).map(|_| SeqTable::new(messages)).collect(),
            body: to_raw_value(&Text::new(&filler))?.into(),
            filler: filler.into(),
        })
    }

    /// Returns the frame that sends a message. If the protocol has no order of the room, the message is now expected.
    pub(super) fn start(&self, mark: Mark) -> String {
        if matches!(self.protocol, Protocol::Plain | Protocol::Socketio) {
            // The writer numbers its messages, so no other one is recorded at this position.
            let _recorded = self.tables[mark.writer].agrees(mark.position, mark.number);
        }
        self.frame(mark)
    }

    fn frame(&self, mark: Mark) -> String {
        match self.protocol {
            Protocol::Chat => self.command(mark.number, mark.due),
            Protocol::ChatBare => {
                let text = mark.text(&self.filler);
                // A mark has no character that JSON escapes.
                let body = RawValue::from_string(format!(r#"{{"text":"{text}"}}"#)).unwrap_or_default();
                Command::Send { room: self.name.clone(), key: None, body, links: None }.encode(None)
            }
            Protocol::Plain => mark.text(&self.filler),
            Protocol::Socketio => format!(r#"42["message","{}"]"#, mark.text(&self.filler)),
        }
    }

    /// Returns the command that sends a message. The key contains the number and the due time.
    pub(super) fn command(&self, number: u64, due: u64) -> String {
        let (reference, key) = (number.to_string(), format!("{number}.{due}"));
        let body = RawValue::to_owned(&self.body);
        Command::Send { room: self.name.clone(), key: Some(key), body, links: None }.encode(Some(&reference))
    }

    /// Records a message at a `seq`. Returns false if another message is recorded there.
    pub(super) fn agrees(&self, seq: u64, number: u64) -> bool {
        self.tables[0].agrees(seq, number)
    }

    /// Returns the due time of a message, or `None` if its key or body is wrong, or another message is recorded at its
    /// `seq`.
    pub(crate) fn due(&self, seq: u64, key: &str, body: &str) -> Option<u64> {
        let (number, due) = key.split_once('.')?;
        let (number, due) = (number.parse().ok()?, due.parse().ok()?);
        (self.agrees(seq, number) && body == self.body.get()).then_some(due)
    }

    /// Reads the mark of the body of a message.
    pub(super) fn mark_of_body(&self, body: &str) -> Option<Mark> {
        Mark::parse(body.strip_prefix(r#"{"text":""#)?.strip_suffix(r#""}"#)?, &self.filler)
    }

    /// Reads a frame of a server that has no events.
    pub(super) fn parse(&self, text: &str) -> Frame {
        let message = match self.protocol {
            Protocol::Socketio if text == PING => return Frame::Ping(PONG),
            Protocol::Socketio => {
                text.strip_prefix(r#"42["message",""#).and_then(|rest| rest.strip_suffix(r#""]"#))
            }
            _ => Some(text),
        };
        let mark = message.and_then(|text| Mark::parse(text, &self.filler));
        Frame::Message(mark.filter(|mark| mark.writer < self.tables.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(protocol: Protocol) -> Room {
        Room::new("room".parse().unwrap(), protocol, 2, 10, 20).unwrap()
    }

    const MARK: Mark = Mark { writer: 1, position: 2, number: 5, due: 9 };

    #[test]
    fn each_protocol_frames_the_same_text() {
        let text = "1 2 5 9 xxxxxxxxxxxx";
        let bare = format!(r#"{{"type":"send","room":"room","body":{{"text":"{text}"}}}}"#);
        let socketio = format!(r#"42["message","{text}"]"#);
        for (protocol, frame) in [
            (Protocol::ChatBare, &bare),
            (Protocol::Plain, &text.to_owned()),
            (Protocol::Socketio, &socketio),
        ] {
            assert_eq!(&room(protocol).frame(MARK), frame);
        }
    }

    #[test]
    fn a_frame_without_events_is_a_message_or_a_ping() {
        for protocol in [Protocol::Plain, Protocol::Socketio] {
            let room = room(protocol);
            assert_eq!(room.parse(&room.frame(MARK)), Frame::Message(Some(MARK)));
            let unknown_writer = Mark { writer: 2, ..MARK };
            for other in [&*room.frame(unknown_writer), "joined", r#"42["joined"]"#, "3"] {
                assert_eq!(room.parse(other), Frame::Message(None), "{other}");
            }
        }
        assert_eq!(room(Protocol::Socketio).parse("2"), Frame::Ping("3"));
        assert_eq!(room(Protocol::Plain).parse("2"), Frame::Message(None));
    }
}
