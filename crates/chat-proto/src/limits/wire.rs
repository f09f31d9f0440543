use crate::is_printable;

/// Sizes of frames, messages and pages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireLimits {
    /// Bytes of one message on the wire, all fragments together. Default 16 KiB.
    pub max_frame_bytes: usize,
    /// Bytes of a standard body: its text, and the JSON beside it above 64 bytes. Default 4,096.
    pub max_body_bytes: usize,
    /// Bytes of a `ref`. Default 64.
    pub max_ref_bytes: usize,
    /// Bytes of an idempotency key. Default 64.
    pub max_key_bytes: usize,
    /// Bytes of a `query`. Default 256.
    pub max_query_bytes: usize,
    /// Bytes of a reaction. Default 64.
    pub max_reaction_bytes: usize,
    /// Bytes of the reason of a deletion or a restriction. Default 256.
    pub max_reason_bytes: usize,
    /// Bytes of the title of a room. Default 128.
    pub max_title_bytes: usize,
    /// Users that one message may mention. Default 50.
    pub max_mentions: usize,
    /// Messages that one `history` may name. Default 100.
    pub max_seqs: usize,
    /// Messages in a `history` without `limit`, and after a resume with a gap. Default 50.
    pub default_page_messages: usize,
    /// Messages in one `history`. Default 200.
    pub max_page_messages: usize,
    /// Users in a `members` without `limit`. Default 100.
    pub default_page_members: usize,
    /// Users in one `members`. Default 1,000.
    pub max_page_members: usize,
    /// Rooms in a `rooms` without `limit`. Default 50.
    pub default_page_rooms: usize,
    /// Rooms in one `rooms`. Default 100.
    pub max_page_rooms: usize,
    /// Messages in a `found` without `limit`. Default 20.
    pub default_search_messages: usize,
    /// Messages in one `found`. Default 100.
    pub max_search_messages: usize,
    /// Bytes of messages in one `history`, one `found` or one batch to a connection. A single message may be
    /// longer. Default 64 KiB.
    pub max_batch_bytes: usize,
}

impl WireLimits {
    /// Returns true if a text can be an idempotency key: it is not empty, not longer than
    /// [`max_key_bytes`](Self::max_key_bytes), and [printable](crate::is_printable).
    pub fn allows_key(&self, key: &str) -> bool {
        (1..=self.max_key_bytes).contains(&key.len()) && is_printable(key)
    }
}

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            max_frame_bytes: 16 * 1024,
            max_body_bytes: 4_096,
            max_ref_bytes: 64,
            max_key_bytes: 64,
            max_query_bytes: 256,
            max_reaction_bytes: 64,
            max_reason_bytes: 256,
            max_title_bytes: 128,
            max_mentions: 50,
            max_seqs: 100,
            default_page_messages: 50,
            max_page_messages: 200,
            default_page_members: 100,
            max_page_members: 1_000,
            default_page_rooms: 50,
            max_page_rooms: 100,
            default_search_messages: 20,
            max_search_messages: 100,
            max_batch_bytes: 64 * 1024,
        }
    }
}
