//! A model of the protocol that predicts the events of each client of a script.
//!
//! It follows PROTOCOL.md and shares no code with the server. Scripts are played step by step: at the start of each
//! step, every client has received everything.

mod commands;

use std::array::from_fn;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use chat_conformance::client::Frame;
use serde_json::{Value, json};

use super::expected::{Expectation, Source, Termination};
use super::links::Links;
use super::room::Room;
use super::step::{Action, CLIENTS, Ending, Framing, ROOMS, Step};
use super::{MAX_BODY, MAX_ERRORS, MAX_FRAME, MAX_PAGE, MAX_ROOMS, with_reference};

/// The state of the clients and the rooms.
#[derive(Debug, Default)]
pub(super) struct Model {
    rooms: [Room; ROOMS.len()],
    /// The open connections, by client.
    online: BTreeMap<usize, Connection>,
    /// The number of connections so far.
    connected: u64,
    /// The last message that a client has seen of a room, on any connection.
    seen: BTreeMap<(usize, usize), u64>,
    /// The clients that have typed in a room.
    typed: BTreeSet<(usize, usize)>,
    /// True if the connections are on several nodes.
    has_nodes: bool,
    /// The events that each client must receive in this step.
    expected: [Expectation; CLIENTS.len()],
}

#[derive(Debug, Default)]
struct Connection {
    number: u64,
    rooms: BTreeSet<usize>,
    errors: usize,
}

/// The bytes of a step, and its expected result.
#[derive(Debug)]
pub(super) struct Prediction {
    /// The bytes that the client sends.
    pub(super) bytes: Vec<u8>,
    /// The way in which the client then ends its side, if it does.
    pub(super) client_end: Option<ClientEnd>,
    /// The events that each client must receive.
    pub(super) expected: [Expectation; CLIENTS.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientEnd {
    Fin,
    Reset,
}

impl Model {
    /// Returns the model of a chat on one node, or on several.
    pub(super) fn new(has_nodes: bool) -> Self {
        let rooms = if has_nodes { from_fn(|_| Room::of_nodes()) } else { Default::default() };
        Self { rooms, has_nodes, ..Self::default() }
    }

    /// Returns the number of open connections.
    pub(super) fn connections(&self) -> usize {
        self.online.len()
    }

    /// Returns the newest entry of a room.
    pub(super) fn head(&self, room: usize) -> u64 {
        self.rooms[room].head()
    }

    /// Records the epoch of a room.
    pub(super) fn learn_epoch(&mut self, room: &str, epoch: &str) {
        if let Some(room) = ROOMS.iter().position(|name| *name == room) {
            self.rooms[room].epoch = Some(epoch.to_owned());
        }
    }

    /// Returns true if a client may get this event at any time: a further state of a user who types on another
    /// connection.
    pub(super) fn may_come_later(&self, client: usize, event: &Value) -> bool {
        let room = ROOMS.iter().position(|room| event["room"] == **room);
        let (Some(room), Some(user)) = (room, event["user"]["id"].as_str()) else { return false };
        event["type"] == "typing" && self.has_typed(user, room, |other| other != client)
    }

    /// Returns true if a user has typed in a room, on one of these clients.
    fn has_typed(&self, user: &str, room: usize, is_one: impl Fn(usize) -> bool) -> bool {
        self.typed.iter().any(|(client, typed)| *typed == room && CLIENTS[*client] == user && is_one(*client))
    }

    /// Connects a client and returns its first events.
    pub(super) fn connect(&mut self, client: usize) -> Expectation {
        self.connected += 1;
        self.online.insert(client, Connection { number: self.connected, ..Connection::default() });
        let limits = json!({
            "max_frame": MAX_FRAME, "max_rooms": MAX_ROOMS, "max_body": MAX_BODY, "max_page": MAX_PAGE,
        });
        let mut expected = Expectation::default();
        expected.add(
            Source::Replies,
            json!({
                "type": "welcome", "connection": null, "user": user(client), "limits": limits,
                "ping_interval": null,
            }),
        );
        expected
    }

    /// Applies a step of a connected client.
    pub(super) fn apply(&mut self, number: usize, Step { client, action }: &Step) -> Prediction {
        let (client, mut client_end) = (*client, None);
        let bytes = match action {
            Action::Malformed(wrong) => {
                let reference = number.to_string();
                let text = wrong.text.replace("REF", &reference);
                let is_not_member = wrong.for_members && !self.is_member(client, 0);
                let is_full = self.online[&client].rooms.len() == MAX_ROOMS;
                let codes: &[_] = match wrong.code {
                    // The host is not asked about a room too many.
                    "forbidden" if is_full => &["too_many_rooms"],
                    code if is_not_member => &[code, "not_joined"],
                    code => &[code],
                };
                self.refuse(client, wrong.text.contains("REF").then_some(&*reference), codes);
                Frame::text(text).encode()
            }
            Action::Command(command, framing) => {
                let reference = number.to_string();
                let reference = (*framing != Framing::WithoutRef).then_some(&*reference);
                let after = self.position(client, command);
                let head = command.room().map_or(0, |room| self.rooms[room].head());
                self.ask(client, command, reference, after.as_ref());
                framing.bytes(&command.json(reference, after.as_ref(), head).to_string())
            }
            Action::Burst(room, count) => (0..*count)
                .flat_map(|index| self.write(client, *room, &format!("{number}.{index}")))
                .collect(),
            Action::Ping(length) => {
                self.reply(client, json!({"frame": "pong", "payload": "p".repeat(*length)}));
                Frame::ping(vec![b'p'; *length]).encode()
            }
            Action::End(words, ending) => {
                let mut bytes =
                    words.map(|room| self.write(client, room, &number.to_string())).unwrap_or_default();
                if self.online.contains_key(&client) {
                    bytes.extend(self.end(client, ending));
                    client_end = match ending {
                        Ending::Fin { .. } => Some(ClientEnd::Fin),
                        Ending::Reset { .. } => Some(ClientEnd::Reset),
                        Ending::Close(_) | Ending::ProtocolViolation(_) => None,
                    };
                }
                bytes
            }
        };
        Prediction { bytes, client_end, expected: mem::take(&mut self.expected) }
    }

    /// Sends a text without a key, with the text as its `ref`. Returns its frame. The server ignores it if errors have
    /// closed the connection.
    fn write(&mut self, client: usize, room: usize, text: &str) -> Vec<u8> {
        let body = json!({"text": text});
        if self.online.contains_key(&client) {
            self.send(client, room, None, (body.clone(), Links::default()), None, Some(text));
        }
        let send = json!({"type": "send", "room": ROOMS[room], "body": body, "ref": text});
        Frame::text(send.to_string()).encode()
    }

    /// Ends a connection, or makes the server close it. Returns the bytes that do so.
    fn end(&mut self, client: usize, ending: &Ending) -> Vec<u8> {
        let expected = &mut self.expected[client];
        let half = &Frame::text(r#"{"type":"ping"}"#).encode()[..9];
        let bytes = match ending {
            Ending::Close(code) => {
                // The server need not answer earlier commands after a close frame.
                expected.make_optional(|_| true);
                let echo = code.map_or(json!([null, 1000]), |code| json!(code));
                expected.add(Source::Replies, json!({"frame": "close", "code": echo}));
                expected.add(Source::Replies, json!({"frame": "end"}));
                expected.ends = Some(Termination::End);
                Frame::new(8, code.map(u16::to_be_bytes).as_ref().map_or(&[][..], |code| code)).encode()
            }
            Ending::ProtocolViolation(violation) if violation.is_close() => {
                // Some frameworks report an invalid close frame as a violation, others as a close.
                expected.make_optional(|_| true);
                expected.add(
                    Source::Replies,
                    json!({"type": "closing", "code": violation.codes, "reason": null}),
                );
                expected.make_optional(|_| true);
                expected.add(Source::Replies, json!({"frame": "close", "code": violation.codes}));
                expected.ends = Some(Termination::AnsweredClose);
                violation.bytes()
            }
            Ending::ProtocolViolation(violation) => {
                expected.closed(violation.codes);
                violation.bytes()
            }
            Ending::Fin { within_frame } => {
                // Some frameworks end both directions when the peer ends one, and answer nothing more.
                expected.make_optional(|_| true);
                expected.add(Source::Replies, json!({"frame": ["end", "reset"]}));
                expected.ends = Some(Termination::End);
                if *within_frame { half.to_owned() } else { Vec::new() }
            }
            Ending::Reset { within_frame: true } => half.to_owned(),
            Ending::Reset { within_frame: false } => Vec::new(),
        };
        self.disconnect(client);
        bytes
    }

    /// Removes a connection. Its user leaves the rooms in which it has no other connection.
    fn disconnect(&mut self, client: usize) {
        for room in self.online.remove(&client).unwrap_or_default().rooms {
            self.left(client, room);
        }
    }

    fn left(&mut self, client: usize, room: usize) {
        if !self.users(room).contains(CLIENTS[client]) {
            self.announce(client, room, "left");
        }
        // An empty room without members may get another epoch.
        if self.members(room).is_empty() && self.rooms[room].head() == 0 {
            self.rooms[room].epoch = None;
        }
    }

    fn announce(&mut self, client: usize, room: usize, state: &str) {
        let presence = json!({"type": "presence", "room": ROOMS[room], "user": user(client), "state": state});
        self.send_to_others(client, room, &presence);
    }

    fn send_to_others(&mut self, client: usize, room: usize, event: &Value) {
        let source = if self.has_nodes { Source::Notices(room) } else { Source::Room(room) };
        for other in self.members(room).into_iter().filter(|other| *other != client) {
            self.expected[other].add(source, event.clone());
        }
    }

    fn is_member(&self, client: usize, room: usize) -> bool {
        self.online.get(&client).is_some_and(|connection| connection.rooms.contains(&room))
    }

    /// Returns the clients in a room.
    pub(super) fn members(&self, room: usize) -> Vec<usize> {
        self.online.iter().filter(|(_, it)| it.rooms.contains(&room)).map(|(client, _)| *client).collect()
    }

    pub(super) fn users(&self, room: usize) -> BTreeSet<&'static str> {
        self.members(room).into_iter().map(|client| CLIENTS[client]).collect()
    }

    fn reply(&mut self, client: usize, event: Value) {
        self.expected[client].add(Source::Replies, event);
    }

    /// Refuses a command with one of these codes. Too many errors close the connection.
    fn refuse(&mut self, client: usize, reference: Option<&str>, codes: &[&str]) {
        let error = json!({"type": "error", "code": codes, "message": null, "room": null});
        self.reply(client, with_reference(reference, error));
        let Some(connection) = self.online.get_mut(&client) else { return };
        // Another user may have changed the message meanwhile.
        let is_mistake = codes.iter().any(|code| !["conflict", "gone", "no_message"].contains(code));
        connection.errors += usize::from(is_mistake);
        if is_mistake && connection.errors == MAX_ERRORS {
            self.expected[client].closed(&[4500]);
            self.disconnect(client);
        }
    }
}

fn user(client: usize) -> Value {
    json!({"id": CLIENTS[client], "name": CLIENTS[client]})
}
