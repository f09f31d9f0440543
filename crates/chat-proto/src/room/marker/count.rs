use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::Unread;
use crate::{StoredMessage, UserKey};

/// The mention of all members of a room.
const EVERYBODY: &str = "@room";

/// A count of the messages that a user has not read. It looks at the messages after the user's marker, newest first.
///
/// Messages of the user and deleted messages do not count. A number below [`MAX`](Self::MAX) is exact. The count ends
/// at that number, and after [`MAX_MESSAGES`](Self::MAX_MESSAGES) messages. If there are more, the number is `MAX` too:
/// so the cost of a count does not depend on the log, and a number that is too low hides no message.
///
/// ```
/// use chat_proto::{NewMessage, UnreadCount, User};
/// use serde_json::value::RawValue;
///
/// let (ann, bob) = (User::new("1", "Ann")?, User::new("2", "Bob")?);
/// let body = RawValue::from_string(r#"{"text":"hi"}"#.to_owned())?;
/// let stored = NewMessage::new(ann.clone(), body).into_stored("lobby".parse()?, 7, 1_700_000_000_000);
///
/// let (ann, bob) = (ann.key(), bob.key());
/// let (mut of_ann, mut of_bob) = (UnreadCount::new(&ann), UnreadCount::new(&bob));
/// of_ann.look(&stored, Some(false));
/// of_bob.look(&stored, Some(false));
/// assert_eq!((of_ann.unread(), of_bob.unread()), (0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UnreadCount<'u> {
    user: &'u UserKey,
    looked: usize,
    unread: u64,
    mentions: u64,
}

/// The fields of a message that decide if it is unread.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    user: Author<'a>,
    deleted: Option<IgnoredAny>,
    #[serde(borrow)]
    mentions: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Author<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl<'u> UnreadCount<'u> {
    /// The largest number of unread messages. It stands for each larger number.
    pub const MAX: u64 = 100;

    /// The largest number of messages that one count looks at.
    pub const MAX_MESSAGES: usize = 1_000;

    /// Returns a count for a user that has looked at no message.
    pub fn new(user: &'u UserKey) -> Self {
        Self { user, looked: 0, unread: 0, mentions: 0 }
    }

    /// Looks at the next older message. `is_guest` is true if its author is a guest, and `None` if the log does not
    /// know that. Returns false if the count has ended.
    pub fn look(&mut self, stored: &StoredMessage, is_guest: Option<bool>) -> bool {
        if self.looked >= Self::MAX_MESSAGES {
            self.unread = Self::MAX;
            return false;
        }
        self.looked += 1;
        // A frame that is not an event is shown to nobody.
        if let Ok(fields) = serde_json::from_slice::<Fields<'_>>(&stored.frame)
            && self.is_unread(&fields, is_guest)
        {
            self.unread += 1;
            self.mentions += u64::from(fields.mentions.is_some_and(|mentions| self.is_mentioned(mentions)));
        }
        self.unread < Self::MAX
    }

    /// Returns the number of unread messages among those that were looked at.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// Returns the number of the unread messages that mention the user.
    pub fn mentions(&self) -> u64 {
        self.mentions
    }

    fn is_unread(&self, fields: &Fields<'_>, is_guest: Option<bool>) -> bool {
        let is_own =
            fields.user.id == self.user.id() && is_guest.is_none_or(|guest| guest == self.user.is_guest());
        fields.kind == "message" && fields.deleted.is_none() && !is_own
    }

    /// Returns true if `mentions`, a list of user ids or the text `@room`, names the user.
    fn is_mentioned(&self, mentions: &RawValue) -> bool {
        let text = mentions.get();
        if text.starts_with('[') {
            let ids: Result<Vec<Cow<'_, str>>, _> = serde_json::from_str(text);
            return ids.is_ok_and(|ids| ids.iter().any(|id| id == self.user.id()));
        }
        serde_json::from_str::<Cow<'_, str>>(text).is_ok_and(|text| text == EVERYBODY)
    }
}

/// The messages after the marker of a user, in which the unread ones are not counted yet. They are shared with the log,
/// so that a count, which reads each of them, needs no access to the log.
#[derive(Debug)]
pub struct Uncounted {
    marker: Unread,
    user: UserKey,
    /// The messages, newest first, with true for those of guests.
    messages: Vec<(StoredMessage, bool)>,
}

impl Uncounted {
    /// Takes the messages after a marker, newest first, with true for those of guests: no more than a count looks at.
    pub(in crate::room) fn new(
        marker: Unread,
        user: UserKey,
        messages: impl Iterator<Item = (StoredMessage, bool)>,
    ) -> Self {
        // One more shows that there are more.
        Self { marker, user, messages: messages.take(UnreadCount::MAX_MESSAGES + 1).collect() }
    }

    /// Counts the unread messages.
    pub fn count(self) -> Unread {
        let Self { marker, user, messages } = self;
        let mut count = UnreadCount::new(&user);
        let _ended = messages.iter().all(|(stored, is_guest)| count.look(stored, Some(*is_guest)));
        marker.with_count(&count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, more: &str) -> StoredMessage {
        let frame = format!(
            r#"{{"type":"message","seq":7,"user":{{"id":"{id}","name":"N"}},"at":1{more},"body":{{}}}}"#
        );
        StoredMessage::new(7, frame)
    }

    /// The numbers of unread messages and of mentions of `ann` among these messages of other users and of guests.
    fn count(messages: impl IntoIterator<Item = StoredMessage>) -> (u64, u64) {
        let ann = UserKey::new("ann");
        let mut count = UnreadCount::new(&ann);
        let _ended = messages.into_iter().all(|stored| count.look(&stored, Some(false)));
        (count.unread(), count.mentions())
    }

    #[test]
    fn own_and_deleted_messages_do_not_count() {
        let deleted = r#","deleted":{"at":2,"by":{"id":"bob","name":"B"}}"#;
        assert_eq!(count([message("bob", ""), message("ann", ""), message("bob", deleted)]), (1, 0));
        let changed = StoredMessage::new(8, r#"{"type":"changed","user":{"id":"bob","name":"B"}}"#);
        assert_eq!(count([changed, StoredMessage::new(9, "damaged")]), (0, 0));
    }

    #[test]
    fn a_guest_with_the_id_of_a_user_is_another_user() {
        let (user, guest) = (UserKey::new("ann"), UserKey::guest("ann").expect("a name"));
        for (reader, is_guest, unread) in [
            (&user, Some(true), 1),
            (&user, Some(false), 0),
            (&guest, Some(false), 1),
            (&guest, Some(true), 0),
            (&user, None, 0),
        ] {
            let mut count = UnreadCount::new(reader);
            count.look(&message("ann", ""), is_guest);
            assert_eq!(count.unread(), unread, "{reader:?} {is_guest:?}");
        }
    }

    #[test]
    fn a_mention_names_the_user_or_the_room() {
        let with = |mentions: &str| count([message("bob", &format!(r#","mentions":{mentions}"#))]);
        for mentions in [r#"["ann"]"#, r#"["bob","\u0061nn"]"#, r#""@room""#] {
            assert_eq!(with(mentions), (1, 1), "{mentions}");
        }
        for mentions in ["[]", r#"["bob"]"#, r#""ann""#, r#"["@room"]"#, "7", "{}", "null"] {
            assert_eq!(with(mentions), (1, 0), "{mentions}");
        }
        assert_eq!(count([message("ann", r#","mentions":"@room""#)]), (0, 0), "the user's own");
    }

    #[test]
    fn a_number_below_the_maximum_is_exact() {
        for (messages, unread) in [(99, 99), (100, 100), (101, 100), (5_000, 100)] {
            assert_eq!(count((0..messages).map(|_| message("bob", ""))).0, unread);
        }
        let own = |count: usize| (0..count).map(|_| message("ann", ""));
        assert_eq!(count(own(999).chain([message("bob", "")])).0, 1);
        assert_eq!(count(own(1_000)).0, 0);
        assert_eq!(count(own(1_001)).0, 100, "an older message may be unread");
    }

    #[test]
    fn few_messages_are_taken_from_a_log_and_none_is_copied() {
        let stored = message("ann", "");
        let taken = |messages: usize| {
            let messages = std::iter::repeat_n((stored.clone(), false), messages);
            Uncounted::new(Unread::new("e", 7, 3), UserKey::new("ann"), messages)
        };
        let uncounted = taken(10_000);
        assert_eq!(uncounted.messages.len(), 1_001);
        assert!(uncounted.messages.iter().all(|(taken, _)| taken.frame.as_ptr() == stored.frame.as_ptr()));
        assert_eq!(uncounted.count().unread, 100, "an older message may be unread");
        let counted = taken(1_000).count();
        assert_eq!((counted.head, counted.read, counted.unread), (7, 3, 0));
    }

    #[test]
    fn a_count_looks_at_few_messages() {
        let looked = |id: &str| {
            let ann = UserKey::new("ann");
            let mut count = UnreadCount::new(&ann);
            (0..10_000).take_while(|_| count.look(&message(id, ""), Some(false))).count()
        };
        assert_eq!((looked("bob"), looked("ann")), (99, 1_000));
    }
}
