//! The lines that a user sees.

use chat_client::{
    ClientEvent, Joined, MessagePage, PresenceState, ReceivedMessage, Right, RoomView, Unread, User,
};

use crate::commands::{self, Ask, Outcome};
use crate::text;

/// The number of messages that the screen keeps in their present state.
const CAPACITY: usize = 50;

pub(crate) struct Screen {
    view: RoomView,
    me: User,
    /// The oldest message that was shown, 0 if there are no older ones.
    oldest: u64,
    newest: u64,
}

impl Screen {
    pub(crate) fn new(joined: &Joined, me: &User) -> Self {
        println!("-- {} in {}, with {} here", text::clean(me.name()), joined.room, joined.members);
        if !joined.may.contains(Right::Send) {
            println!("-- you may not write here");
        }
        let view = RoomView::new(joined, me, CAPACITY);
        Self { view, me: me.clone(), oldest: u64::MAX, newest: joined.seq }
    }

    pub(crate) fn handle_event(&mut self, event: &ClientEvent) {
        let is_changed = self.view.handle_event(event);
        match event {
            ClientEvent::Message(message) => {
                self.newest = message.seq;
                self.oldest = self.oldest.min(message.seq);
                println!("{}{}", text::message(message), self.unread());
            }
            ClientEvent::Changed(changed) => {
                self.newest = changed.seq;
                let held = self.message(changed.target).map(text::message);
                let (by, held) =
                    (text::clean(changed.by.name()), held.unwrap_or(format!("[{}]", changed.target)));
                if let Some(verb) = text::change(&changed.what) {
                    println!("-- {by} {verb} {held}");
                }
            }
            ClientEvent::Act(act) => {
                self.newest = act.seq;
                println!("-- {}", text::act(act));
            }
            ClientEvent::Purged(purge) => {
                self.newest = purge.seq;
                let (by, user) = (text::clean(purge.by.name()), text::clean(purge.user.name()));
                println!("-- {by} deleted all messages of {user} from [{}] to [{}]", purge.from, purge.to);
            }
            ClientEvent::Presence { user, state, .. } => {
                let verb = if *state == PresenceState::Joined { "came" } else { "went" };
                println!("-- {} {verb}", text::clean(user.name()));
            }
            ClientEvent::Gap { from, to, .. } => println!("-- the entries {from} to {to} are missing"),
            ClientEvent::Disconnected { lost, retry_in } => {
                println!("-- disconnected: {lost}; the next attempt is in {:.1} s", retry_in.as_secs_f64());
            }
            ClientEvent::Resumed(joined) if joined.recovered => {
                println!("-- connected again{}", self.unread());
            }
            ClientEvent::Resumed(_) => println!("-- connected again, but not all messages are left"),
            ClientEvent::Read { seq, .. } if is_changed => {
                println!("-- read up to {seq} elsewhere{}", self.unread());
            }
            ClientEvent::Expelled { error, .. } => println!("-- the room refuses you: {}", error.message),
            ClientEvent::Error(error) => println!("-- {}", error.message),
            ClientEvent::Closed(reason) => println!("-- the end: {reason}"),
            _ => {}
        }
    }

    pub(crate) fn handle_outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Thread(page) => print(page.messages.iter(), "-- end of the thread"),
            Outcome::Read(seq) => {
                self.view.handle_read(*seq);
                println!("-- read up to {seq}{}", self.unread());
            }
            Outcome::Older(page) => {
                self.note_oldest(page);
                print(page.messages.iter(), "-- end of the older messages");
            }
            Outcome::Who(names) => {
                let names: Vec<_> = names.iter().map(|name| text::clean(name)).collect();
                println!("-- here: {}", names.join(", "));
            }
            Outcome::Joined(joined) => self.view.handle_joined(joined),
            Outcome::Refreshed(range, page) => {
                self.view.handle_page(*range, page);
                self.note_oldest(page);
                self.list();
            }
            Outcome::Failed(error) => println!("-- not possible: {}", commands::reason(error)),
            Outcome::Done | Outcome::NotRefreshed => {}
        }
    }

    /// Returns the command that brings the screen up to date.
    pub(crate) fn to_refresh(&self) -> Option<Ask> {
        self.view.to_read().map(Ask::Refresh).or_else(|| self.view.needs_join().then_some(Ask::Join))
    }

    /// Shows the messages in their present state.
    pub(crate) fn list(&self) {
        let pins: Vec<_> = self.view.pins().map(|pin| pin.to_string()).collect();
        let pins = if pins.is_empty() { String::new() } else { format!("; pinned: {}", pins.join(", ")) };
        print(self.view.messages(), &format!("-- up to date{pins}{}", self.unread()));
    }

    pub(crate) fn message(&self, seq: u64) -> Option<&ReceivedMessage> {
        self.view.messages().find(|message| message.seq == seq)
    }

    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Returns the oldest message that was shown, if there are older ones.
    pub(crate) fn oldest(&self) -> Option<u64> {
        Some(self.oldest).filter(|oldest| *oldest > 1)
    }

    pub(crate) fn is_pinned(&self, seq: u64) -> bool {
        self.view.pins().any(|pin| pin == seq)
    }

    pub(crate) fn has_reacted(&self, seq: u64, reaction: &str) -> bool {
        let folded = self.message(seq).and_then(|message| message.folded.as_ref());
        let mut reactions = folded.into_iter().flat_map(|folded| &folded.reactions);
        reactions.any(|held| held.reaction == reaction && held.users.contains(&self.me))
    }

    /// Returns the id of a user who has written, or the name itself.
    pub(crate) fn user_id(&self, name: &str) -> String {
        let mut users = self.view.messages().map(|message| &message.user);
        users.find(|user| user.name() == name).map_or(name, User::id).to_owned()
    }

    fn note_oldest(&mut self, page: &MessagePage) {
        let first = page.messages.first().map_or(self.oldest, |message| message.seq);
        self.oldest = if page.more { self.oldest.min(first) } else { 0 };
    }

    fn unread(&self) -> String {
        match self.view.unread() {
            Some(Unread { unread: 0, .. }) | None => String::new(),
            Some(Unread { unread, mentions: 0, .. }) => format!(" ({unread} unread)"),
            Some(Unread { unread, mentions, .. }) => format!(" ({unread} unread, {mentions} for you)"),
        }
    }
}

fn print<'m>(messages: impl Iterator<Item = &'m ReceivedMessage>, end: &str) {
    messages.for_each(|message| println!("{}", text::message(message)));
    println!("{end}");
}
