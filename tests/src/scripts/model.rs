//! The protocol once more, as plainly as it can be written: what each client of a script must be told.
//!
//! It knows protocol.md and shares nothing with the code that it judges. It rests on scripts being played one step
//! at a time: at the beginning of each, everybody has got everything.

use std::collections::{BTreeMap, BTreeSet};

use chat_conformance::client::Frame;
use serde_json::{Value, json};

use super::step::{Act, Body, CLIENTS, Command, Ending, From, Manner, Page, ROOMS, Step};
use super::{ERRORS, HISTORY_DEFAULT, HISTORY_MOST, KEPT, MAX_BODY, MAX_FRAME, ROOMS_MOST};

/// What the clients and the rooms have come to.
#[derive(Debug, Default)]
pub(super) struct Model {
    rooms: [Room; ROOMS.len()],
    /// The connections that there are.
    online: BTreeMap<usize, Connection>,
    /// The last message that a client has seen of a room, on whatever connection.
    seen: BTreeMap<(usize, usize), u64>,
}

#[derive(Debug, Default)]
struct Room {
    /// All that was ever written; `seq` is the index and one.
    messages: Vec<Value>,
    /// What each (user, key) was used for: the `seq` and the body.
    keys: BTreeMap<(&'static str, String), (u64, Value)>,
    /// Its present life, as far as that is certain.
    epoch: Option<String>,
}

#[derive(Debug, Default)]
struct Connection {
    rooms: BTreeSet<usize>,
    errors: usize,
}

/// What a step is, and what must come of it.
#[derive(Debug, Default)]
pub(super) struct Prediction {
    /// What the client sends.
    pub(super) bytes: Vec<u8>,
    /// How it ends its connection itself, after that.
    pub(super) leaving: Option<Leaving>,
    /// What each client is told.
    pub(super) told: [Told; CLIENTS.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Fin,
    Reset,
}

/// What one client is told in one step: lanes of events, each in order. Of two lanes, any may be ahead.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) lanes: BTreeMap<Lane, Vec<Expected>>,
    /// Whether the connection ends with it.
    pub(super) ends: Option<Ends>,
}

/// The last that a client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// The server's close frame, which the client answers.
    AtClose,
    /// The end of the stream.
    AtEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Replies,
    Room(usize),
}

/// An event. What is null in it may be anything, and of a list in the place of a single value one holds.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) event: Value,
    /// Whether it may as well not come, since the connection is ending.
    pub(super) optional: bool,
}

impl Told {
    fn hear(&mut self, lane: Lane, event: Value) {
        self.lanes.entry(lane).or_default().push(Expected { event, optional: false });
    }

    /// Nothing of these need come any more.
    fn excuse(&mut self, excused: impl Fn(Lane) -> bool) {
        let lanes = self.lanes.iter_mut().filter(|(lane, _)| excused(**lane));
        lanes.flat_map(|(_, events)| events).for_each(|expected| expected.optional = true);
    }
}

impl Room {
    fn head(&self) -> u64 {
        self.messages.len() as u64
    }

    /// The last message that cannot be read any more.
    fn lost(&self) -> u64 {
        self.head().saturating_sub(KEPT)
    }
}

impl Model {
    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.online.len()
    }

    pub(super) fn is_online(&self, client: usize) -> bool {
        self.online.contains_key(&client)
    }

    /// Takes note of what the server calls the life of a room.
    pub(super) fn learn_epoch(&mut self, room: &str, epoch: &str) {
        if let Some(room) = ROOMS.iter().position(|name| *name == room) {
            self.rooms[room].epoch = Some(epoch.to_owned());
        }
    }

    /// A client connects.
    pub(super) fn connect(&mut self, client: usize) -> Value {
        self.online.insert(client, Connection::default());
        let limits = json!({"max_frame": MAX_FRAME, "max_rooms": ROOMS_MOST, "max_body": MAX_BODY, "max_page": HISTORY_MOST});
        json!({"type": "welcome", "connection": null, "user": user(client), "limits": limits, "ping_interval": null})
    }

    /// A step is taken, by a client that is connected.
    pub(super) fn take(&mut self, number: usize, step: &Step) -> Prediction {
        let client = step.client;
        let mut prediction = Prediction::default();
        let told = &mut prediction.told;
        match &step.act {
            Act::Say(wrong) => {
                let reference = format!("{number}");
                prediction.bytes = Frame::text(wrong.text.replace("REF", &reference)).encode();
                let reference = wrong.text.contains("REF").then_some(&*reference);
                let stranger = wrong.for_members && !self.is_member(client, 0);
                let codes = if stranger { vec![wrong.code, "not_joined"] } else { vec![wrong.code] };
                self.refuse(client, reference, &codes, told);
            }
            Act::Ask(command, manner) => {
                let reference = format!("{number}");
                let reference = (*manner != Manner::Bare).then_some(&*reference);
                let text = self.ask(client, command, reference, told).to_string();
                prediction.bytes = match manner {
                    Manner::Whole | Manner::Bare => Frame::text(text).encode(),
                    Manner::Fragments => in_fragments(&text),
                };
            }
            Act::Burst(room, count) => {
                for index in 0..*count {
                    let reference = format!("{number}.{index}");
                    let body = json!({"text": format!("{number}.{index}")});
                    let text = json!({"type": "send", "room": ROOMS[*room], "body": body, "ref": reference});
                    prediction.bytes.extend(Frame::text(text.to_string()).encode());
                    if self.is_online(client) {
                        self.send(client, *room, None, &body, Some(&reference), told);
                    }
                }
            }
            Act::Ping(length) => {
                prediction.bytes = Frame::ping(vec![b'p'; *length]).encode();
                told[client].hear(Lane::Replies, json!({"frame": "pong", "length": length}));
            }
            Act::End(words, ending) => {
                // Whether what is ahead of a reset is read, nobody can know.
                let words = words.filter(|_| !matches!(ending, Ending::Reset { .. }));
                if let Some(room) = words {
                    let body = json!({"text": format!("last words of {number}")});
                    let text = json!({"type": "send", "room": ROOMS[room], "body": body, "ref": "words"});
                    prediction.bytes = Frame::text(text.to_string()).encode();
                    self.send(client, room, None, &body, Some("words"), told);
                }
                if self.is_online(client) {
                    self.end(client, ending, &mut prediction);
                }
            }
        }
        prediction
    }

    fn end(&mut self, client: usize, ending: &Ending, prediction: &mut Prediction) {
        let told = &mut prediction.told[client];
        told.excuse(|lane| lane != Lane::Replies);
        told.ends = Some(Ends::AtEnd);
        let half = &Frame::text("{\"type\":\"ping\"}").encode()[..9];
        match ending {
            Ending::Close(code) => {
                // Who says goodbye need not be answered any more.
                told.excuse(|_| true);
                let payload = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
                prediction.bytes.extend(Frame::new(8, payload).encode());
                let echo = code.map_or(json!([null, 1000]), |code| json!(code));
                told.hear(Lane::Replies, json!({"frame": "close", "code": echo}));
                told.hear(Lane::Replies, json!({"frame": "end"}));
            }
            Ending::Breach(breach) => {
                prediction.bytes.extend(breach.bytes());
                told.closed(breach.codes);
                // A close frame that is wrong is a breach to some and a goodbye to others.
                if breach.is_close() {
                    told.excuse(|_| true);
                    told.must_close();
                }
            }
            Ending::Fin { within_frame } => {
                prediction.bytes.extend(if *within_frame { half } else { &[] });
                // A framework that ends both ways when its peer ends one does not answer any more.
                told.excuse(|_| true);
                told.hear(Lane::Replies, json!({"frame": ["end", "reset"]}));
                prediction.leaving = Some(Leaving::Fin);
            }
            Ending::Reset { within_frame } => {
                prediction.bytes.extend(if *within_frame { half } else { &[] });
                prediction.leaving = Some(Leaving::Reset);
            }
        }
        self.depart(client, &mut prediction.told);
    }

    /// A connection is gone, and with it its user from the rooms that no other of theirs is in.
    fn depart(&mut self, client: usize, told: &mut [Told]) {
        for room in self.online.remove(&client).unwrap_or_default().rooms {
            self.farewell(client, room, told);
        }
    }

    fn farewell(&mut self, client: usize, room: usize, told: &mut [Told]) {
        if !self.users(room).contains(CLIENTS[client]) {
            self.announce(client, room, "left", told);
        }
        self.forget(room);
    }

    fn announce(&self, client: usize, room: usize, state: &str, told: &mut [Told]) {
        let presence = json!({"type": "presence", "room": ROOMS[room], "user": user(client), "state": state});
        for other in self.members(room).filter(|other| *other != client) {
            told[other].hear(Lane::Room(room), presence.clone());
        }
    }

    /// A room in which nothing was written may begin another life as soon as nobody is there.
    fn forget(&mut self, room: usize) {
        if self.members(room).next().is_none() && self.rooms[room].messages.is_empty() {
            self.rooms[room].epoch = None;
        }
    }

    fn is_member(&self, client: usize, room: usize) -> bool {
        self.online.get(&client).is_some_and(|connection| connection.rooms.contains(&room))
    }

    fn members(&self, room: usize) -> impl Iterator<Item = usize> {
        self.online.iter().filter(move |(_, it)| it.rooms.contains(&room)).map(|(client, _)| *client)
    }

    fn users(&self, room: usize) -> BTreeSet<&'static str> {
        self.members(room).map(|client| CLIENTS[client]).collect()
    }

    /// Says what is wrong; of several codes, any. Too many errors are the end.
    fn refuse(&mut self, client: usize, reference: Option<&str>, codes: &[&str], told: &mut [Told; 4]) {
        told[client].hear(
            Lane::Replies,
            reply(reference, json!({"type": "error", "code": codes, "message": null, "room": null})),
        );
        let Some(connection) = self.online.get_mut(&client) else { return };
        connection.errors += 1;
        if connection.errors == ERRORS {
            told[client].excuse(|lane| lane != Lane::Replies);
            told[client].closed(&[4500]);
            self.depart(client, told);
        }
    }

    /// Carries a command out; the text it was.
    fn ask(
        &mut self,
        client: usize,
        command: &Command,
        reference: Option<&str>,
        told: &mut [Told; 4],
    ) -> Value {
        let (kind, room) = match command {
            Command::Join(room, from) => return self.join(client, *room, *from, reference, told),
            Command::Send(room, key, body) => {
                let (key, body) = (key.map(|key| format!("key {key}")), body.json());
                return self.send(client, *room, key.as_deref(), &body, reference, told);
            }
            Command::Ping => {
                told[client].hear(Lane::Replies, reply(reference, json!({"type": "pong"})));
                return reply(reference, json!({"type": "ping"}));
            }
            Command::Leave(room) => ("leave", *room),
            Command::History(room, _) => ("history", *room),
            Command::Members(room) => ("members", *room),
            Command::Typing(room, _) => ("typing", *room),
        };
        let name = ROOMS[room];
        let mut text = reply(reference, json!({"type": kind, "room": name}));
        let is_member = self.is_member(client, room);
        let answer = match command {
            Command::Leave(_) if is_member => {
                if let Some(connection) = self.online.get_mut(&client) {
                    connection.rooms.remove(&room);
                }
                self.farewell(client, room, told);
                json!({"type": "left", "room": name})
            }
            Command::History(_, page) => {
                let (messages, more) = self.rooms[room].page(*page, &mut text);
                let epoch = &self.rooms[room].epoch;
                json!({"type": "history", "room": name, "epoch": epoch, "messages": messages, "more": more})
            }
            Command::Members(_) => {
                let users: Vec<_> =
                    self.users(room).into_iter().map(|user| json!({"id": user, "name": user})).collect();
                json!({"type": "members", "room": name, "members": users})
            }
            Command::Typing(_, active) => {
                text["active"] = json!(active);
                let event = json!({"type": "typing", "room": name, "user": user(client), "active": active});
                for other in self.members(room).filter(|other| is_member && *other != client) {
                    told[other].hear(Lane::Room(room), event.clone());
                }
                Value::Null
            }
            _ => Value::Null,
        };
        if !is_member {
            self.refuse(client, reference, &["not_joined"], told);
        } else if !answer.is_null() {
            told[client].hear(Lane::Replies, reply(reference, answer));
        }
        text
    }

    fn join(
        &mut self,
        client: usize,
        room: usize,
        from: From,
        reference: Option<&str>,
        told: &mut [Told; 4],
    ) -> Value {
        let (head, lost) = (self.rooms[room].head(), self.rooms[room].lost());
        let epoch = self.rooms[room].epoch.clone();
        let seen = self.seen.get(&(client, room)).copied();
        let mut text = reply(reference, json!({"type": "join", "room": ROOMS[room]}));
        // The position asked for, or the last message not wanted.
        let (asked, wanted) = match (from, &epoch) {
            (From::Now, _) => (None, None),
            (From::Seen, _) if seen.is_none() => (None, None),
            (From::Last(count), _) => {
                text["last"] = json!(count);
                (None, Some(head.saturating_sub(count).max(lost)))
            }
            (From::Seen, Some(epoch)) => (Some((epoch.clone(), seen.unwrap_or_default())), None),
            (From::Behind(count), Some(epoch)) => (Some((epoch.clone(), head.saturating_sub(count))), None),
            (From::Ahead(count), Some(epoch)) => (Some((epoch.clone(), head + count)), None),
            (From::Stale(seq) | From::Behind(seq) | From::Ahead(seq), _) => {
                (Some(("another".to_owned(), seq)), None)
            }
            (From::Seen, None) => (Some(("another".to_owned(), 0)), None),
        };
        if let Some((epoch, seq)) = &asked {
            text["after"] = json!({"epoch": epoch, "seq": seq});
        }
        let (after, recovered, gap) = match asked {
            None => (wanted, true, None),
            Some((asked, seq)) if Some(&asked) == epoch.as_ref() && (lost..=head).contains(&seq) => {
                (Some(seq), true, None)
            }
            Some((asked, seq)) => {
                let has_seen = if Some(asked) == epoch { seq } else { 0 };
                let after = head.saturating_sub(HISTORY_DEFAULT).max(lost);
                (Some(after), false, Some((has_seen + 1, after)))
            }
        };
        let mut wrong = Vec::new();
        let connection = &self.online[&client];
        if !connection.rooms.contains(&room) && connection.rooms.len() == ROOMS_MOST {
            wrong.push("too_many_rooms");
        }
        if !recovered && gap.is_some_and(|(from, _)| from > head + 1) {
            wrong.push("bad_cursor");
        }
        if !wrong.is_empty() {
            self.refuse(client, reference, &wrong, told);
            return text;
        }
        let is_new = !self.users(room).contains(CLIENTS[client]);
        if let Some(connection) = self.online.get_mut(&client) {
            connection.rooms.insert(room);
        }
        if is_new {
            self.announce(client, room, "joined", told);
        }
        let joined = json!({
            "type": "joined", "room": ROOMS[room], "epoch": epoch, "seq": head, "first": lost + 1,
            "recovered": recovered, "members": self.users(room).len(),
        });
        let lane = Lane::Room(room);
        told[client].hear(lane, reply(reference, joined));
        if let Some((from, to)) = gap.filter(|(from, to)| from <= to) {
            let gap = json!({"type": "gap", "room": ROOMS[room], "epoch": epoch, "from": from, "to": to});
            told[client].hear(lane, gap);
        }
        for seq in after.unwrap_or(head) + 1..=head {
            told[client].hear(lane, self.rooms[room].message(seq));
        }
        self.seen.insert((client, room), head);
        text
    }

    fn send(
        &mut self,
        client: usize,
        room: usize,
        key: Option<&str>,
        body: &Value,
        reference: Option<&str>,
        told: &mut [Told; 4],
    ) -> Value {
        let mut text = reply(reference, json!({"type": "send", "room": ROOMS[room], "body": body}));
        if let Some(key) = key {
            text["key"] = json!(key);
        }
        let mut wrong: Vec<_> = fault(body).into_iter().collect();
        if !self.is_member(client, room) {
            wrong.push("not_joined");
        }
        let known = key.and_then(|key| self.rooms[room].keys.get(&(CLIENTS[client], key.to_owned())));
        if wrong.is_empty() && known.is_some_and(|(_, first)| first != body) {
            wrong.push("key_conflict");
        }
        if !wrong.is_empty() {
            self.refuse(client, reference, &wrong, told);
            return text;
        }
        let mut sent = reply(reference, json!({"type": "sent", "room": ROOMS[room], "at": null}));
        if let Some((seq, _)) = known {
            sent["seq"] = json!(seq);
            sent["duplicate"] = json!(true);
            told[client].hear(Lane::Replies, sent);
            return text;
        }
        let seq = self.rooms[room].head() + 1;
        let mut message = json!({
            "type": "message", "room": ROOMS[room], "seq": seq, "user": user(client), "at": null, "body": body,
        });
        if let Some(key) = key {
            message["key"] = json!(key);
            self.rooms[room].keys.insert((CLIENTS[client], key.to_owned()), (seq, body.clone()));
        }
        self.rooms[room].messages.push(message.clone());
        let members: Vec<_> = self.members(room).collect();
        for member in members {
            told[member].hear(Lane::Room(room), message.clone());
            self.seen.insert((member, room), seq);
        }
        sent["seq"] = json!(seq);
        told[client].hear(Lane::Replies, sent);
        text
    }
}

impl Told {
    /// The server closes, with one of these codes.
    fn closed(&mut self, codes: &[u16]) {
        self.hear(Lane::Replies, json!({"type": "closing", "code": codes, "reason": null}));
        self.hear(Lane::Replies, json!({"frame": "close", "code": codes}));
        self.ends = Some(Ends::AtClose);
    }

    /// The last of the replies is owed all the same.
    fn must_close(&mut self) {
        if let Some(last) = self.lanes.get_mut(&Lane::Replies).and_then(|lane| lane.last_mut()) {
            last.optional = false;
        }
    }
}

impl Room {
    fn message(&self, seq: u64) -> Value {
        usize::try_from(seq).ok().and_then(|seq| self.messages.get(seq - 1).cloned()).unwrap_or_default()
    }

    /// Part of what can still be read, oldest first, and whether there is more in the direction asked.
    fn page(&self, Page { from, limit }: Page, text: &mut Value) -> (Vec<Value>, bool) {
        if let Some((before, seq)) = from {
            text[if before { "before" } else { "after" }] = json!(seq);
        }
        if let Some(limit) = limit {
            text["limit"] = json!(limit);
        }
        let limit = limit.unwrap_or(HISTORY_DEFAULT).clamp(1, HISTORY_MOST);
        let readable = self.lost() + 1..=self.head();
        let mut wanted: Vec<u64> = match from {
            None => readable.collect(),
            Some((true, before)) => readable.filter(|seq| *seq < before).collect(),
            Some((false, after)) => readable.filter(|seq| *seq > after).collect(),
        };
        let more = wanted.len() as u64 > limit;
        while wanted.len() as u64 > limit {
            if matches!(from, Some((false, _))) {
                wanted.pop()
            } else {
                Some(wanted.remove(0))
            };
        }
        (wanted.into_iter().map(|seq| self.message(seq)).collect(), more)
    }
}

fn user(client: usize) -> Value {
    json!({"id": CLIENTS[client], "name": CLIENTS[client]})
}

/// Adds the `ref`, if there is one.
fn reply(reference: Option<&str>, mut event: Value) -> Value {
    if let Some(reference) = reference {
        event["ref"] = json!(reference);
    }
    event
}

/// What is wrong with a message.
fn fault(body: &Value) -> Option<&'static str> {
    let Some(text) = body["text"].as_str() else { return Some("bad_body") };
    if text.len() > MAX_BODY {
        Some("body_too_large")
    } else if text.trim().is_empty() {
        Some("empty_body")
    } else if text.contains('\u{7}') {
        Some("bad_body")
    } else {
        None
    }
}

impl Body {
    fn json(self) -> Value {
        match self {
            Self::Text(number) => json!({"text": format!("안녕 {number}"), "mood": 1.50}),
            Self::Longest => json!({"text": "x".repeat(MAX_BODY)}),
            Self::TooLong => json!({"text": "x".repeat(MAX_BODY + 1)}),
            Self::Empty => json!({"text": ""}),
            Self::Blank => json!({"text": " \n\t"}),
            Self::Control => json!({"text": "a\u{7}b"}),
            Self::Other => json!({"words": "hi"}),
        }
    }
}

fn in_fragments(text: &str) -> Vec<u8> {
    let (first, rest) = text.as_bytes().split_at(text.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let frames = [
        Frame::text(first).unfinished(),
        Frame::pong("unasked"),
        Frame::continuation(second).unfinished(),
        Frame::continuation(third),
    ];
    frames.iter().flat_map(Frame::encode).collect()
}
