//! The lines that a user writes, and the commands that they stand for.

use std::collections::BTreeSet;
use std::time::Duration;

use chat_client::{
    Client, Error, JoinFrom, Joined, Links, Mentions, MessagePage, Range, ReceivedMessage, RoomName, Text,
    User,
};
use tokio::time::sleep;

use crate::screen::Screen;
use crate::text;

pub(crate) const HELP: &str = "\
text               send a message; @name mentions a user
/reply 3 text      answer message 3
/thread 3 text     write into the thread of message 3; without a text, read it
/edit 3 text       replace the text of message 3
/delete 3 reason   delete message 3; the reason is optional
/react 3 👍        react to message 3, or take the reaction back
/pin 3             pin message 3, or unpin it
/read              mark all messages as read
/list              show the newest messages again
/older             show older messages
/who               list the users in the room
/direct bob        talk with bob alone; bob is the id of a user, or the name of one who has written here
/room lobby        go to another room
/quit              leave

A guest may edit and delete only messages of the same connection.";

/// The messages of one page.
const PAGE: usize = 20;

/// The wait before a refresh that failed is repeated.
const REFRESH_WAIT: Duration = Duration::from_secs(1);

/// A line of the user.
pub(crate) enum Input {
    Ask(Ask),
    Go(Place),
    List,
    Help,
    Quit,
}

/// The room in which the user wants to be.
pub(crate) enum Place {
    Room(RoomName),
    /// The direct room with a user.
    Direct(User),
}

impl Place {
    pub(crate) async fn join(&self, client: &Client) -> Result<Joined, Error> {
        match self {
            Self::Room(room) => client.join(room, JoinFrom::Now).await,
            Self::Direct(user) => client.join_direct(user, JoinFrom::Now).await,
        }
    }
}

/// A command for the server.
pub(crate) enum Ask {
    Send(String, Links),
    Edit(u64, String, Option<u64>),
    Delete(u64, Option<String>),
    React(u64, String, bool),
    Pin(u64, bool),
    Thread(u64),
    Read(u64),
    Older(u64),
    Who,
    /// Joins again, because the screen does not know its rights any more.
    Join,
    /// Reads messages that may be out of date.
    Refresh(Range),
}

/// The result of a command.
pub(crate) enum Outcome {
    /// The change arrives as an event.
    Done,
    Thread(MessagePage),
    Read(u64),
    Older(MessagePage),
    Who(Vec<String>),
    Joined(Joined),
    Refreshed(Range, MessagePage),
    Failed(Error),
    /// A refresh that must be repeated.
    NotRefreshed,
}

impl Outcome {
    pub(crate) fn is_refreshed(&self) -> bool {
        matches!(self, Self::Joined(_) | Self::Refreshed(..) | Self::NotRefreshed)
    }
}

impl Input {
    pub(crate) fn read(line: &str, screen: &Screen) -> Result<Self, String> {
        let Some(command) = line.strip_prefix('/') else {
            return Ok(Self::Ask(Ask::Send(line.to_owned(), links(line, screen))));
        };
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        match name {
            "list" => return Ok(Self::List),
            "help" => return Ok(Self::Help),
            "quit" => return Ok(Self::Quit),
            "who" => return Ok(Self::Ask(Ask::Who)),
            "direct" => {
                let user = User::from_id(&screen.user_id(rest))
                    .map_err(|_| format!("name a user: /direct bob; {}", screen.next_line()))?;
                return Ok(Self::Go(Place::Direct(user)));
            }
            "room" => {
                let room = rest
                    .parse()
                    .map_err(|_| format!("name a room in lower case: /room lobby; {}", screen.next_line()))?;
                return Ok(Self::Go(Place::Room(room)));
            }
            "read" => return Ok(Self::Ask(Ask::Read(screen.newest()))),
            "older" => {
                return match screen.oldest() {
                    Some(seq) => Ok(Self::Ask(Ask::Older(seq))),
                    None => Err("no older messages".to_owned()),
                };
            }
            _ => {}
        }
        let (seq, text) = rest.split_once(' ').unwrap_or((rest, ""));
        if !["reply", "thread", "edit", "delete", "react", "pin"].contains(&name) {
            return Err("not a command: /help lists them".to_owned());
        }
        let number = seq;
        let Ok(seq) = number.parse() else {
            let number = text::clean(number);
            return Err(format!(
                "\"{number}\" is not the number of a message: write /{name} 3 for message 3"
            ));
        };
        let text = text.trim().to_owned();
        let held = screen.message(seq);
        let root = held.and_then(|message| message.links.as_ref()?.thread).unwrap_or(seq);
        Ok(Self::Ask(match (name, text.is_empty()) {
            ("reply", false) => Ask::Send(text.clone(), links(&text, screen).with_reply_to(seq)),
            ("thread", false) => Ask::Send(text.clone(), links(&text, screen).with_thread(root)),
            ("thread", true) => Ask::Thread(root),
            ("edit", false) => Ask::Edit(seq, text, held.map(ReceivedMessage::rev)),
            ("delete", is_silent) => Ask::Delete(seq, (!is_silent).then_some(text)),
            ("react", false) => {
                let on = !screen.has_reacted(seq, &text);
                Ask::React(seq, text, on)
            }
            ("pin", _) => Ask::Pin(seq, !screen.is_pinned(seq)),
            _ => return Err("a text is missing: /help shows the commands".to_owned()),
        }))
    }
}

/// Returns the mentions of the words that begin with `@`.
fn links(text: &str, screen: &Screen) -> Links {
    let names = text.split_whitespace().filter_map(|word| word.strip_prefix('@'));
    let names: BTreeSet<_> =
        names.map(|name| name.trim_end_matches(|c: char| c.is_ascii_punctuation())).collect();
    let mentions = if names.contains("room") {
        Mentions::Room
    } else {
        Mentions::users(names.into_iter().filter(|name| !name.is_empty()).map(|name| screen.user_id(name)))
    };
    Links::default().with_mentions(mentions)
}

impl Ask {
    pub(crate) async fn perform(self, client: &Client, room: &RoomName) -> Outcome {
        let is_refresh = matches!(self, Self::Join | Self::Refresh(_));
        match self.call(client, room).await {
            Ok(outcome) => outcome,
            Err(_) if is_refresh => {
                sleep(REFRESH_WAIT).await;
                Outcome::NotRefreshed
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    async fn call(self, client: &Client, room: &RoomName) -> Result<Outcome, Error> {
        match self {
            Self::Send(text, links) => drop(client.send_linked(room, &Text::new(text), links).await?),
            Self::Edit(seq, text, rev) => drop(client.edit(room, seq, &Text::new(text), rev).await?),
            Self::Delete(seq, reason) => drop(client.delete(room, seq, reason.as_deref()).await?),
            Self::React(seq, reaction, on) => drop(client.react(room, seq, &reaction, on).await?),
            Self::Pin(seq, on) => drop(client.pin(room, seq, on).await?),
            Self::Thread(root) => {
                return Ok(Outcome::Thread(client.thread(room, root, Range::newest(PAGE)).await?));
            }
            Self::Read(seq) => return Ok(Outcome::Read(client.read(room, seq).await?)),
            Self::Older(seq) => {
                return Ok(Outcome::Older(client.history(room, Range::before(seq, PAGE)).await?));
            }
            Self::Who => {
                let members = client.members(room).await?;
                return Ok(Outcome::Who(members.iter().map(|user| user.name().to_owned()).collect()));
            }
            Self::Join => return Ok(Outcome::Joined(client.join(room, JoinFrom::Now).await?)),
            Self::Refresh(range) => {
                return Ok(Outcome::Refreshed(range, client.history(room, range).await?));
            }
        }
        Ok(Outcome::Done)
    }
}
