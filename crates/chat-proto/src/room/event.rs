use bytes::Bytes;

use super::Member;
use crate::UserKey;

/// One frame on its way from a room to a member.
#[derive(Clone, Debug)]
pub struct RoomEvent {
    /// The event as the text of a frame.
    pub frame: Bytes,
    /// True for an entry of the log, and for a `gap` that stands for entries. Such an event is dropped when the
    /// member starts to read from another position.
    pub is_entry: bool,
    pub(super) audience: Audience,
}

/// The members that get an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    All,
    /// All but the connection that caused the event.
    AllBut(u64),
    /// All but the connections of the user who caused the event.
    Others(UserKey),
}

impl RoomEvent {
    pub(super) fn entry(frame: Bytes) -> Self {
        Self { frame, is_entry: true, audience: Audience::All }
    }

    pub(super) fn presence(frame: Bytes) -> Self {
        Self::notice(frame, Audience::All)
    }

    pub(super) fn notice(frame: Bytes, audience: Audience) -> Self {
        Self { frame, is_entry: false, audience }
    }

    /// Returns true if a member gets the event.
    pub(super) fn is_for(&self, member: &Member) -> bool {
        self.audience.includes(member)
    }
}

impl Audience {
    pub(super) fn includes(&self, member: &Member) -> bool {
        match self {
            Self::All => true,
            Self::AllBut(id) => *id != member.id,
            Self::Others(user) => member.user.as_ref().is_none_or(|member| member.key() != *user),
        }
    }
}

impl AsRef<[u8]> for RoomEvent {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}
