use std::io;

use chat_core::{MarkerError, ReadExportError, RoomName, Unavailable};

use crate::OpenError;
use crate::link::LinkError;

/// The reason why a stream was not exported, imported or checked. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The servers or the stream cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The servers have not answered a request, or have refused it.
    #[error("the servers cannot be used: {0}; try again")]
    Unavailable(#[from] Unavailable),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// The export cannot be read, or contradicts itself.
    #[error(transparent)]
    Export(#[from] ReadExportError),
    /// The room does not exist.
    #[error("no message was ever written to the room {0}")]
    NoRoom(RoomName),
    /// The room was written to whenever it was read.
    #[error("the room {0} is written to all the time: stop all servers of the chat first")]
    Busy(RoomName),
    /// The rules, a role or a restriction of the room is damaged. Without it, users would have rights.
    #[error("room {0}: its rules, a role or a restriction is damaged: restore a backup")]
    Damaged(RoomName),
    /// A purge of the room is not complete, and an export cannot have it.
    #[error(
        "room {0}: a purge is not complete: start a server of the chat, open any room, and wait a minute"
    )]
    Purging(RoomName),
    /// The newest record of a room is damaged.
    #[error("{0}: the end of a room is lost; restore a backup, or export the messages of single rooms")]
    Unreadable(String),
    /// The stream to import into has rooms.
    #[error("the stream {0} has rooms; choose another name, or remove the stream")]
    HasRooms(String),
    /// A stream has markers or followed rooms, perhaps of an earlier chat.
    #[error("the stream {0} has data of users; choose another name, or remove the stream")]
    HasUsers(String),
    /// Servers of the chat run, or another import does.
    #[error("servers of the chat or another import use the stream {0}; stop them first")]
    InUse(String),
}

impl From<LinkError> for MoveError {
    fn from(error: LinkError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<MarkerError> for MoveError {
    fn from(error: MarkerError) -> Self {
        match error {
            MarkerError::Unavailable(unavailable) => unavailable.into(),
            other => Self::Unavailable(Unavailable::new(other.to_string())),
        }
    }
}
