//! A client and a server, with all that happens between them drawn at random: what the consumer is given is the
//! room's log from where it joined, and each of its sends is in there once.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::{collection, sample};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::{Event, Joined};

/// No command times out here.
const FOREVER: Duration = Duration::from_secs(1_000_000);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The consumer writes.
    Send,
    /// Somebody else does.
    Write,
    /// The server reads so many commands.
    Serve(u8),
    /// The client reads so many events, replies first or messages first.
    Hear(u8, bool),
    /// The same while the consumer has no room for them.
    Miss(u8),
    /// The consumer has room again.
    CatchUp,
    Cut,
    Connect,
    /// The server loses its rooms, and all connections.
    Restart,
    /// The log gives up so many of its oldest messages.
    Forget(u8),
    /// The server tells its last message again.
    Repeat,
    /// It is too busy for the next return to the room.
    Refuse,
    /// Its log fails with the next message, which it has kept or has not.
    Fail(bool),
    /// A second goes by.
    Later,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Send),
        3 => Just(Step::Write),
        6 => (1..6_u8).prop_map(Step::Serve),
        6 => (1..6_u8, any::<bool>()).prop_map(|(n, replies)| Step::Hear(n, replies)),
        1 => (1..4_u8).prop_map(Step::Miss),
        2 => Just(Step::CatchUp),
        2 => Just(Step::Cut),
        4 => Just(Step::Connect),
        1 => Just(Step::Restart),
        1 => (1..4_u8).prop_map(Step::Forget),
        1 => Just(Step::Repeat),
        1 => Just(Step::Refuse),
        2 => any::<bool>().prop_map(Step::Fail),
        1 => Just(Step::Later),
    ]
}

proptest! {
    #[test]
    fn the_stream_is_the_log_and_each_send_is_in_it_once(
        from in sample::select(vec![JoinFrom::Now, JoinFrom::Last(0), JoinFrom::Last(3)]),
        before in 0..6_u8,
        steps in collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(&from, before);
        steps.into_iter().for_each(|step| world.handle(step));
        world.settle();
    }
}

/// One room, and the one connection to it.
#[derive(Default)]
struct Server {
    /// The keys of each epoch's messages, the last epoch being the present one.
    logs: Vec<Vec<String>>,
    /// The oldest message that can be read.
    first: u64,
    refuses: bool,
    fails: Option<bool>,
    /// The keys of the messages that it failed with.
    failed: HashSet<String>,
    commands: VecDeque<Utf8Bytes>,
    replies: VecDeque<String>,
    /// The last message delivered; none before `join`.
    cursor: Option<u64>,
    /// Where the client joined.
    base: u64,
    /// Keys that came on this connection.
    keys: HashSet<String>,
}

impl Server {
    fn log(&mut self) -> &mut Vec<String> {
        self.logs.last_mut().unwrap()
    }

    fn head(&self) -> u64 {
        self.logs.last().unwrap().len() as u64
    }

    fn epoch(&self) -> String {
        format!("e{}", self.logs.len())
    }

    fn restart(&mut self) {
        self.logs.push(Vec::new());
        self.first = 1;
    }

    fn disconnect(&mut self) {
        let Self { logs, first, refuses, fails, failed, .. } = std::mem::take(self);
        *self = Self { logs, first, refuses, fails, failed, ..Self::default() };
    }

    fn serve(&mut self) {
        let Some(command) = self.commands.pop_front() else { return };
        let command: Value = serde_json::from_str(&command).unwrap();
        let mut reply = match command["type"].as_str().unwrap() {
            "join" => self.join(&command),
            "send" => self.append(&command),
            other => panic!("{other}"),
        };
        reply["ref"] = command["ref"].clone();
        self.replies.push_back(reply.to_string());
    }

    fn join(&mut self, command: &Value) -> Value {
        let (head, oldest) = (self.head(), self.first - 1);
        let mut recovered = true;
        let cursor = if let Some(after) = command.get("after") {
            if std::mem::take(&mut self.refuses) {
                return json!({"type": "error", "code": "unavailable", "message": "", "retry_after_ms": 1_500});
            }
            let same = after["epoch"] == *self.epoch();
            let seq = if same { after["seq"].as_u64().unwrap() } else { 0 };
            assert!(seq <= head, "a place that the room never had");
            recovered = same && seq >= oldest;
            seq
        } else {
            assert!(self.cursor.is_none(), "joined anew");
            self.base =
                head - command.get("last").map_or(0, |last| last.as_u64().unwrap()).min(head - oldest);
            self.base
        };
        self.cursor = Some(cursor);
        json!({"type": "joined", "room": "lobby", "epoch": self.epoch(), "seq": head, "first": self.first,
               "recovered": recovered, "members": 1})
    }

    fn append(&mut self, command: &Value) -> Value {
        assert!(self.cursor.is_some(), "a send ahead of its room");
        let key = command["key"].as_str().unwrap().to_owned();
        assert!(self.keys.insert(key.clone()), "{key} came twice on one connection");
        let fails = self.fails.take();
        if fails.is_some() {
            self.keys.remove(&key);
            self.failed.insert(key.clone());
        }
        if fails == Some(false) {
            return json!({"type": "error", "room": "lobby", "code": "unavailable", "message": ""});
        }
        let before = self.log().iter().position(|stored| *stored == key);
        if before.is_none() {
            self.log().push(key);
        }
        if fails == Some(true) {
            return json!({"type": "error", "room": "lobby", "code": "unavailable", "message": ""});
        }
        let seq = before.map_or(self.head(), |place| place as u64 + 1);
        json!({"type": "sent", "room": "lobby", "seq": seq, "at": 1, "duplicate": before.is_some()})
    }

    /// The next event for the client, whose reply to `join` is ahead of what it brings.
    fn tell(&mut self, replies_first: bool) -> Option<String> {
        let joining = self.replies.iter().any(|reply| !reply.contains("\"sent\""));
        if replies_first || joining {
            self.replies.pop_front().or_else(|| self.deliver())
        } else {
            self.deliver().or_else(|| self.replies.pop_front())
        }
    }

    fn deliver(&mut self) -> Option<String> {
        let seq = self.cursor? + 1;
        if seq < self.first {
            self.cursor = Some(self.first - 1);
            let (epoch, to) = (self.epoch(), self.first - 1);
            return Some(
                json!({"type": "gap", "room": "lobby", "epoch": epoch, "from": seq, "to": to}).to_string(),
            );
        }
        let key = self.log().get(usize::try_from(seq).unwrap() - 1)?.clone();
        self.cursor = Some(seq);
        let user = json!({"id": "a", "name": "a"});
        let message = json!({"type": "message", "room": "lobby", "seq": seq, "user": user, "at": 1, "key": key,
                             "body": {"text": "hi"}});
        Some(message.to_string())
    }
}

type Answer = oneshot::Receiver<Result<Reply, Error>>;

struct World {
    server: Server,
    state: State,
    now: Instant,
    join: Answer,
    /// What the consumer was given last: the epoch and the `seq`. None before it has joined.
    place: Option<(String, u64)>,
    sends: Vec<(String, Answer)>,
    sent: u64,
    written: u64,
}

impl World {
    fn new(from: &JoinFrom, before: u8) -> Self {
        let mut server = Server::default();
        server.restart();
        let mut state = State::new(FOREVER, Arc::default(), || u64::MAX);
        let now = Instant::now();
        state.handle_connected(now);
        let join = ask(&mut state, now, Ask::Join(room(), from.clone()), Command::join(&room(), from));
        let mut world =
            Self { server, state, now, join, place: None, sends: Vec::new(), sent: 0, written: 0 };
        (0..before).for_each(|_| world.handle(Step::Write));
        world
    }

    fn handle(&mut self, step: Step) {
        match step {
            Step::Send if self.place.is_some() => {
                self.sent += 1;
                let key = format!("mine-{:04}", self.sent);
                let body: Box<RawValue> = serde_json::from_str(r#"{"text":"hi"}"#).unwrap();
                let lobby = room();
                let command = Command::send(&lobby, Some(&key), &body);
                let answer = ask(&mut self.state, self.now, Ask::Send(room()), command);
                self.sends.push((key, answer));
            }
            Step::Send => {}
            Step::Write => {
                self.written += 1;
                self.server.log().push(format!("other-{}", self.written));
            }
            Step::Serve(count) => {
                self.server.commands.extend(self.state.outbox.drain(..));
                (0..count).for_each(|_| self.server.serve());
            }
            Step::Hear(count, replies_first) => (0..count).for_each(|_| self.hear(replies_first, true)),
            Step::Miss(count) => (0..count).for_each(|_| self.hear(true, false)),
            Step::CatchUp if self.state.catch_up_due(self.now).is_some_and(|due| due <= self.now) => {
                self.state.catch_up(self.now);
            }
            Step::CatchUp => {}
            Step::Cut => self.cut(),
            Step::Connect if !self.state.up => self.state.handle_connected(self.now),
            Step::Connect => {}
            Step::Restart => {
                self.cut();
                self.server.restart();
            }
            Step::Forget(count) => {
                self.server.first = (self.server.first + u64::from(count)).min(self.server.head() + 1);
            }
            Step::Repeat => {
                let first = self.server.first;
                self.server.cursor = self.server.cursor.map(|seq| if seq < first { seq } else { seq - 1 });
            }
            Step::Refuse => self.server.refuses = true,
            Step::Fail(kept) => self.server.fails = Some(kept),
            Step::Later => {
                self.now += Duration::from_secs(1);
                if self.state.deadline().is_some_and(|due| due <= self.now) {
                    self.state.handle_time(self.now);
                }
            }
        }
    }

    fn cut(&mut self) {
        self.server.disconnect();
        if self.state.up {
            self.state.handle_lost();
        }
    }

    fn hear(&mut self, replies_first: bool, room: bool) {
        let Some(text) = self.server.tell(replies_first) else { return };
        let mut events = Vec::new();
        self.state.handle_text(&text, self.now, room, &mut events).unwrap();
        assert!(room || events.is_empty(), "{events:?}");
        if let Ok(answer) = self.join.try_recv() {
            let Ok(Reply::Joined(Joined { epoch, .. })) = answer else { panic!("{answer:?}") };
            self.place = Some((epoch.to_string(), self.server.base));
        }
        events.into_iter().for_each(|event| self.give(event));
        let log = self.server.logs.last().unwrap();
        self.sends.retain_mut(|(key, answer)| {
            let Ok(answer) = answer.try_recv() else { return true };
            let Ok(Reply::Sent(sent)) = answer else { panic!("{key}: {answer:?}") };
            assert_eq!(log[usize::try_from(sent.seq).unwrap() - 1], *key);
            false
        });
    }

    fn give(&mut self, event: Event) {
        let (epoch, seq) = self.place.as_mut().unwrap();
        match event {
            Event::Message(message) => {
                *seq += 1;
                assert_eq!((&*message.epoch, message.seq), (epoch.as_str(), *seq));
                let log = self.server.logs.last().unwrap();
                assert_eq!(message.key.as_ref(), log.get(usize::try_from(*seq).unwrap() - 1));
            }
            Event::Gap { epoch: its, from, to, .. } => {
                assert_eq!((&*its, from), (epoch.as_str(), *seq + 1));
                assert!(to < self.server.first, "{to} can be read");
                *seq = to;
            }
            Event::Resumed { epoch: its, recovered, .. } => {
                assert_eq!(*its, *self.server.epoch());
                if *its != **epoch {
                    assert!(!recovered);
                    (*epoch, *seq) = (its.to_string(), 0);
                } else {
                    assert!(recovered || *seq + 1 < self.server.first, "{seq} is where it goes on");
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Everything that is under way arrives.
    fn settle(&mut self) {
        self.handle(Step::Connect);
        // Some returns are refused once, and some holes asked about again.
        for _ in 0..5 {
            (0..3).for_each(|_| self.handle(Step::Later));
            self.handle(Step::CatchUp);
            while !self.state.outbox.is_empty() || !self.server.commands.is_empty() {
                self.handle(Step::Serve(1));
            }
            (0..300).for_each(|_| self.hear(false, true));
        }
        assert_eq!(self.place, Some((self.server.epoch(), self.server.head())));
        assert!(self.sends.is_empty() && self.state.waiting.is_empty(), "{:?}", self.state);
        for log in &self.server.logs {
            // One that failed may have been overtaken by those that were under way.
            let mine = log.iter().filter(|key| key.starts_with("mine") && !self.server.failed.contains(*key));
            let mine: Vec<_> = mine.collect();
            assert!(mine.is_sorted_by(|one, next| one < next), "{mine:?}");
        }
    }
}

fn room() -> RoomName {
    "lobby".parse().unwrap()
}

fn ask(state: &mut State, now: Instant, ask: Ask, command: Command<'_>) -> Answer {
    let reference = state.references.fetch_add(1, Ordering::Relaxed);
    let frame = command.with_ref(&reference.to_string()).encode();
    let (reply, answer) = oneshot::channel();
    state.handle_command(reference, Waiting::new(ask, frame.into(), Some(reply), now + FOREVER));
    answer
}
