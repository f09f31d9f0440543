//! The protocol once more, as plainly as it can be written: what each client of a script must be told.
//!
//! It knows PROTOCOL.md and shares nothing with the code that it judges. It rests on scripts being played one step
//! at a time: at the beginning of each, everybody has got everything.

mod commands;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use chat_conformance::client::Frame;
use serde_json::{Value, json};

use super::room::Room;
use super::step::{Act, CLIENTS, Ending, Manner, ROOMS, Step};
use super::told::{Lane, Last, Told};
use super::{ERRORS, HISTORY_MOST, MAX_BODY, MAX_FRAME, ROOMS_MOST, with_reference};

/// What the clients and the rooms have come to.
#[derive(Debug, Default)]
pub(super) struct Model {
    rooms: [Room; ROOMS.len()],
    /// The connections that there are.
    online: BTreeMap<usize, Connection>,
    /// The last message that a client has seen of a room, on whatever connection.
    seen: BTreeMap<(usize, usize), u64>,
    /// What each client is told in this step.
    told: [Told; CLIENTS.len()],
}

#[derive(Debug, Default)]
struct Connection {
    rooms: BTreeSet<usize>,
    errors: usize,
}

/// What a step is, and what must come of it.
#[derive(Debug)]
pub(super) struct Prediction {
    /// What the client sends.
    pub(super) bytes: Vec<u8>,
    /// How it ends its side itself, after that.
    pub(super) leaving: Option<Leaving>,
    /// What each client is told.
    pub(super) told: [Told; CLIENTS.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Fin,
    Reset,
}

impl Model {
    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.online.len()
    }

    /// Takes note of what the server calls the life of a room.
    pub(super) fn learn_epoch(&mut self, room: &str, epoch: &str) {
        if let Some(room) = ROOMS.iter().position(|name| *name == room) {
            self.rooms[room].epoch = Some(epoch.to_owned());
        }
    }

    /// A client connects; what it is told.
    pub(super) fn connect(&mut self, client: usize) -> Told {
        self.online.insert(client, Connection::default());
        let limits = json!({
            "max_frame": MAX_FRAME, "max_rooms": ROOMS_MOST, "max_body": MAX_BODY, "max_page": HISTORY_MOST,
        });
        let mut told = Told::default();
        told.hear(
            Lane::Replies,
            json!({
                "type": "welcome", "connection": null, "user": user(client), "limits": limits,
                "ping_interval": null,
            }),
        );
        told
    }

    /// A step is taken, by a client that is connected.
    pub(super) fn take(&mut self, number: usize, Step { client, act }: &Step) -> Prediction {
        let (client, mut leaving) = (*client, None);
        let bytes = match act {
            Act::Say(wrong) => {
                let reference = number.to_string();
                let text = wrong.text.replace("REF", &reference);
                let stranger = wrong.for_members && !self.is_member(client, 0);
                let codes: &[_] = if stranger { &[wrong.code, "not_joined"] } else { &[wrong.code] };
                self.refuse(client, wrong.text.contains("REF").then_some(&*reference), codes);
                Frame::text(text).encode()
            }
            Act::Ask(command, manner) => {
                let reference = number.to_string();
                let reference = (*manner != Manner::Bare).then_some(&*reference);
                let after = self.position(client, command);
                self.ask(client, command, reference, after.as_ref());
                manner.bytes(&command.json(reference, after.as_ref()).to_string())
            }
            Act::Burst(room, count) => (0..*count)
                .flat_map(|index| self.write(client, *room, &format!("{number}.{index}")))
                .collect(),
            Act::Ping(length) => {
                self.reply(client, json!({"frame": "pong", "payload": "p".repeat(*length)}));
                Frame::ping(vec![b'p'; *length]).encode()
            }
            Act::End(words, ending) => {
                let mut bytes =
                    words.map(|room| self.write(client, room, &number.to_string())).unwrap_or_default();
                if self.online.contains_key(&client) {
                    bytes.extend(self.end(client, ending));
                    leaving = match ending {
                        Ending::Fin { .. } => Some(Leaving::Fin),
                        Ending::Reset { .. } => Some(Leaving::Reset),
                        Ending::Close(_) | Ending::ProtocolViolation(_) => None,
                    };
                }
                bytes
            }
        };
        Prediction { bytes, leaving, told: mem::take(&mut self.told) }
    }

    /// A text without a key, its `ref` the same; the frame that it is sent in. One whose errors have been its end
    /// is not heard.
    fn write(&mut self, client: usize, room: usize, text: &str) -> Vec<u8> {
        let body = json!({"text": text});
        if self.online.contains_key(&client) {
            self.send(client, room, None, body.clone(), None, Some(text));
        }
        let send = json!({"type": "send", "room": ROOMS[room], "body": body, "ref": text});
        Frame::text(send.to_string()).encode()
    }

    /// A client ends its connection, or makes the server do it; what it sends.
    fn end(&mut self, client: usize, ending: &Ending) -> Vec<u8> {
        let told = &mut self.told[client];
        let half = &Frame::text(r#"{"type":"ping"}"#).encode()[..9];
        let bytes = match ending {
            Ending::Close(code) => {
                // Who says goodbye need not be answered any more.
                told.excuse(|_| true);
                let echo = code.map_or(json!([null, 1000]), |code| json!(code));
                told.hear(Lane::Replies, json!({"frame": "close", "code": echo}));
                told.hear(Lane::Replies, json!({"frame": "end"}));
                told.ends = Some(Last::End);
                Frame::new(8, code.map(u16::to_be_bytes).as_ref().map_or(&[][..], |code| code)).encode()
            }
            Ending::ProtocolViolation(breach) if breach.is_close() => {
                // A close frame that is wrong is a breach to some and a goodbye to others.
                told.excuse(|_| true);
                told.hear(Lane::Replies, json!({"type": "closing", "code": breach.codes, "reason": null}));
                told.excuse(|_| true);
                told.hear(Lane::Replies, json!({"frame": "close", "code": breach.codes}));
                told.ends = Some(Last::Goodbye);
                breach.bytes()
            }
            Ending::ProtocolViolation(breach) => {
                told.closed(breach.codes);
                breach.bytes()
            }
            Ending::Fin { within_frame } => {
                // A framework that ends both ways when its peer ends one does not answer any more.
                told.excuse(|_| true);
                told.hear(Lane::Replies, json!({"frame": ["end", "reset"]}));
                told.ends = Some(Last::End);
                if *within_frame { half.to_owned() } else { Vec::new() }
            }
            Ending::Reset { within_frame: true } => half.to_owned(),
            Ending::Reset { within_frame: false } => Vec::new(),
        };
        self.depart(client);
        bytes
    }

    /// A connection is gone, and with it its user from the rooms that no other of theirs is in.
    fn depart(&mut self, client: usize) {
        for room in self.online.remove(&client).unwrap_or_default().rooms {
            self.left(client, room);
        }
    }

    fn left(&mut self, client: usize, room: usize) {
        if !self.users(room).contains(CLIENTS[client]) {
            self.announce(client, room, "left");
        }
        // A room in which nothing was written may begin another life as soon as nobody is there.
        if self.members(room).is_empty() && self.rooms[room].head() == 0 {
            self.rooms[room].epoch = None;
        }
    }

    fn announce(&mut self, client: usize, room: usize, state: &str) {
        let presence = json!({"type": "presence", "room": ROOMS[room], "user": user(client), "state": state});
        self.tell_others(client, room, &presence);
    }

    fn tell_others(&mut self, client: usize, room: usize, event: &Value) {
        for other in self.members(room).into_iter().filter(|other| *other != client) {
            self.told[other].hear(Lane::Room(room), event.clone());
        }
    }

    fn is_member(&self, client: usize, room: usize) -> bool {
        self.online.get(&client).is_some_and(|connection| connection.rooms.contains(&room))
    }

    fn members(&self, room: usize) -> Vec<usize> {
        self.online.iter().filter(|(_, it)| it.rooms.contains(&room)).map(|(client, _)| *client).collect()
    }

    fn users(&self, room: usize) -> BTreeSet<&'static str> {
        self.members(room).into_iter().map(|client| CLIENTS[client]).collect()
    }

    fn reply(&mut self, client: usize, event: Value) {
        self.told[client].hear(Lane::Replies, event);
    }

    /// Says what is wrong; of several codes, any. Too many errors are the end.
    fn refuse(&mut self, client: usize, reference: Option<&str>, codes: &[&str]) {
        let error = json!({"type": "error", "code": codes, "message": null, "room": null});
        self.reply(client, with_reference(reference, error));
        let Some(connection) = self.online.get_mut(&client) else { return };
        connection.errors += 1;
        if connection.errors == ERRORS {
            self.told[client].closed(&[4500]);
            self.depart(client);
        }
    }
}

fn user(client: usize) -> Value {
    json!({"id": CLIENTS[client], "name": CLIENTS[client]})
}
