use chat_core::{ChangeEntry, ChangeKind, User};
use chat_proto::user_record;
use serde::{Deserialize, Serialize};

/// The content of the column `entry` of a change, which has a checksum.
#[derive(Serialize, Deserialize)]
pub(crate) struct ChangeRecord {
    at: u64,
    #[serde(with = "user_record")]
    by: User,
    target: u64,
    kind: ChangeKind,
}

impl ChangeRecord {
    pub(crate) fn encode(entry: &ChangeEntry) -> Vec<u8> {
        let ChangeEntry { at, by, target, kind, .. } = entry;
        let record = Self { at: *at, by: by.clone(), target: *target, kind: *kind };
        serde_json::to_vec(&record).expect("texts and numbers are always JSON")
    }

    /// Returns the entry at the position `seq`, or `None` if the text is not one.
    pub(crate) fn decode(seq: u64, text: &[u8]) -> Option<ChangeEntry> {
        let Self { at, by, target, kind } = serde_json::from_slice(text).ok()?;
        Some(ChangeEntry::new(seq, at, by, target, kind))
    }
}

/// The column `kind` of an act.
pub(crate) const ACT_KIND: i64 = 5;

/// The column `kind` of a purge, which is an act too.
pub(crate) const PURGE_KIND: i64 = 6;

/// Returns the column `kind` of a change.
pub(crate) fn kind_column(kind: ChangeKind) -> i64 {
    match kind {
        ChangeKind::Edited => 1,
        ChangeKind::Deleted => 2,
        ChangeKind::Reactions => 3,
        ChangeKind::Pinned => 4,
        _ => 0,
    }
}
