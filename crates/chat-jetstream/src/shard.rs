use std::collections::BTreeMap;

/// The largest number of streams of a chat. Each node asks the leader of each stream every 2 s.
pub(crate) const MAX_STREAMS: usize = 64;

/// The key of the metadata of a stream whose value says which one of the streams of its chat it is. A stream without
/// the key is the only one.
const KEY: &str = "chat-stream";

/// The digits of the token of a room that decide about its stream.
const DIGITS: usize = 8;

/// One of the streams in which a chat has its rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// The number of the stream, from 1.
    pub(crate) number: usize,
    /// The number of streams of the chat.
    pub(crate) count: usize,
}

impl Shard {
    /// The stream of a chat that has no other one.
    pub(crate) const ONLY: Self = Self { number: 1, count: 1 };

    /// Returns all streams of a chat that has this number of them.
    pub(crate) fn all(count: usize) -> impl Iterator<Item = Self> {
        (1..=count).map(move |number| Self { number, count })
    }

    /// Returns the name of the stream. The first one has the name of the chat, so it decides about the number for all
    /// nodes: it can be created once only.
    pub(crate) fn stream(self, chat: &str) -> String {
        if self.is_first() { chat.to_owned() } else { format!("{chat}-{}", self.number) }
    }

    pub(crate) fn is_first(self) -> bool {
        self.number == 1
    }

    /// Returns the entry for the metadata of the stream.
    pub(crate) fn entry(self) -> (String, String) {
        (KEY.to_owned(), format!("{}-of-{}", self.number, self.count))
    }

    /// Reads the metadata of a stream. Returns `None` for a value of another form.
    pub(crate) fn of(metadata: &BTreeMap<String, String>) -> Option<Self> {
        let Some(value) = metadata.get(KEY) else { return Some(Self::ONLY) };
        let (number, count) = value.split_once("-of-")?;
        Some(Self { number: number.parse().ok()?, count: count.parse().ok()? })
    }
}

/// Returns the index of the stream of a room, by the token of the room. It is the same on all nodes and for all time.
pub(crate) fn index_of(token: &str, count: usize) -> usize {
    let digits = token.get(..DIGITS).and_then(|digits| usize::from_str_radix(digits, 16).ok());
    digits.unwrap_or_default() % count
}

#[cfg(test)]
mod tests {
    use crate::life::token;

    use super::*;

    #[test]
    fn a_room_stays_in_its_stream_and_each_stream_has_its_share() {
        let names = (0..3_000).map(|number| format!("room-{number}").parse().unwrap());
        let mut rooms = [0; 3];
        names.for_each(|name| rooms[index_of(&token(&name), 3)] += 1);
        assert!(rooms.iter().all(|count| (900..1_100).contains(count)), "{rooms:?}");
        // The streams of rooms that are stored cannot change.
        for (name, index) in [("lobby", 50), ("hall", 46), ("attic", 31), ("로비", 49)] {
            assert_eq!(index_of(&token(&name.parse().unwrap()), 64), index, "{name}");
        }
    }

    #[test]
    fn the_metadata_of_a_stream_say_which_one_it_is() {
        let of = |value: &str| Shard::of(&BTreeMap::from([(KEY.to_owned(), value.to_owned())]));
        for shard in Shard::all(4) {
            assert_eq!(Shard::of(&BTreeMap::from([shard.entry()])), Some(shard));
        }
        assert_eq!(Shard::of(&BTreeMap::new()), Some(Shard::ONLY));
        assert!(["", "2", "2-of-", "-of-4", "two-of-4"].iter().all(|value| of(value).is_none()));
        let names: Vec<_> = Shard::all(3).map(|shard| shard.stream("chat")).collect();
        assert_eq!(names, ["chat", "chat-2", "chat-3"]);
    }
}
