//! The results of commands.

use serde_json::{Value, json};

use super::{Model, user};
use crate::scripts::change::{By, Change};
use crate::scripts::command::{Command, From, target};
use crate::scripts::expected::Source;
use crate::scripts::links::Links;
use crate::scripts::room::{Changed, Room};
use crate::scripts::step::{CLIENTS, OWNER, ROOMS};
use crate::scripts::{DEFAULT_PAGE, MAX_PAGE, MAX_ROOMS, with_reference};

impl Model {
    /// Executes a command.
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
            Command::Send(room, key, body, links) => {
                let (key, content) = (key.map(|key| key.to_string()), (body.json(), *links));
                return self.send(client, *room, key.as_deref(), content, body.error_code(), reference);
            }
            Command::Read(room, back) => {
                let seq = target(self.rooms[*room].head(), *back);
                return self.read(client, *room, seq, reference);
            }
            Command::Rooms => return self.list(client, reference),
            Command::Change(room, back, change) => {
                let target = target(self.rooms[*room].head(), *back);
                return self.change(client, *room, target, *change, reference);
            }
            Command::Purge(room, purged) => return self.purge(client, *room, purged, reference),
            Command::Leave(room)
            | Command::History(room, _)
            | Command::Thread(room, ..)
            | Command::Members(room)
            | Command::Search(room, _)
            | Command::Typing(room, _) => *room,
        };
        if !self.is_member(client, room) {
            return self.refuse(client, reference, &["not_joined"]);
        }
        let name = ROOMS[room];
        let reply = match command {
            Command::History(_, page) | Command::Thread(_, _, page) => {
                let root = match command {
                    Command::Thread(_, back, _) => Some(target(self.rooms[room].head(), *back)),
                    _ => None,
                };
                if root.is_some_and(|root| !self.rooms[room].has_linked(root, true)) {
                    return self.refuse(client, reference, &["no_message"]);
                }
                let (messages, more) = self.rooms[room].page(root, *page);
                let epoch = &self.rooms[room].epoch;
                json!({"type": "history", "room": name, "epoch": epoch, "messages": messages, "more": more})
            }
            Command::Members(_) => {
                let users = self.users(room).into_iter();
                let members: Vec<_> = users.map(|user| json!({"id": user, "name": user})).collect();
                let total = members.len();
                json!({"type": "members", "room": name, "members": members, "more": false, "total": total})
            }
            Command::Search(_, query) => {
                let (messages, more) = self.rooms[room].find(*query);
                json!({"type": "found", "room": name, "messages": messages, "more": more})
            }
            Command::Typing(_, active) => {
                // Only the first event about a user comes at once.
                let is_first = !self.has_typed(CLIENTS[client], room, |_| true);
                if *active && self.typed.insert((client, room)) && is_first {
                    let event = json!({"type": "typing", "room": name, "user": user(client), "active": true});
                    self.send_to_others(client, room, &event);
                }
                return;
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

    /// Returns the position in a `join`.
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
        // If the epoch is not known for certain, any other will do.
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
        let (head, forgotten) = (self.rooms[room].head(), self.rooms[room].forgotten());
        let epoch = self.rooms[room].epoch.clone();
        let is_same = asked.is_some_and(|(asked, _)| Some(asked) == epoch.as_ref());
        let mut wrong = Vec::new();
        let connection = &self.online[&client];
        if !connection.rooms.contains(&room) && connection.rooms.len() == MAX_ROOMS {
            wrong.push("too_many_rooms");
        }
        if is_same && asked.is_some_and(|(_, seq)| *seq > head) {
            wrong.push("bad_cursor");
        }
        if !wrong.is_empty() {
            return self.refuse(client, reference, &wrong);
        }
        // The messages after `after` are replayed; those in `missing` are reported as a gap.
        let (after, missing) = match (from, asked) {
            (From::Last(count), _) => (self.rooms[room].before_newest(count.min(MAX_PAGE)), None),
            (_, None) => (head, None),
            (_, Some((_, seq))) if is_same && *seq >= forgotten => (*seq, None),
            (_, Some((_, seq))) => {
                let after = head.saturating_sub(DEFAULT_PAGE).max(forgotten);
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
        let of_all = ["send", "react", "edit", "delete"];
        let of_owners = ["delete_others", "pin", "mention_room", "restrict", "role", "settings", "purge"];
        let (role, more): (_, &[&str]) = match CLIENTS[client] {
            OWNER => ("owner", &of_owners),
            _ => ("member", &[]),
        };
        let may = [&of_all[..], more].concat();
        let [read, unread, mentions] = self.rooms[room].unread(CLIENTS[client]);
        let mut joined = json!({
            "type": "joined", "room": ROOMS[room], "epoch": epoch, "seq": head, "first": forgotten + 1,
            "recovered": missing.is_none(), "members": self.users(room).len(), "presence": "each",
            "read": read, "unread": unread, "mentions": mentions, "role": role, "may": may,
        });
        let pins = self.rooms[room].pins();
        if !pins.is_empty() {
            joined["pins"] = json!(pins);
        }
        // The messages must come after the reply, so both have the same source.
        let expected = &mut self.expected[client];
        expected.add(Source::Room(room), with_reference(reference, joined));
        if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
            let (from, to) = missing.into_inner();
            let gap = json!({"type": "gap", "room": ROOMS[room], "epoch": epoch, "from": from, "to": to});
            expected.add(Source::Room(room), gap);
        }
        for (published, present) in self.rooms[room].after(after) {
            expected.add_entry(Source::Room(room), published, present);
        }
        self.seen.insert((client, room), head);
    }

    pub(super) fn send(
        &mut self,
        client: usize,
        room: usize,
        key: Option<&str>,
        (body, links): (Value, Links),
        error_code: Option<&'static str>,
        reference: Option<&str>,
    ) {
        let user = CLIENTS[client];
        let mut wrong: Vec<_> = error_code.into_iter().collect();
        if !self.is_member(client, room) {
            wrong.push("not_joined");
        }
        let fields = links.json(self.rooms[room].head());
        let known = self.rooms[room].known(user, key);
        if wrong.is_empty() && known.is_some_and(|(_, first)| *first != json!([body, fields])) {
            wrong.push("key_conflict");
        }
        let is_linked = [("reply_to", false), ("thread", true)].into_iter().all(|(field, as_root)| {
            fields[field].as_u64().is_none_or(|seq| self.rooms[room].has_linked(seq, as_root))
        });
        if wrong.is_empty() && known.is_none() {
            if fields["mentions"] == "@room" && user != OWNER {
                wrong.push("forbidden");
            } else if !is_linked {
                wrong.push("no_message");
            }
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
        let connection = self.online[&client].number;
        let message = self.rooms[room].write(ROOMS[room], (user, connection), key, (body, &fields));
        self.publish(room, &message);
        sent["seq"] = json!(self.rooms[room].head());
        self.reply(client, sent);
    }

    /// Moves the marker of the user, which other connections of the user learn if they are in the room.
    fn read(&mut self, client: usize, room: usize, seq: u64, reference: Option<&str>) {
        if !self.is_member(client, room) {
            return self.refuse(client, reference, &["not_joined"]);
        }
        let Some((seq, has_moved)) = self.rooms[room].read(CLIENTS[client], seq) else {
            return self.refuse(client, reference, &["bad_cursor"]);
        };
        let read = json!({"type": "read", "room": ROOMS[room], "user": user(client), "seq": seq});
        let is_told = |other: &usize| *other != client && CLIENTS[*other] == CLIENTS[client];
        for other in self.members(room).into_iter().filter(is_told).filter(|_| has_moved) {
            self.expected[other].add(Source::Markers, read.clone());
        }
        self.reply(client, with_reference(reference, read));
    }

    /// Lists the rooms that a client is in.
    fn list(&mut self, client: usize, reference: Option<&str>) {
        let mut names: Vec<_> = self.online[&client].rooms.iter().map(|room| (ROOMS[*room], *room)).collect();
        names.sort_unstable();
        let summary = |(name, room): (&str, usize)| {
            let [read, unread, mentions] = self.rooms[room].unread(CLIENTS[client]);
            json!({
                "room": name, "seq": self.rooms[room].head(), "read": read, "unread": unread,
                "mentions": mentions,
            })
        };
        let rooms: Vec<_> = names.into_iter().map(summary).collect();
        self.reply(
            client,
            with_reference(reference, json!({"type": "rooms", "rooms": rooms, "more": false})),
        );
    }

    /// Sends a new entry to the members.
    fn publish(&mut self, room: usize, entry: &Value) {
        let head = self.rooms[room].head();
        for member in self.members(room) {
            self.expected[member].add(Source::Room(room), entry.clone());
            self.seen.insert((member, room), head);
        }
    }

    fn purge(&mut self, client: usize, room: usize, purged: &str, reference: Option<&str>) {
        let (user, connection) = (CLIENTS[client], self.online[&client].number);
        if !self.is_member(client, room) {
            return self.refuse(client, reference, &["not_joined"]);
        }
        if user != OWNER {
            return self.refuse(client, reference, &["forbidden"]);
        }
        let by = By { user, connection, is_moderator: true };
        let mut done = with_reference(reference, json!({"type": "done", "room": ROOMS[room]}));
        if let Some(entry) = self.rooms[room].purge(ROOMS[room], by, purged) {
            self.publish(room, &entry);
            done["seq"] = entry["seq"].clone();
        }
        self.reply(client, done);
    }

    fn change(&mut self, client: usize, room: usize, target: u64, change: Change, reference: Option<&str>) {
        let mut wrong = Vec::new();
        if let Change::Edit { body, .. } = change {
            wrong.extend(body.error_code());
        }
        if !self.is_member(client, room) {
            wrong.push("not_joined");
        }
        if !wrong.is_empty() {
            return self.refuse(client, reference, &wrong);
        }
        let (user, connection) = (CLIENTS[client], self.online[&client].number);
        let by = By { user, connection, is_moderator: user == OWNER };
        let mut done = with_reference(reference, json!({"type": "done", "room": ROOMS[room]}));
        match self.rooms[room].change(ROOMS[room], by, target, change) {
            Err(code) => return self.refuse(client, reference, &[code]),
            Ok(Changed::Unchanged) => {}
            Ok(Changed::Duplicate(seq)) => {
                done["seq"] = json!(seq);
                done["duplicate"] = json!(true);
            }
            Ok(Changed::Stored(entry)) => {
                self.publish(room, &entry);
                done["seq"] = entry["seq"].clone();
            }
        }
        self.reply(client, done);
    }
}
