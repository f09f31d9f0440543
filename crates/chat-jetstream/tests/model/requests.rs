//! The requests of JetStream that the crate sends, and messages that are to be stored.

use std::collections::BTreeMap;

use async_nats::{HeaderMap, Message, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::link::{number, rfc3339};

use super::copy::{Copy, Op, Stored};
use super::network::message;
use super::stream::Reply;
use super::world::World;

/// The percentage of the requests without a leader that are refused. The others get no answer.
const REFUSED: u64 = 30;

/// The subjects of one request for several, at most.
const MAX_SUBJECTS: usize = 1_024;

fn error(code: u32, err_code: u32, description: &str) -> Value {
    json!({ "error": { "code": code, "err_code": err_code, "description": description } })
}

/// Returns the answer to the creation of a stream that is there.
pub(super) fn in_use() -> Value {
    error(400, 10_058, "stream name already in use with a different configuration")
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    Some(message.headers.as_ref()?.get(name)?.as_str())
}

impl World {
    /// Takes a message for the stream at a server. Returns false if no leader listens to its subject.
    pub(super) fn take_publication(&mut self, server: usize, message: &Message) -> bool {
        let takes = |leader: &usize| self.servers[*leader].copy.takes(&message.subject);
        let leaders: Vec<_> = self.leaders(server).into_iter().filter(takes).collect();
        for leader in &leaders {
            let (leader, message) = (*leader, message.clone());
            self.hop(server, leader, move |world| {
                if world.servers[leader].believes.is_some() {
                    world.store(leader, &message);
                }
            });
        }
        !leaders.is_empty()
    }

    /// Decides about a message as a leader.
    fn store(&mut self, leader: usize, message: &Message) {
        let reply = message.reply.as_ref().map(ToString::to_string);
        let refuse = |world: &mut Self, code, err_code, description: &str| {
            if let Some(reply) = &reply {
                let mut answer = error(code, err_code, description);
                answer["stream"] = world.name(leader).into();
                answer["seq"] = 0.into();
                world.answer(leader, reply, answer.to_string());
            }
        };
        if header(message, "Nats-Expected-Stream").is_some_and(|name| name != self.name(leader)) {
            return refuse(self, 400, 10_060, "expected stream does not match");
        }
        let at = self.clock();
        let part = Stored {
            subject: message.subject.to_string(),
            headers: message.headers.clone(),
            payload: message.payload.clone(),
            at,
        };
        let mut parts = vec![part];
        let batch = header(message, "Nats-Batch-Id").map(ToOwned::to_owned);
        if let Some(batch) = &batch {
            let sequence = number(message.headers.as_ref(), "Nats-Batch-Sequence").unwrap_or_default();
            let server = &mut self.servers[leader];
            let mut staged = server.staged.remove(batch).unwrap_or_default();
            if sequence != staged.len() as u64 + 1 {
                return refuse(self, 400, 10_176, "atomic publish batch is incomplete");
            }
            staged.append(&mut parts);
            if header(message, "Nats-Batch-Commit").is_none() {
                server.staged.insert(batch.clone(), staged);
                if let Some(reply) = &reply {
                    self.answer(leader, reply, "");
                }
                return;
            }
            parts = staged;
        }
        for (index, part) in parts.iter().enumerate() {
            let name = "Nats-Expected-Last-Subject-Sequence";
            let Some(expected) = number(part.headers.as_ref(), name) else { continue };
            let is_in_batch = parts[..index].iter().any(|other| other.subject == part.subject);
            if is_in_batch || self.is_in_flight(leader, &part.subject) {
                return refuse(self, 400, 10_164, "wrong last sequence");
            }
            let last = self.servers[leader].copy.last_of(&part.subject).map_or(0, |(place, _)| place);
            if last != expected {
                return refuse(self, 400, 10_071, &format!("wrong last sequence: {last}"));
            }
        }
        self.propose(leader, Op::Store(parts), reply.map(|subject| Reply { subject, batch }));
    }

    /// Takes a request of the API at a server. Returns false if nobody listens to its subject.
    pub(super) fn take_request(&mut self, server: usize, message: &Message) -> bool {
        let Some(reply) = message.reply.as_ref().map(ToString::to_string) else {
            // Only a removal is sent without waiting for its answer.
            if self.refuses {
                return true;
            }
            self.ask_leaders(server, message, None);
            return true;
        };
        if message.subject.starts_with("$JS.API.DIRECT.GET.") {
            return self.take_read(server, message, &reply);
        }
        self.listings += usize::from(message.payload.windows(15).any(|part| part == b"subjects_filter"));
        if self.refuses || (self.leaders(server).is_empty() && self.rng.percent(REFUSED)) {
            let answer = error(503, 10_008, "JetStream system temporarily unavailable");
            self.answer(server, &reply, answer.to_string());
            return true;
        }
        self.ask_leaders(server, message, Some(&reply));
        true
    }

    fn ask_leaders(&mut self, server: usize, message: &Message, reply: Option<&String>) {
        for leader in self.leaders(server) {
            let (message, reply) = (message.clone(), reply.cloned());
            self.hop(server, leader, move |world| {
                if world.servers[leader].believes.is_some() {
                    world.carry_out(leader, &message, reply);
                }
            });
        }
    }

    /// Carries out a request as a leader.
    fn carry_out(&mut self, leader: usize, message: &Message, reply: Option<String>) {
        let method = message.subject.strip_prefix("$JS.API.").unwrap_or_default();
        let Some((method, name)) = method.rsplit_once('.') else { return };
        let query: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let copy = &self.servers[leader].copy;
        let exists = copy.config.as_ref().is_some_and(|config| config["name"] == name);
        let step = match method {
            "STREAM.CREATE" if !exists => Ok(Op::Create(query)),
            _ if !exists => Err(error(404, 10_059, "stream not found")),
            "STREAM.CREATE" if copy.config.as_ref() != Some(&query) => Err(in_use()),
            "STREAM.INFO" if query["subjects_filter"].is_string() => Err(subjects(copy, &query)),
            "STREAM.CREATE" | "STREAM.INFO" => Err(self.info(leader)),
            "STREAM.UPDATE" => Ok(Op::Update(query)),
            "STREAM.DELETE" => Ok(Op::Remove),
            "STREAM.PURGE" => {
                let filter = query["filter"].as_str().unwrap_or(">").to_owned();
                // A request without a place keeps the last message.
                let last = || copy.last_of(&filter).map(|(place, _)| place);
                let before = query["seq"].as_u64().or_else(last).unwrap_or_default();
                Ok(Op::Purge { filter, before })
            }
            "STREAM.MSG.DELETE" => Ok(Op::Delete(query["seq"].as_u64().unwrap_or_default())),
            "STREAM.MSG.GET" => Err(get(copy, &query)),
            other => panic!("the model does not know {other}"),
        };
        match (step, reply) {
            (Ok(op), reply) => self.propose(leader, op, reply.map(|subject| Reply { subject, batch: None })),
            (Err(answer), Some(reply)) => self.answer(leader, &reply, answer.to_string()),
            (Err(_), None) => {}
        }
    }

    pub(super) fn name(&self, server: usize) -> String {
        let config = self.servers[server].copy.config.as_ref();
        config.and_then(|config| config["name"].as_str()).unwrap_or_default().to_owned()
    }

    pub(super) fn info(&self, server: usize) -> Value {
        let Copy { config, messages, last, .. } = &self.servers[server].copy;
        let ts = rfc3339(self.clock());
        json!({ "config": config, "state": { "last_seq": last, "messages": messages.len() }, "ts": ts })
    }

    /// Lets some server with a copy answer a read.
    fn take_read(&mut self, server: usize, message: &Message, reply: &str) -> bool {
        let name = message.subject.strip_prefix("$JS.API.DIRECT.GET.").unwrap_or_default();
        let has_copy =
            |other: &usize| self.servers[*other].copy.config.as_ref().is_some_and(|c| c["name"] == name);
        let reached = (0..self.servers.len()).filter(|other| self.reaches(server, *other));
        let able: Vec<_> = reached.filter(has_copy).collect();
        if able.is_empty() {
            return false;
        }
        let chosen = able[self.rng.index(able.len())];
        let query: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let reply = reply.to_owned();
        self.hop(server, chosen, move |world| {
            for answer in read(&world.servers[chosen].copy, &query, &reply) {
                world.read += usize::from(answer.status.is_none());
                world.route(chosen, &answer);
            }
        });
        true
    }
}

/// Returns the bytes of headers, as a server stores them.
fn header_bytes(headers: Option<&HeaderMap>) -> usize {
    let lines = headers
        .iter()
        .flat_map(|headers| headers.iter())
        .flat_map(|(name, values)| values.iter().map(move |value| format!("{name}: {value}\r\n").len()));
    let lines: usize = lines.sum();
    if lines == 0 { 0 } else { "NATS/1.0\r\n\r\n".len() + lines }
}

/// Returns the subjects of messages, of which one answer has all.
fn subjects(copy: &Copy, query: &Value) -> Value {
    let filter = query["subjects_filter"].as_str().unwrap_or(">");
    let mut subjects = BTreeMap::<_, u64>::new();
    for (_, stored) in copy.from(filter, 0) {
        *subjects.entry(&stored.subject).or_default() += 1;
    }
    json!({ "state": { "subjects": subjects }, "total": subjects.len() })
}

/// Returns one message, as the leader has it.
fn get(copy: &Copy, query: &Value) -> Value {
    let place = query["seq"].as_u64().unwrap_or_default();
    let found = if let Some(subject) = query["last_by_subj"].as_str() {
        copy.last_of(subject)
    } else if let Some(subject) = query["next_by_subj"].as_str() {
        copy.from(subject, place).next()
    } else {
        copy.messages.get(&place).map(|stored| (place, stored))
    };
    let Some((place, stored)) = found else { return error(404, 10_037, "no message found") };
    let mut message = json!({ "subject": stored.subject, "seq": place });
    if !stored.payload.is_empty() {
        message["data"] = STANDARD.encode(&stored.payload).into();
    }
    json!({ "message": message })
}

/// Returns the answers to a read of several messages.
fn read(copy: &Copy, query: &Value, reply: &str) -> Vec<Message> {
    let status = |status: u16, description: &str, headers: Option<HeaderMap>| {
        let mut end = message(reply, "");
        end.status = Some(StatusCode::try_from(status).expect("a status"));
        end.description = Some(description.to_owned());
        end.headers = headers;
        end
    };
    let mut pending;
    let (mut limit, max_bytes) = (usize::MAX, query["max_bytes"].as_u64().unwrap_or(u64::MAX));
    let (found, up_to): (Vec<_>, _) = if let Some(subjects) = query["multi_last"].as_array() {
        let mut found: Vec<_> =
            subjects.iter().filter_map(|subject| copy.last_of(subject.as_str()?)).collect();
        found.sort_by_key(|(place, _)| *place);
        found.dedup_by_key(|(place, _)| *place);
        if found.len() > MAX_SUBJECTS {
            return vec![status(413, "Too Many Results", None)];
        }
        (found, Some(copy.last))
    } else {
        let subject = query["next_by_subj"].as_str().unwrap_or(">");
        let from = match query["start_time"].as_str() {
            Some(time) => copy.first_at(millis(time)),
            None => query["seq"].as_u64().unwrap_or_default(),
        };
        limit = usize::try_from(query["batch"].as_u64().unwrap_or(1)).unwrap_or(usize::MAX);
        (copy.from(subject, from).collect(), None)
    };
    if found.is_empty() {
        return vec![status(404, "No Results", None)];
    }
    pending = found.len() as u64;
    let (mut answers, mut last, mut bytes) = (Vec::new(), 0, 0);
    for (place, stored) in found.into_iter().take(limit) {
        pending -= 1;
        let mut answer = message(reply, stored.payload.clone());
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Subject", stored.subject.as_str());
        headers.insert("Nats-Sequence", place.to_string().as_str());
        headers.insert("Nats-Num-Pending", pending.to_string().as_str());
        headers.insert("Nats-Last-Sequence", last.to_string().as_str());
        headers.insert("Nats-Time-Stamp", rfc3339(stored.at).as_str());
        answer.headers = Some(headers);
        answers.push(answer);
        last = place;
        bytes += (stored.subject.len() + header_bytes(stored.headers.as_ref()) + stored.payload.len()) as u64;
        if bytes >= max_bytes {
            break;
        }
    }
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Num-Pending", pending.to_string().as_str());
    headers.insert("Nats-Last-Sequence", last.to_string().as_str());
    if let Some(up_to) = up_to {
        headers.insert("Nats-UpTo-Sequence", up_to.to_string().as_str());
    }
    answers.push(status(204, "EOB", Some(headers)));
    answers
}

/// Reads a time as the crate writes it, in milliseconds since the Unix epoch.
fn millis(time: &str) -> u64 {
    let part = |from: usize, to: usize| time[from..to].parse::<u64>().expect("a number");
    let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let of_month = |month: u64| match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let days: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let days = days + (1..month).map(of_month).sum::<u64>() + day - 1;
    ((days * 24 + part(11, 13)) * 60 + part(14, 16)) * 60_000 + part(17, 19) * 1_000 + part(20, 23)
}
