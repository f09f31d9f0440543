use std::borrow::Cow;

use chat_core::{ChangeEntry, ChangeKind, User};
use serde::{Deserialize, Serialize};

/// The content of the column `entry` of a change, which has a checksum.
#[derive(Serialize, Deserialize)]
pub(crate) struct ChangeRecord<'a> {
    at: u64,
    #[serde(with = "user")]
    by: Cow<'a, User>,
    target: u64,
    kind: ChangeKind,
}

impl ChangeRecord<'_> {
    pub(crate) fn encode(entry: &ChangeEntry) -> Vec<u8> {
        let ChangeEntry { at, by, target, kind, .. } = entry;
        let record = ChangeRecord { at: *at, by: Cow::Borrowed(by), target: *target, kind: *kind };
        serde_json::to_vec(&record).expect("texts and numbers are always JSON")
    }

    /// Returns the entry at the position `seq`, or `None` if the text is not one.
    pub(crate) fn decode(seq: u64, text: &[u8]) -> Option<ChangeEntry> {
        let ChangeRecord { at, by, target, kind } = serde_json::from_slice(text).ok()?;
        Some(ChangeEntry::new(seq, at, by.into_owned(), target, kind))
    }
}

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

mod user {
    use std::borrow::Cow;

    use chat_core::User;
    use chat_proto::user_record;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(user: &Cow<'_, User>, serializer: S) -> Result<S::Ok, S::Error> {
        user_record::serialize(user, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cow<'static, User>, D::Error> {
        user_record::deserialize(deserializer).map(Cow::Owned)
    }
}
