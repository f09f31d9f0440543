use std::sync::Arc;

use chat_proto::command::JoinFrom;
use chat_proto::{AppendReceipt, ChangeReceipt, Event, RoomName, StoredMessage};

use crate::{Joined, MembersPage, MessagePage, ReceivedMessage, RoomsPage, Violation};

/// The reply to a command.
#[derive(Debug)]
pub(crate) enum Reply {
    Joined(Joined),
    Left,
    Sent(AppendReceipt),
    Done(ChangeReceipt),
    Page(MessagePage),
    Members(MembersPage),
    Read(u64),
    Rooms(RoomsPage),
    Pong,
    Welcome,
}

/// The part of a command that its reply is checked against.
#[derive(Debug)]
pub(crate) enum Request {
    Join(RoomName, JoinFrom),
    /// A `join` with a user. Its reply names the room.
    JoinDirect(JoinFrom),
    Leave(RoomName),
    Send(RoomName),
    /// A change of a message, of the rules of a room, or of the standing of a user.
    Change(RoomName),
    Read(RoomName),
    Follow(RoomName),
    Rooms,
    History(RoomName),
    Search(RoomName),
    Members(RoomName),
    Ping,
    /// A `hello` of the client itself, which renews its credentials.
    Hello,
    /// A `join` of the client itself, which resumes a room at its cursor.
    Resume(RoomName),
    /// A `rooms` of the client itself, because activity may have been missed.
    MissedActivity,
}

impl Request {
    pub(crate) fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Join(room, _)
            | Self::Leave(room)
            | Self::Send(room)
            | Self::Change(room)
            | Self::Read(room)
            | Self::Follow(room)
            | Self::History(room)
            | Self::Search(room)
            | Self::Members(room)
            | Self::Resume(room) => Some(room),
            Self::JoinDirect(_) | Self::Rooms | Self::Ping | Self::Hello | Self::MissedActivity => None,
        }
    }

    /// Reads the reply. `epoch` is the epoch of the room before the reply.
    pub(crate) fn read(&self, event: Event, epoch: &Arc<str>) -> Result<Reply, Violation> {
        Ok(match (self, event) {
            (Self::Join(..) | Self::JoinDirect(_) | Self::Resume(_), event @ Event::Joined { .. }) => {
                Reply::Joined(Joined::from_wire(event).ok_or(Violation::UnexpectedReply)?)
            }
            (Self::Leave(_), Event::Left { .. }) => Reply::Left,
            (Self::Send(_), Event::Sent { seq, at, duplicate, .. }) => {
                let receipt = AppendReceipt::new(&**epoch, seq, at);
                Reply::Sent(if duplicate { receipt.repeated() } else { receipt })
            }
            (Self::Change(_) | Self::Follow(_), Event::Done { seq, duplicate, .. }) => {
                let receipt = match seq {
                    Some(seq) => ChangeReceipt::new(&**epoch, seq),
                    None => ChangeReceipt::unchanged(&**epoch),
                };
                Reply::Done(if duplicate { receipt.repeated() } else { receipt })
            }
            (Self::History(_), Event::History { epoch, messages, more, .. }) => {
                Reply::Page(page(&messages, more, &epoch.into())?)
            }
            (Self::Search(_), Event::Found { messages, more, .. }) => {
                Reply::Page(page(&messages, more, epoch)?)
            }
            (Self::Members(_), Event::Members { members, more, total, .. }) => {
                Reply::Members(MembersPage { members, more, total })
            }
            (Self::Read(_), Event::Read { seq, .. }) => Reply::Read(seq),
            (Self::Rooms | Self::MissedActivity, Event::Rooms { rooms, more, .. }) => {
                Reply::Rooms(RoomsPage { rooms, more })
            }
            (Self::Ping, Event::Pong { .. }) => Reply::Pong,
            (Self::Hello, Event::Welcome { .. }) => Reply::Welcome,
            _ => return Err(Violation::UnexpectedReply),
        })
    }
}

fn page(stored: &[StoredMessage], more: bool, epoch: &Arc<str>) -> Result<MessagePage, Violation> {
    let message = |stored: &StoredMessage| {
        ReceivedMessage::from_wire(stored.event()?, epoch).ok_or(Violation::UnexpectedReply)
    };
    let messages = stored.iter().map(message).collect::<Result<_, _>>()?;
    Ok(MessagePage { epoch: Arc::clone(epoch), messages, more })
}
