use std::net::SocketAddr;

use anyhow::Result;
use chat_conformance::client::Frame;
use serde_json::json;

use crate::SocketMember;

/// The users of a room above which it sends their number instead of an event about each.
const PRESENCE_THRESHOLD: usize = 100;

/// Rooms with members on blocking sockets. They send one message at a time: each member must have a message before the
/// next one is sent. So the work of the server does not depend on the speed of the machine.
#[derive(Debug)]
pub struct SocketRooms(Vec<Vec<SocketMember>>);

/// A message that is encoded for each room.
#[derive(Debug)]
pub struct EncodedMessage {
    text: String,
    frames: Vec<Vec<u8>>,
}

impl SocketRooms {
    /// Connects the members of rooms, and waits until no event about them is on its way.
    pub fn join(address: SocketAddr, rooms: usize, members: usize) -> Result<Self> {
        let join = |room: usize, member: usize| {
            SocketMember::join(address, &format!("user-{room}-{member}"), &room_name(room))
        };
        let room = |room| (0..members).map(|member| join(room, member)).collect::<Result<Vec<_>>>();
        let mut rooms = (0..rooms).map(room).collect::<Result<Vec<_>>>()?;
        for first in rooms.iter_mut().filter_map(|members| members.first_mut()) {
            if members > PRESENCE_THRESHOLD {
                first.text(format!("\"members\":{members}").as_bytes())?;
            }
        }
        let mut rooms = Self(rooms);
        let first = rooms.prepare(1);
        rooms.deliver(&first)?;
        Ok(rooms)
    }

    /// Encodes messages for [`deliver`](Self::deliver), which then uses no heap.
    pub fn prepare(&self, messages: usize) -> Vec<EncodedMessage> {
        let encode = |message| {
            let text = format!("message {message} of a usual length, as people write them");
            let frame = |room| {
                let send = json!({"type": "send", "room": room_name(room), "body": {"text": text}});
                Frame::json(&send).encode()
            };
            EncodedMessage { frames: (0..self.0.len()).map(frame).collect(), text }
        };
        (0..messages).map(encode).collect()
    }

    /// Sends messages into each room, and checks that each member gets each message once and in order.
    pub fn deliver(&mut self, messages: &[EncodedMessage]) -> Result<()> {
        for (number, EncodedMessage { text, frames }) in messages.iter().enumerate() {
            for (members, frame) in self.0.iter_mut().zip(frames) {
                let sender = number % members.len();
                members[sender].write(frame)?;
                members.iter_mut().try_for_each(|member| member.message(text.as_bytes()))?;
            }
        }
        Ok(())
    }

    /// Returns the number of deliveries of messages.
    pub fn deliveries(&self, messages: &[EncodedMessage]) -> usize {
        self.members() * messages.len()
    }

    /// Returns the number of members of all rooms.
    pub fn members(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Waits until each member has been pinged this many times, and answers. Events are dropped.
    pub fn answer_pings(&mut self, pings: usize) -> Result<()> {
        for _ in 0..pings {
            self.0.iter_mut().flatten().try_for_each(SocketMember::answer_ping)?;
        }
        Ok(())
    }
}

fn room_name(room: usize) -> String {
    format!("room-{room}")
}
