//! The lines that a user sees.

use chat_client::{
    ClientEvent, Joined, MessagePage, PresenceState, ReceivedMessage, Right, RoomName, RoomView, Unread, User,
};

use crate::commands::{Ask, Outcome};
use crate::{advice, text};

/// The number of messages that the screen keeps in their present state.
const CAPACITY: usize = 50;

/// The number of unread messages that stands for each larger number.
const MANY: u64 = 100;

pub(crate) struct Screen {
    room: RoomName,
    /// The room in words.
    place: String,
    view: RoomView,
    me: User,
    /// The oldest message that was shown, 0 if there are no older ones.
    oldest: u64,
    newest: u64,
}

impl Screen {
    pub(crate) fn new(joined: &Joined, me: &User) -> Self {
        let place = text::place(joined);
        println!("-- {} in {place}, with {} here", text::clean(me.name()), joined.members);
        match &joined.restricted {
            Some(restriction) => println!("-- you are muted{}", text::until(restriction)),
            None if !joined.may.contains(Right::Send) => println!("-- you may not write here"),
            None => {}
        }
        let view = RoomView::new(joined, me, CAPACITY);
        Self { room: joined.room.clone(), place, view, me: me.clone(), oldest: u64::MAX, newest: joined.seq }
    }

    pub(crate) fn room(&self) -> &RoomName {
        &self.room
    }

    /// Returns the room of the next line in words, for a user who has not come into another one.
    pub(crate) fn next_line(&self) -> String {
        format!("the next line goes to {}", self.place)
    }

    pub(crate) fn handle_event(&mut self, event: &ClientEvent) {
        if room_of(event).is_some_and(|room| *room != self.room) {
            return;
        }
        let is_changed = self.view.handle_event(event);
        match event {
            ClientEvent::Message(message) => {
                self.newest = message.seq;
                self.oldest = self.oldest.min(message.seq);
                println!("{}{}", text::message(message), text::mention(message, &self.me));
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
            ClientEvent::ReconnectFailed { error, retry_in } => {
                let (reason, wait) = (advice::reason(error), retry_in.as_secs_f64());
                println!("-- no connection: {reason}; the next attempt is in {wait:.1} s");
            }
            ClientEvent::Resumed(joined) if joined.recovered => println!("-- connected again"),
            ClientEvent::Resumed(_) => println!("-- connected again, but not all messages are left"),
            ClientEvent::Read { seq, .. } if is_changed => {
                println!("-- read up to {seq} elsewhere{}", self.unread());
            }
            ClientEvent::Activity { with: Some(with), unread: 1.., .. } => {
                let (name, id) = (text::clean(with.name()), text::clean(with.id()));
                println!("-- {name} has written to you alone: /direct {id}");
            }
            ClientEvent::Expelled { error, .. } => println!("-- the room refuses you: {}", error.message),
            ClientEvent::Error(error) => println!("-- {}", error.message),
            ClientEvent::Closed(reason) => println!("-- the end: {}", advice::ended(reason)),
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
                let end = if page.more { "-- /older shows more" } else { "-- end of the older messages" };
                print(page.messages.iter(), end);
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
            Outcome::Failed(error) => println!("-- not possible: {}", advice::command(error)),
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
        self.oldest = if page.more { first } else { 0 };
    }

    /// Returns the number of unread messages that are older than those of the screen, until `/older` has shown all.
    fn unread(&self) -> String {
        let Some(Unread { unread, read, .. }) = self.view.unread() else { return String::new() };
        if self.oldest <= read + 1 {
            return String::new();
        }
        let is_unread = |message: &&ReceivedMessage| {
            message.seq > read && !message.is_deleted() && message.user.id() != self.me.id()
        };
        let older = unread.saturating_sub(self.view.messages().filter(is_unread).count() as u64);
        match older {
            0 => String::new(),
            _ if unread == MANY => format!(" (at least {older} older ones are unread: /older)"),
            1 => " (1 older one is unread: /older)".to_owned(),
            _ => format!(" ({older} older ones are unread: /older)"),
        }
    }
}

/// Returns the room of an event. The activity of another room is for each screen.
fn room_of(event: &ClientEvent) -> Option<&RoomName> {
    match event {
        ClientEvent::Message(message) => Some(&message.room),
        ClientEvent::Changed(changed) => Some(&changed.room),
        ClientEvent::Purged(purge) => Some(&purge.room),
        ClientEvent::Act(act) => Some(&act.room),
        ClientEvent::Resumed(joined) => Some(&joined.room),
        ClientEvent::Presence { room, .. }
        | ClientEvent::Gap { room, .. }
        | ClientEvent::Read { room, .. }
        | ClientEvent::Expelled { room, .. } => Some(room),
        _ => None,
    }
}

fn print<'m>(messages: impl Iterator<Item = &'m ReceivedMessage>, end: &str) {
    messages.for_each(|message| println!("{}", text::message(message)));
    println!("{end}");
}
