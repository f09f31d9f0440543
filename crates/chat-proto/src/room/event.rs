use bytes::Bytes;

/// One frame on its way from a room to a member.
#[derive(Clone, Debug)]
pub struct RoomEvent {
    /// The event as the text of a frame.
    pub frame: Bytes,
    /// True for an entry of the log, and for a `gap` that stands for entries. Such an event is dropped when the
    /// member starts to read from another position.
    pub is_entry: bool,
    /// The member that caused the event and does not get it.
    pub(super) except: Option<u64>,
}

impl RoomEvent {
    pub(super) fn entry(frame: Bytes) -> Self {
        Self { frame, is_entry: true, except: None }
    }

    pub(super) fn presence(frame: Bytes) -> Self {
        Self { frame, is_entry: false, except: None }
    }
}

impl AsRef<[u8]> for RoomEvent {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}
