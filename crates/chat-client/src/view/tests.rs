//! Random scripts of messages, changes, acts and markers: a client that follows a room, with cuts and gaps, has what a
//! new reader gets.
//!
//! `CHAT_SCRIPTS=<count>` sets the number of scripts.

mod fixed;

use chat_proto::{
    Act, Change, ChangedEntries, Event, Folded, Limits, Links, Log, Mentions, NewAct, NewChange, NewMessage,
    PresenceMode, Restrict, Restriction, Role, RoomRules, StoredMessage, User,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::value::RawValue;

use super::*;
use crate::{ReceivedAct, ReceivedChange, ReceivedPurge};

/// The default number of scripts.
const SCRIPTS: u32 = 300;

/// The number of entries that the log retains.
const RETAINED: usize = 12;

/// The number of messages in the view.
const CAPACITY: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A message of one of the users, perhaps in the thread of one of the newest entries.
    Post(bool, Option<u8>),
    /// A change of one of the newest entries, by one of the users.
    Change(u8, bool, Kind),
    /// All messages of one of the users are deleted.
    Purge(bool),
    /// An act of the host.
    Act(ActKind),
    /// The reader has read up to one of the newest entries, here or on another connection.
    Mark(u8, bool),
    /// The log begins another life.
    Renew,
    /// The client gets this many entries: as they were published, or as the log has them now.
    Follow(u8, bool),
    /// The connection is lost, and the client resumes.
    Resume,
    /// The connection is lost, and the client continues from now on.
    Continue,
    /// The client asks for what may be out of date. The server answers at once.
    Ask,
    /// The client gets the answer.
    Answer,
    /// Both, without anything between.
    Read,
}

#[derive(Clone, Copy, Debug)]
enum ActKind {
    /// With this title.
    Rules(u8),
    /// Of the reader or of the author.
    Role(bool, bool),
    Mute(bool, bool),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// With these mentions, or with those that the message has.
    Edit(Option<bool>),
    Delete,
    React(u8, bool),
    Pin(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        3 => any::<Option<bool>>().prop_map(Kind::Edit),
        1 => Just(Kind::Delete),
        3 => (0..2_u8, any::<bool>()).prop_map(|(name, on)| Kind::React(name, on)),
        1 => any::<bool>().prop_map(Kind::Pin),
    ];
    let act = prop_oneof![
        (0..3_u8).prop_map(ActKind::Rules),
        any::<(bool, bool)>().prop_map(|(reader, on)| ActKind::Role(reader, on)),
        any::<(bool, bool)>().prop_map(|(reader, on)| ActKind::Mute(reader, on)),
    ];
    prop_oneof![
        60 => (any::<bool>(), option::weighted(0.4, 0..8_u8)).prop_map(|(user, thread)| Step::Post(user, thread)),
        10 => act.prop_map(Step::Act),
        20 => (0..8_u8, any::<bool>()).prop_map(|(back, here)| Step::Mark(back, here)),
        10 => Just(Step::Resume),
        120 => (0..8_u8, any::<bool>(), kind).prop_map(|(back, user, kind)| Step::Change(back, user, kind)),
        8 => any::<bool>().prop_map(Step::Purge),
        1 => Just(Step::Renew),
        60 => (1..8_u8, any::<bool>()).prop_map(|(count, live)| Step::Follow(count, live)),
        4 => Just(Step::Continue),
        20 => Just(Step::Ask),
        20 => Just(Step::Answer),
        10 => Just(Step::Read),
    ]
}

#[test]
fn a_view_equals_what_a_new_reader_gets() {
    let scripts = std::env::var("CHAT_SCRIPTS").ok().and_then(|count| count.parse().ok());
    let config = Config { cases: scripts.unwrap_or(SCRIPTS), failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&(any::<bool>(), vec(step(), 0..120)), |(early, steps)| {
        let mut world = World::new();
        if early {
            world.take(Step::Post(true, None));
        }
        world.view = world.join();
        steps.into_iter().for_each(|step| world.take(step));
        world.take(Step::Follow(u8::MAX, false));
        world.take(Step::Read);
        let first = world.log.bounds().first;
        assert!(!world.view.needs_join());
        let bounds = world.log.bounds();
        let followed_pins: Vec<_> = world.view.pins().filter(|pin| *pin >= bounds.first).collect();
        let (fresh, view) = (world.joined(true), &world.view);
        prop_assert_eq!((view.role(), view.may(), followed_pins), (fresh.role, fresh.may, fresh.pins));
        prop_assert_eq!((view.title(), view.restricted()), (fresh.title.as_deref(), fresh.restricted));
        // The view does not know of unread messages that the log has removed.
        let read = fresh.unread.as_ref().map_or(0, |fresh| fresh.read);
        if read + 1 >= bounds.first {
            prop_assert_eq!(view.unread(), fresh.unread);
        }
        // No event says that the log has removed a message.
        let followed: Vec<_> = world.view.messages().filter(|held| held.seq >= first).map(state).collect();
        let fresh: Vec<_> = world.page(Range::newest(CAPACITY)).messages.iter().map(state).collect();
        prop_assert_eq!(followed, fresh);
        Ok(())
    });
    result.unwrap();
}

struct World {
    log: Log,
    lives: u32,
    /// The entries of this life of the log, as they were published.
    published: Vec<StoredMessage>,
    view: RoomView,
    /// The answers on their way to the client.
    asked: (Option<Joined>, Option<(Range, MessagePage)>),
    /// The last entry of the client.
    cursor: u64,
    time: u64,
}

impl World {
    fn new() -> Self {
        let log = new_log(1);
        let view = RoomView::new(&joined(&log, 0, true), &reader(), CAPACITY);
        Self { log, lives: 1, published: Vec::new(), view, asked: (None, None), cursor: 0, time: 0 }
    }

    /// Joins the room from now on.
    fn join(&mut self) -> RoomView {
        self.cursor = self.log.bounds().head;
        RoomView::new(&self.joined(true), &reader(), CAPACITY)
    }

    fn joined(&self, recovered: bool) -> Joined {
        joined(&self.log, self.time, recovered)
    }

    fn take(&mut self, step: Step) {
        self.time += 1;
        match step {
            Step::Post(is_author, thread) => {
                let head = self.log.bounds().head;
                let links = Links::default()
                    .with_thread(thread.map(|back| (head + 1).saturating_sub(back.into()).max(1)))
                    .with_mentions(self.time.is_multiple_of(3).then(|| Mentions::users(["2"])));
                let message =
                    NewMessage::new(user(is_author), body(self.time)).with_key(self.time.to_string());
                // Some threads do not exist.
                let Ok((_, stored)) = self.log.append(self.time, message.with_links(links)) else { return };
                self.published.extend(stored);
            }
            Step::Change(back, is_author, kind) => {
                let mentions = match kind {
                    Kind::Edit(Some(true)) => Some(Mentions::users(["1", "2"])),
                    Kind::Edit(Some(false)) => Some(Mentions::users([""; 0])),
                    _ => None,
                };
                let change = match kind {
                    Kind::Edit(_) => Change::Edit { body: body(self.time) },
                    Kind::Delete => Change::Delete { reason: Some(self.time.to_string()) },
                    Kind::React(name, on) => Change::React { reaction: name.to_string(), on },
                    Kind::Pin(on) => Change::Pin { on },
                };
                let target = self.log.bounds().head.saturating_sub(back.into());
                let change = NewChange::new(user(is_author), target, change);
                let change = change.with_role(Role::Moderator).with_mentions(mentions);
                let Ok((_, Some(changed))) = self.log.change(self.time, change) else { return };
                self.publish(changed);
            }
            Step::Purge(is_author) => {
                let act = NewAct::new(user(true), Act::Purge { user: user(is_author) }).by_host();
                let Ok((_, Some(purged))) = self.log.purge(self.time, act) else { return };
                self.publish(purged);
            }
            Step::Act(kind) => {
                let act = match kind {
                    ActKind::Rules(title) => {
                        Act::Create { rules: RoomRules::default().with_title(title.to_string()) }
                    }
                    ActKind::Role(is_author, on) => {
                        let role = if on { Role::Moderator } else { Role::Member };
                        Act::Role { user: user(is_author), role }
                    }
                    ActKind::Mute(is_author, on) => {
                        let restriction = on.then(|| Restriction::new(Restrict::Mute, None));
                        Act::Restrict { user: user(is_author), restriction, reason: None }
                    }
                };
                let act = NewAct::new(user(true), act).with_role(Role::Owner).by_host();
                let Ok((_, Some(stored))) = self.log.govern(self.time, act) else { return };
                self.published.push(stored);
            }
            Step::Mark(back, is_here) => {
                let seq = self.log.bounds().head.saturating_sub(back.into());
                let marked = self.log.mark(&reader().key(), seq).unwrap();
                if is_here {
                    self.view.handle_read(marked.seq);
                } else {
                    self.view.handle_event(&ClientEvent::Read { room: room(), seq: marked.seq });
                }
            }
            Step::Resume => {
                self.view.handle_event(&ClientEvent::Resumed(self.joined(true)));
            }
            Step::Renew => {
                self.lives += 1;
                self.log = new_log(self.lives);
                self.published.clear();
                self.cursor = 0;
                self.view.handle_event(&ClientEvent::Resumed(self.joined(false)));
            }
            Step::Follow(count, is_live) => {
                for _ in 0..count {
                    self.follow(is_live);
                }
            }
            Step::Continue => {
                self.cursor = self.log.bounds().head;
                self.view.handle_event(&ClientEvent::Resumed(self.joined(false)));
            }
            Step::Ask => {
                if self.asked.0.is_none() && self.view.needs_join() {
                    self.asked.0 = Some(self.joined(true));
                }
                if self.asked.1.is_none() {
                    self.asked.1 = self.view.to_read().map(|range| (range, self.page(range)));
                }
            }
            Step::Answer => {
                let (joined, page) = std::mem::take(&mut self.asked);
                if let Some(joined) = joined {
                    self.view.handle_joined(&joined);
                }
                if let Some((range, page)) = page {
                    self.view.handle_page(range, &page);
                }
            }
            Step::Read => {
                self.take(Step::Answer);
                self.take(Step::Ask);
                self.take(Step::Answer);
                assert!(self.view.to_read().is_none());
            }
        }
    }

    fn publish(&mut self, changed: ChangedEntries) {
        for erased in changed.erased {
            let index = usize::try_from(erased.seq).unwrap() - 1;
            self.published[index] = erased;
        }
        self.published.push(changed.entry);
    }

    /// Delivers the next entry, or a gap.
    fn follow(&mut self, is_live: bool) {
        let bounds = self.log.bounds();
        let epoch: Arc<str> = bounds.epoch.into();
        if !is_live && self.cursor + 1 < bounds.first {
            let (from, to) = (self.cursor + 1, bounds.first - 1);
            self.cursor = to;
            self.view.handle_event(&ClientEvent::Gap { room: room(), epoch, from, to });
            return;
        }
        let next = match usize::try_from(self.cursor).unwrap() {
            index if is_live => self.published.get(index).cloned(),
            _ => self.log.read(Range::entries(self.cursor, 1)).messages.pop(),
        };
        let Some(next) = next else { return };
        self.cursor += 1;
        assert_eq!(next.seq, self.cursor);
        let event = match next.event().unwrap() {
            event @ Event::Changed { .. } => {
                ClientEvent::Changed(ReceivedChange::from_wire(event, &epoch).unwrap())
            }
            event @ Event::Purged { .. } => {
                ClientEvent::Purged(ReceivedPurge::from_wire(event, &epoch).unwrap())
            }
            event @ (Event::Role { .. } | Event::Settings { .. }) => {
                ClientEvent::Act(ReceivedAct::from_wire(event, &epoch).unwrap())
            }
            event => ClientEvent::Message(ReceivedMessage::from_wire(event, &epoch).unwrap()),
        };
        self.view.handle_event(&event);
    }

    fn page(&self, range: Range) -> MessagePage {
        let page = self.log.read(range);
        let epoch: Arc<str> = page.epoch.into();
        let message = |stored: &StoredMessage| ReceivedMessage::from_wire(stored.event().unwrap(), &epoch);
        MessagePage {
            epoch: Arc::clone(&epoch),
            messages: page.messages.iter().map(|stored| message(stored).unwrap()).collect(),
            more: page.more,
        }
    }
}

type State = (u64, u64, u64, Option<String>, Option<String>, Option<Folded>, Option<Links>);

fn state(message: &ReceivedMessage) -> State {
    let body = message.body.as_ref().map(|body| body.get().to_owned());
    let (folded, links) = (message.folded.as_deref().cloned(), message.links.as_deref().cloned());
    (message.seq, message.rev(), message.at, message.key.clone(), body, folded, links)
}

fn new_log(life: u32) -> Log {
    let mut limits = Limits::default();
    limits.rooms.log_messages = RETAINED;
    Log::new(room(), format!("e{life}"), Arc::new(limits))
}

/// Returns the reply to a join of the reader.
fn joined(log: &Log, now: u64, recovered: bool) -> Joined {
    let bounds = log.bounds();
    let (rules, standing) = log.standing(&reader().key());
    Joined {
        room: room(),
        with: None,
        epoch: bounds.epoch.into(),
        seq: bounds.head,
        first: bounds.first,
        recovered,
        members: 1,
        presence: PresenceMode::Each,
        role: standing.role,
        may: rules.rights(&standing, now),
        pins: bounds.pins,
        unread: Some(log.unread(&reader().key(), bounds.head).count()),
        restricted: standing.restriction_at(now),
        title: rules.title,
    }
}

/// Returns the user of the view.
fn reader() -> User {
    user(false)
}

fn room() -> RoomName {
    "lobby".parse().unwrap()
}

fn user(is_author: bool) -> User {
    if is_author { User::new("1", "Ann").unwrap() } else { User::new("2", "Bob").unwrap() }
}

fn body(number: u64) -> Box<RawValue> {
    RawValue::from_string(format!(r#"{{"text":"{number}"}}"#)).unwrap()
}
