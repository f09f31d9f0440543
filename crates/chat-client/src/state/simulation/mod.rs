//! A client and a server with random events between them. The consumer gets the room's log from the point at which it
//! joined, and each of its sends is in the log once. The messages that the consumer has followed are those of the log.

mod server;

use proptest::prelude::*;
use proptest::{collection, sample};
use serde_json::value::RawValue;

use server::{ACT, Server, UNKNOWN, is_unknown};

use super::*;
use crate::{ClientEvent, Joined, ReceivedAct, ReceivedChange, ReceivedMessage};

/// A command timeout that no command reaches.
const FOREVER: Duration = Duration::from_secs(1_000_000);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The consumer sends a message.
    Send,
    /// Another user sends a message.
    Write,
    /// The log gets an entry of a type that the client does not know.
    Unknown,
    /// Another user gets a role.
    Act,
    /// Another user edits one of the newest messages.
    Edit(u8),
    /// The server handles this many commands.
    Serve(u8),
    /// The client reads this many events, replies first or entries first.
    Receive(u8, bool),
    /// The client reads this many events while the consumer has no capacity.
    Miss(u8),
    /// The consumer has capacity again.
    CatchUp,
    Disconnect,
    Connect,
    /// The server loses its rooms and all connections.
    Restart,
    /// The log drops this many of its oldest entries.
    Trim(u8),
    /// The server delivers its last entry again.
    Repeat,
    /// The server refuses the next resume for now.
    Refuse,
    /// The log fails at the next message. The flag says whether the message was stored.
    Fail(bool),
    /// One second passes.
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Send),
        3 => Just(Step::Write),
        2 => Just(Step::Unknown),
        1 => Just(Step::Act),
        2 => (0..4_u8).prop_map(Step::Edit),
        6 => (1..6_u8).prop_map(Step::Serve),
        6 => (1..6_u8, any::<bool>()).prop_map(|(n, replies)| Step::Receive(n, replies)),
        1 => (1..4_u8).prop_map(Step::Miss),
        2 => Just(Step::CatchUp),
        2 => Just(Step::Disconnect),
        4 => Just(Step::Connect),
        1 => Just(Step::Restart),
        1 => (1..4_u8).prop_map(Step::Trim),
        1 => Just(Step::Repeat),
        1 => Just(Step::Refuse),
        2 => any::<bool>().prop_map(Step::Fail),
        1 => Just(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn the_consumer_gets_the_log_and_each_send_is_in_it_once(
        from in sample::select(vec![JoinFrom::Now, JoinFrom::Last(0), JoinFrom::Last(3)]),
        before in 0..6_u8,
        steps in collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(&from, before);
        steps.into_iter().for_each(|step| world.handle(step));
        world.settle();
    }
}

type Answer = oneshot::Receiver<Result<Reply, Error>>;

struct World {
    server: Server,
    state: State,
    now: Instant,
    join: Answer,
    /// The epoch and the `seq` of the last entry that the consumer got, or `None` before it has joined. Until the
    /// first entry, the newest one at the join.
    position: Option<(String, u64)>,
    has_started: bool,
    /// True if the log is another one than that of the join.
    is_renewed: bool,
    /// The messages that the consumer got, with the changes that it got.
    held: BTreeMap<u64, ReceivedMessage>,
    sends: Vec<(String, Answer)>,
    sent: u64,
    written: u64,
}

impl World {
    fn new(from: &JoinFrom, before: u8) -> Self {
        let mut server = Server::default();
        server.restart();
        let mut state = State::new(User::from_id("me").unwrap(), FOREVER, Arc::default(), || u64::MAX);
        let now = Instant::now();
        state.handle_connected(now);
        let command = Command::Join { room: room(), from: from.clone() };
        let join = ask(&mut state, now, Request::Join(room(), from.clone()), &command);
        let mut world = Self {
            server,
            state,
            now,
            join,
            position: None,
            has_started: false,
            is_renewed: false,
            held: BTreeMap::new(),
            sends: Vec::new(),
            sent: 0,
            written: 0,
        };
        (0..before).for_each(|_| world.handle(Step::Write));
        world
    }

    fn handle(&mut self, step: Step) {
        match step {
            Step::Send if self.position.is_some() => {
                self.sent += 1;
                let key = format!("mine-{:04}", self.sent);
                let body: Box<RawValue> = serde_json::from_str(r#"{"text":"hi"}"#).unwrap();
                let command = Command::Send { room: room(), key: Some(key.clone()), body, links: None };
                let answer = ask(&mut self.state, self.now, Request::Send(room()), &command);
                self.sends.push((key, answer));
            }
            Step::Send => {}
            Step::Write => {
                self.written += 1;
                self.server.log().push(format!("other-{}", self.written));
            }
            Step::Edit(choice) => {
                self.written += 1;
                self.server.edit(choice, self.written);
            }
            Step::Unknown => {
                self.written += 1;
                self.server.log().push(format!("{UNKNOWN}{}", self.written));
            }
            Step::Act => {
                self.written += 1;
                self.server.log().push(format!("{ACT}{}", self.written));
            }
            Step::Serve(count) => {
                self.server.commands.extend(self.state.outbox.drain(..));
                (0..count).for_each(|_| self.server.serve());
            }
            Step::Receive(count, replies_first) => (0..count).for_each(|_| self.receive(replies_first, true)),
            Step::Miss(count) => (0..count).for_each(|_| self.receive(true, false)),
            Step::CatchUp if self.state.catch_up_due(self.now).is_some_and(|due| due <= self.now) => {
                self.state.catch_up(self.now);
            }
            Step::CatchUp => {}
            Step::Disconnect => self.disconnect(),
            Step::Connect if !self.state.connected => self.state.handle_connected(self.now),
            Step::Connect => {}
            Step::Restart => {
                self.disconnect();
                self.server.restart();
            }
            Step::Trim(count) => {
                self.server.first = (self.server.first + u64::from(count)).min(self.server.head() + 1);
            }
            Step::Repeat => {
                // Before its first entry, a client cannot know an earlier one.
                let first = self.server.first.max(self.server.base + 1);
                self.server.cursor = self.server.cursor.map(|seq| if seq < first { seq } else { seq - 1 });
            }
            Step::Refuse => self.server.refuses = true,
            Step::Fail(kept) => self.server.fails = Some(kept),
            Step::Wait => {
                self.now += Duration::from_secs(1);
                if self.state.deadline().is_some_and(|due| due <= self.now) {
                    self.state.handle_time(self.now);
                }
            }
        }
    }

    fn disconnect(&mut self) {
        self.server.disconnect();
        if self.state.connected {
            self.state.handle_lost();
        }
    }

    fn receive(&mut self, replies_first: bool, has_capacity: bool) {
        let Some(text) = self.server.next_event(replies_first) else { return };
        let mut events = Vec::new();
        self.state.handle_text(&text, self.now, has_capacity, &mut events).unwrap();
        assert!(has_capacity || events.is_empty(), "{events:?}");
        if let Ok(answer) = self.join.try_recv() {
            let Ok(Reply::Joined(Joined { epoch, seq, .. })) = answer else { panic!("{answer:?}") };
            self.position = Some((epoch.to_string(), seq));
        }
        events.into_iter().for_each(|event| self.check(event));
        let log = self.server.logs.last().unwrap();
        self.sends.retain_mut(|(key, answer)| {
            let Ok(answer) = answer.try_recv() else { return true };
            let Ok(Reply::Sent(sent)) = answer else { panic!("{key}: {answer:?}") };
            assert_eq!(log[usize::try_from(sent.seq).unwrap() - 1], *key);
            false
        });
    }

    fn check(&mut self, event: ClientEvent) {
        let starts = !self.has_started;
        if let ClientEvent::Message(ReceivedMessage { seq, .. })
        | ClientEvent::Changed(ReceivedChange { seq, .. })
        | ClientEvent::Act(ReceivedAct { seq, .. })
        | ClientEvent::Gap { from: seq, .. } = &event
        {
            self.start();
            self.pass_unknown(*seq);
        }
        let (epoch, seq) = self.position.as_mut().unwrap();
        match event {
            ClientEvent::Message(message) => {
                *seq += 1;
                assert_eq!((&*message.epoch, message.seq), (epoch.as_str(), *seq));
                let log = self.server.logs.last().unwrap();
                assert_eq!(message.key.as_ref(), log.get(usize::try_from(*seq).unwrap() - 1));
                self.held.insert(*seq, message);
            }
            ClientEvent::Changed(changed) => {
                *seq += 1;
                assert_eq!((&*changed.epoch, changed.seq), (epoch.as_str(), *seq));
                if let Some(held) = self.held.get_mut(&changed.target) {
                    held.apply(&changed);
                }
            }
            ClientEvent::Act(act) => {
                *seq += 1;
                assert_eq!((&*act.epoch, act.seq), (epoch.as_str(), *seq));
            }
            ClientEvent::Gap { epoch: current, from, to, .. } => {
                assert_eq!((&*current, from), (epoch.as_str(), *seq + 1));
                // Of another log, the newest messages are enough.
                assert!(to < self.server.first || (starts && self.is_renewed), "{to} can be read");
                *seq = to;
                self.held.retain(|held, _| *held > to);
            }
            ClientEvent::Resumed(Joined { epoch: current, recovered, .. }) => {
                assert_eq!(*current, *self.server.epoch());
                if *current != **epoch {
                    assert!(!recovered);
                    (*epoch, *seq) = (current.to_string(), 0);
                    self.is_renewed = true;
                    self.held.clear();
                } else {
                    let after = if self.has_started { *seq } else { self.server.base.min(*seq) };
                    assert!(recovered || after + 1 < self.server.first, "the room continues at {after}");
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Handles the first entry of the consumer: one of the newest messages that it asked for, or the first one after
    /// its join.
    fn start(&mut self) {
        if !std::mem::replace(&mut self.has_started, true)
            && let Some((_, seq)) = &mut self.position
        {
            *seq = self.server.base.min(*seq);
        }
    }

    /// Advances the consumer's position over entries that the client does not know, up to `end` exclusive.
    fn pass_unknown(&mut self, end: u64) {
        let log = self.server.logs.last().unwrap();
        let (_, seq) = self.position.as_mut().unwrap();
        let next_is_unknown =
            |seq: u64| log.get(usize::try_from(seq).unwrap()).is_some_and(|key| is_unknown(key));
        while *seq + 1 < end && next_is_unknown(*seq) {
            *seq += 1;
        }
    }

    /// Delivers everything that is in flight.
    fn settle(&mut self) {
        self.handle(Step::Connect);
        // Some resumes are refused once, and some holes are asked for again.
        for _ in 0..5 {
            (0..3).for_each(|_| self.handle(Step::Wait));
            self.handle(Step::CatchUp);
            while !self.state.outbox.is_empty() || !self.server.commands.is_empty() {
                self.handle(Step::Serve(1));
            }
            (0..300).for_each(|_| self.receive(false, true));
        }
        assert_eq!(self.state.cursors[&room()].seq, self.server.head());
        self.start();
        self.pass_unknown(self.server.head() + 1);
        assert_eq!(self.position, Some((self.server.epoch(), self.server.head())));
        assert!(self.sends.is_empty() && self.state.pending() == 0, "{:?}", self.state);
        for (seq, held) in &self.held {
            let followed = (held.rev(), held.text().unwrap());
            assert_eq!(followed, self.server.fresh(*seq), "the message {seq}");
        }
        for log in &self.server.logs {
            // Messages that were in flight may have overtaken one that failed.
            let mine = log.iter().filter(|key| key.starts_with("mine") && !self.server.failed.contains(*key));
            let mine: Vec<_> = mine.collect();
            assert!(mine.is_sorted_by(|one, next| one < next), "{mine:?}");
        }
    }
}

fn room() -> RoomName {
    "lobby".parse().unwrap()
}

fn ask(state: &mut State, now: Instant, request: Request, command: &Command) -> Answer {
    let reference = state.references.fetch_add(1, Ordering::Relaxed);
    let frame = command.encode(Some(&reference.to_string()));
    let (reply, answer) = oneshot::channel();
    let pending = PendingCommand::new(request, frame.into(), Some(reply), now + FOREVER);
    state.handle_command(reference, pending);
    answer
}
