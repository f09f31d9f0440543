//! What comes of a command.

use serde_json::{Value, json};

use super::{Model, user};
use crate::scripts::command::{Command, From};
use crate::scripts::room::Room;
use crate::scripts::step::{CLIENTS, ROOMS};
use crate::scripts::told::Lane;
use crate::scripts::{HISTORY_DEFAULT, ROOMS_MOST, with_reference};

impl Model {
    /// Carries a command out.
    pub(super) fn ask(
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
    pub(super) fn position(&self, client: usize, command: &Command) -> Option<(String, u64)> {
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

    pub(super) fn send(
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
}
