use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chat_core::RoomName;
use serde_json::{Map, json};
use sha1::{Digest, Sha1};

use crate::link::{StreamConfig, StreamInfo};
use crate::shard::Shard;

/// The key of the metadata whose value is a random number of the stream. A stream that is made again has another one.
const LIFE: &str = "chat-life";

/// The key of the metadata whose value is part of each epoch: a number that grows, and a random one. It changes when
/// the stream has lost its end.
const EPOCH: &str = "chat-epoch";

/// The key of the metadata with the version of the format, and that version.
const FORMAT: (&str, &str) = ("chat-format", "4");

/// The version of the format of a stream that an import fills. No node uses it.
const IMPORT: &str = "import";

/// The setting of a stream that takes several messages together or none of them.
const ATOMIC: &str = "allow_atomic";

/// A life of the stream: the time in which no place is given out twice.
///
/// The random number of the stream is part of each subject. So a record that was meant for a stream which is lost is
/// not stored in its successor.
#[derive(Debug)]
pub(crate) struct Life {
    stream: String,
    life: String,
    epoch: String,
    /// The number of times that the stream has lost its end.
    renewals: u64,
    /// The highest such number that this node knows of.
    highest_renewals: AtomicU64,
    /// The place up to which this node has heard of all messages.
    heard: AtomicU64,
    /// The highest place that this node knows of.
    highest: AtomicU64,
    is_lost: AtomicBool,
}

/// The subject of a message of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// A record of a room.
    Record { room: &'a str },
    /// The state of a message of a room.
    State { room: &'a str, seq: u64 },
    /// The copy of a record, which replaces it.
    Copy { room: &'a str },
    /// A message that no room hears of.
    Other,
}

impl Life {
    /// Returns the life that a stream has now, or `None` if it is not a stream of this crate.
    pub(crate) fn of(info: &StreamInfo) -> Option<Self> {
        let StreamConfig { name, subjects, metadata, .. } = &info.config;
        let value = |key| metadata.get(key).filter(|value| is_token(value)).cloned();
        let epoch = value(EPOCH)?;
        let life = Self {
            stream: name.clone(),
            life: value(LIFE)?,
            // An operator who has restored a backup sets any text.
            renewals: renewals(&epoch),
            highest_renewals: AtomicU64::new(renewals(&epoch)),
            epoch,
            heard: AtomicU64::new(info.state.last_seq),
            highest: AtomicU64::new(info.state.last_seq),
            is_lost: AtomicBool::new(false),
        };
        // A server that does not know the setting drops it, and stores the parts of a batch one by one.
        let is_atomic = info.config.others.get(ATOMIC).is_some_and(|on| *on == true);
        let is_known = is_atomic
            && value(FORMAT.0)? == FORMAT.1
            && life.subjects().iter().all(|own| subjects.contains(own));
        is_known.then_some(life)
    }

    /// Returns the life of a stream that an import fills, or `None` if the stream is another one.
    pub(crate) fn of_import(info: &StreamInfo) -> Option<Self> {
        if !is_import(&info.config) {
            return None;
        }
        Self::of(&StreamInfo { config: without_import(info.config.clone()), ..info.clone() })
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let [stream, life, epoch] = ["chat", "a", "b"].map(ToOwned::to_owned);
        let (renewals, highest_renewals, heard, highest, is_lost) = Default::default();
        Self { stream, life, epoch, renewals, highest_renewals, heard, highest, is_lost }
    }

    fn subjects(&self) -> [String; 6] {
        [
            self.subject("*"),
            self.state_subject("*", "*"),
            self.copy_subject("*", "*"),
            self.block_subject("*", "*", "*"),
            self.rules_subject("*", "*"),
            self.probe(),
        ]
    }

    /// Returns the subject of a room's records. A room's token is a hash: no text of a user is in a subject.
    pub(crate) fn subject(&self, token: &str) -> String {
        self.of_life(&format!("m.{token}"))
    }

    /// Returns the subject of the states of a message.
    pub(crate) fn state_subject(&self, token: &str, seq: impl Display) -> String {
        self.of_life(&format!("s.{token}.{seq}"))
    }

    /// Returns the subject of the copies of a record. `first` is its first position.
    pub(crate) fn copy_subject(&self, token: &str, first: impl Display) -> String {
        self.of_life(&format!("r.{token}.{first}"))
    }

    /// Returns the subject of a part of the thread that begins with the message `root`.
    pub(crate) fn block_subject(&self, token: &str, root: impl Display, number: impl Display) -> String {
        self.of_life(&format!("t.{token}.{root}.{number}"))
    }

    /// Returns the subject of a part of the rules of a room.
    pub(crate) fn rules_subject(&self, token: &str, part: impl Display) -> String {
        self.of_life(&format!("g.{token}.{part}"))
    }

    /// Returns the subject of the mark that no deleted message of a room has its text any more.
    pub(crate) fn erased_subject(&self, token: &str) -> String {
        // A part of the rules has a number.
        self.rules_subject(token, "erased")
    }

    /// Reads the subject of a message of this life. It may be that of a stored message or of its copy for the nodes.
    pub(crate) fn read<'a>(&self, subject: &'a str) -> Option<Subject<'a>> {
        let rest = subject.strip_prefix(&*self.stream)?.strip_prefix('.')?.strip_prefix(&*self.life)?;
        let rest = rest.strip_prefix('.')?;
        let mut tokens = rest.strip_prefix("e.").unwrap_or(rest).split('.');
        Some(match (tokens.next()?, tokens.next(), tokens.next()) {
            ("m", Some(room), None) => Subject::Record { room },
            ("s", Some(room), Some(seq)) => Subject::State { room, seq: seq.parse().ok()? },
            ("r", Some(room), Some(_)) => Subject::Copy { room },
            _ => Subject::Other,
        })
    }

    /// Returns the subject of the messages that only show that the stream can store.
    pub(crate) fn probe(&self) -> String {
        self.of_life("p")
    }

    /// Returns the subject of all messages of this life.
    pub(crate) fn all(&self) -> String {
        self.of_life(">")
    }

    fn of_life(&self, rest: &str) -> String {
        format!("{}.{}.{rest}", self.stream, self.life)
    }

    /// Returns the epoch of a room.
    pub(crate) fn epoch(&self, room: &RoomName) -> String {
        let hash = Sha1::new_with_prefix(&self.life).chain_update(" ").chain_update(&self.epoch);
        hex(&hash.chain_update(" ").chain_update(room.as_str()).finalize()[..16])
    }

    /// Returns a name of the log of all rooms. It is another one after a loss of the end of the stream.
    pub(crate) fn source(&self) -> String {
        format!("{} {} {}", self.stream, self.life, self.epoch)
    }

    /// Returns the random number of the stream, and the part of each epoch. Neither has a space.
    pub(crate) fn names(&self) -> [&str; 2] {
        [&self.life, &self.epoch]
    }

    /// Compares the stream with the end that it had in this life and epoch. Returns true if it may have lost it.
    pub(crate) fn recall(&self, life: &str, epoch: &str, place: u64) -> bool {
        if self.life != life {
            return false;
        }
        if self.renewals < renewals(epoch) {
            self.highest_renewals.fetch_max(renewals(epoch), Ordering::SeqCst);
            self.lose();
            return true;
        }
        let is_behind = self.epoch == epoch && self.highest() < place;
        if is_behind {
            self.saw(place);
        }
        is_behind
    }

    /// Returns true if the stream has another life now.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        (&self.life, &self.epoch) != (&other.life, &other.epoch)
    }

    /// Returns true if the stream has lost its end, and the change of the epoch after an earlier loss with it. Its
    /// positions were given out before.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        self.life == other.life && self.renewals < other.renewals
    }

    /// Returns the highest place that this node knows of.
    pub(crate) fn highest(&self) -> u64 {
        self.highest.load(Ordering::SeqCst)
    }

    /// Records that a message is at this place.
    pub(crate) fn saw(&self, place: u64) {
        self.highest.fetch_max(place, Ordering::SeqCst);
    }

    /// Records that the subscription has delivered the message at this place. Returns false if one before it is
    /// missing.
    pub(crate) fn hear(&self, place: u64) -> bool {
        self.saw(place);
        self.heard.compare_exchange(place - 1, place, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Returns the place up to which this node has heard of all messages.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::SeqCst)
    }

    /// Records that all messages up to this place were heard of.
    pub(crate) fn catch_up(&self, place: u64) {
        self.heard.fetch_max(place, Ordering::SeqCst);
    }

    /// Records that the stream has lost messages at its end that this node knows of.
    pub(crate) fn lose(&self) {
        self.is_lost.store(true, Ordering::SeqCst);
    }

    /// Returns true if the stream has lost messages at its end.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::SeqCst)
    }
}

/// Returns the number of losses in the part of each epoch.
fn renewals(epoch: &str) -> u64 {
    epoch.split_once('-').and_then(|(number, _)| number.parse().ok()).unwrap_or_default()
}

/// Returns the settings of a new stream.
pub(crate) fn new_stream(stream: &str, shard: Shard, replicas: usize) -> StreamConfig {
    let life = random();
    let subject = |part: &str| format!("{stream}.{life}.{part}");
    let others = json!({
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_msgs_per_subject": -1,
        "allow_direct": true,
        ATOMIC: true,
        "republish": { "src": subject(">"), "dest": subject("e.>") },
    });
    let metadata = [(LIFE, life.clone()), (EPOCH, epoch(0)), (FORMAT.0, FORMAT.1.to_owned())]
        .map(|(k, v)| (k.to_owned(), v));
    let metadata = metadata.into_iter().chain([shard.entry()]);
    StreamConfig {
        name: stream.to_owned(),
        subjects: ["m.*", "s.*.*", "r.*.*", "t.*.*.*", "g.*.*", "p"].map(subject).into(),
        metadata: metadata.collect(),
        num_replicas: replicas,
        others: others.as_object().cloned().unwrap_or_else(Map::new),
    }
}

/// Returns the settings of a stream that an import fills.
pub(crate) fn with_import(config: StreamConfig) -> StreamConfig {
    with_format(config, IMPORT)
}

/// Returns the settings of a stream that an import has filled.
pub(crate) fn without_import(config: StreamConfig) -> StreamConfig {
    with_format(config, FORMAT.1)
}

fn with_format(mut config: StreamConfig, format: &str) -> StreamConfig {
    config.metadata.insert(FORMAT.0.to_owned(), format.to_owned());
    config
}

/// Returns true if an import fills the stream, or has ended before it was complete.
pub(crate) fn is_import(config: &StreamConfig) -> bool {
    config.metadata.get(FORMAT.0).is_some_and(|format| format == IMPORT)
}

/// Returns the settings of a stream with another epoch than that of a life, and than all before it.
pub(crate) fn with_new_epoch(mut config: StreamConfig, life: &Life) -> StreamConfig {
    config.metadata.insert(EPOCH.to_owned(), epoch(life.highest_renewals.load(Ordering::SeqCst) + 1));
    config
}

fn epoch(renewals: u64) -> String {
    format!("{renewals}-{}", random())
}

/// Returns the token of a room in subjects.
pub(crate) fn token(room: &RoomName) -> String {
    hex(&Sha1::digest(room.as_str())[..16])
}

/// Returns true for a text that can be part of a subject.
pub(crate) fn is_token(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&text.len()) && text.chars().all(is_allowed)
}

/// Returns true for a text that can be the name of a chat, which its first stream has. The other streams of a chat have
/// its name and an end, so no name has such an end.
pub(crate) fn is_chat_name(text: &str) -> bool {
    let end = text.rsplit_once('-').map_or("", |(_, end)| end);
    let is_number = !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit());
    is_token(text) && !is_number && !["users", "guests"].contains(&end)
}

fn random() -> String {
    format!("{:016x}", random_number())
}

pub(crate) fn random_number() -> u64 {
    #[cfg(test)]
    if let Some(number) = crate::model::random_number() {
        return number;
    }
    getrandom::u64().expect("the operating system always has random numbers once it is up")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
