//! The protocol once more, as plainly as it can be written: what each client of a script must be told.
//!
//! It knows PROTOCOL.md and shares nothing with the code that it judges. It rests on scripts being played one step
//! at a time: at the beginning of each, everybody has got everything.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use chat_conformance::client::Frame;
use serde_json::{Value, json};

use super::command::{Command, From};
use super::room::Room;
use super::step::{Act, CLIENTS, Ending, Manner, ROOMS, Step};
use super::told::{Lane, Last, Told};
use super::{ERRORS, HISTORY_DEFAULT, HISTORY_MOST, MAX_BODY, MAX_FRAME, ROOMS_MOST, with_reference};

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
                        Ending::Close(_) | Ending::Breach(_) => None,
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
            Ending::Breach(breach) if breach.is_close() => {
                // A close frame that is wrong is a breach to some and a goodbye to others.
                told.excuse(|_| true);
                told.hear(Lane::Replies, json!({"type": "closing", "code": breach.codes, "reason": null}));
                told.excuse(|_| true);
                told.hear(Lane::Replies, json!({"frame": "close", "code": breach.codes}));
                told.ends = Some(Last::Goodbye);
                breach.bytes()
            }
            Ending::Breach(breach) => {
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

    /// Carries a command out.
    fn ask(
        &mut self,
        client: usize,
        command: &Command,
        reference: Option<&str>,
        after: Option<&(String, u64)>,
    ) {
        let room = match command {
            Command::Ping => return self.reply(client, with_reference(reference, json!({"type": "pong"}))),
            Command::Join(room, from) => return self.join(client, *room, *from, reference, after),
            Command::Send(room, key, body) => {
                let key = key.map(|key| key.to_string());
                return self.send(client, *room, key.as_deref(), body.json(), body.fault(), reference);
            }
            Command::Leave(room)
            | Command::History(room, _)
            | Command::Members(room)
            | Command::Search(room, _)
            | Command::Typing(room, _) => *room,
        };
        if !self.is_member(client, room) {
            return self.refuse(client, reference, &["not_joined"]);
        }
        let name = ROOMS[room];
        let reply = match command {
            Command::History(_, page) => {
                let (messages, more) = self.rooms[room].page(*page);
                let epoch = &self.rooms[room].epoch;
                json!({"type": "history", "room": name, "epoch": epoch, "messages": messages, "more": more})
            }
            Command::Members(_) => {
                let users = self.users(room).into_iter();
                let members: Vec<_> = users.map(|user| json!({"id": user, "name": user})).collect();
                json!({"type": "members", "room": name, "members": members})
            }
            Command::Search(_, query) => {
                let (messages, more) = self.rooms[room].find(*query);
                json!({"type": "found", "room": name, "messages": messages, "more": more})
            }
            Command::Typing(_, active) => {
                let event = json!({"type": "typing", "room": name, "user": user(client), "active": active});
                return self.tell_others(client, room, &event);
            }
            _ => {
                if let Some(connection) = self.online.get_mut(&client) {
                    connection.rooms.remove(&room);
                }
                self.left(client, room);
                json!({"type": "left", "room": name})
            }
        };
        self.reply(client, with_reference(reference, reply));
    }

    /// The position that a client names when it joins.
    fn position(&self, client: usize, command: &Command) -> Option<(String, u64)> {
        let Command::Join(room, from) = command else { return None };
        let Room { epoch, .. } = &self.rooms[*room];
        let head = self.rooms[*room].head();
        let seq = match from {
            From::Now | From::Last(_) => return None,
            From::Seen => *self.seen.get(&(client, *room))?,
            From::Behind(count) => head.saturating_sub(*count),
            From::Ahead(count) => head + count,
            From::Stale(seq) => return Some(("another".to_owned(), *seq)),
        };
        // Where nobody can be certain of the epoch, it is another.
        Some((epoch.clone().unwrap_or_else(|| "another".to_owned()), seq))
    }

    fn join(
        &mut self,
        client: usize,
        room: usize,
        from: From,
        reference: Option<&str>,
        asked: Option<&(String, u64)>,
    ) {
        let (head, lost) = (self.rooms[room].head(), self.rooms[room].lost());
        let epoch = self.rooms[room].epoch.clone();
        let is_same = asked.is_some_and(|(asked, _)| Some(asked) == epoch.as_ref());
        let mut wrong = Vec::new();
        let connection = &self.online[&client];
        if !connection.rooms.contains(&room) && connection.rooms.len() == ROOMS_MOST {
            wrong.push("too_many_rooms");
        }
        if is_same && asked.is_some_and(|(_, seq)| *seq > head) {
            wrong.push("bad_cursor");
        }
        if !wrong.is_empty() {
            return self.refuse(client, reference, &wrong);
        }
        // The last message that it does not get, and what is missing before that.
        let (after, missing) = match (from, asked) {
            (From::Last(count), _) => (head.saturating_sub(count).max(lost), None),
            (_, None) => (head, None),
            (_, Some((_, seq))) if is_same && *seq >= lost => (*seq, None),
            (_, Some((_, seq))) => {
                let after = head.saturating_sub(HISTORY_DEFAULT).max(lost);
                (after, Some(if is_same { *seq } else { 0 } + 1..=after))
            }
        };
        let is_new = !self.users(room).contains(CLIENTS[client]);
        if let Some(connection) = self.online.get_mut(&client) {
            connection.rooms.insert(room);
        }
        if is_new {
            self.announce(client, room, "joined");
        }
        let joined = json!({
            "type": "joined", "room": ROOMS[room], "epoch": epoch, "seq": head, "first": lost + 1,
            "recovered": missing.is_none(), "members": self.users(room).len(),
        });
        // The messages come after the reply: so they share a lane.
        let told = &mut self.told[client];
        told.hear(Lane::Room(room), with_reference(reference, joined));
        if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
            let (from, to) = missing.into_inner();
            let gap = json!({"type": "gap", "room": ROOMS[room], "epoch": epoch, "from": from, "to": to});
            told.hear(Lane::Room(room), gap);
        }
        for message in self.rooms[room].after(after) {
            told.hear(Lane::Room(room), message.clone());
        }
        self.seen.insert((client, room), head);
    }

    fn send(
        &mut self,
        client: usize,
        room: usize,
        key: Option<&str>,
        body: Value,
        fault: Option<&'static str>,
        reference: Option<&str>,
    ) {
        let user = CLIENTS[client];
        let mut wrong: Vec<_> = fault.into_iter().collect();
        if !self.is_member(client, room) {
            wrong.push("not_joined");
        }
        let known = self.rooms[room].known(user, key);
        if wrong.is_empty() && known.is_some_and(|(_, first)| *first != body) {
            wrong.push("key_conflict");
        }
        if !wrong.is_empty() {
            return self.refuse(client, reference, &wrong);
        }
        let mut sent = with_reference(reference, json!({"type": "sent", "room": ROOMS[room], "at": null}));
        if let Some((seq, _)) = known {
            sent["seq"] = json!(seq);
            sent["duplicate"] = json!(true);
            return self.reply(client, sent);
        }
        let message = self.rooms[room].write(ROOMS[room], user, key, body).clone();
        let head = self.rooms[room].head();
        for member in self.members(room) {
            self.told[member].hear(Lane::Room(room), message.clone());
            self.seen.insert((member, room), head);
        }
        sent["seq"] = json!(head);
        self.reply(client, sent);
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
