//! The markers of users, and the rooms that they follow: in streams of their own, which keep the last message of each
//! subject.

mod moved;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chat_core::{Follows, MarkerError, RoomName, Unavailable, UserKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use tokio::time::{Instant, sleep};

use crate::life::random_number;
use crate::link::{AppendRefused, Link, LinkError, StreamConfig};
use crate::node::Node;
use crate::record::{user_token, with_sum, without_sum};
use crate::stats::count;

pub(crate) use moved::ByUser;

/// The messages about guests that are kept, the newest ones: anyone can take any number of guest names.
const MAX_OF_GUESTS: u64 = 100_000;

/// The bytes of the messages about guests that are kept.
const MAX_BYTES_OF_GUESTS: u64 = 64 * 1024 * 1024;

/// The time in which a change that other nodes make impossible is tried again.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// The longest pause before it is tried again, in milliseconds.
const MAX_PAUSE: u64 = 20;

/// The streams about users. Each is created with its first message.
#[derive(Debug)]
pub(crate) struct Users {
    node: Arc<Node>,
    known: UserStream,
    guests: UserStream,
    /// The messages that were damaged when they were read.
    damaged: AtomicU64,
}

/// A stream about users.
#[derive(Debug)]
struct UserStream {
    link: Link,
    /// The first part of each subject.
    prefix: String,
    config: StreamConfig,
}

/// The position up to which a user has read a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// The id of the user, which an export needs.
    pub(crate) user: String,
    /// The epoch in which it counts.
    pub(crate) epoch: String,
    pub(crate) seq: u64,
}

/// The rooms that a user follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Followed {
    /// The id of the user, which an export needs.
    user: String,
    rooms: Vec<RoomName>,
}

impl Users {
    /// Returns the streams of a chat, which have this number of copies if they are created.
    pub(crate) fn new(node: Arc<Node>, replicas: usize) -> Self {
        let [known, guests] = [("users", "u", None), ("guests", "g", Some(MAX_OF_GUESTS))]
            .map(|(name, part, max)| UserStream::new(&node.link, (name, part), replicas, max));
        Self { node, known, guests, damaged: AtomicU64::new(0) }
    }

    /// Returns the marker of a user, or `None` if there is none of this epoch.
    pub(crate) async fn marker(
        &self,
        user: &UserKey,
        room: &str,
        epoch: &str,
    ) -> Result<Option<u64>, Unavailable> {
        let (_, marker) = self.read::<Marker>(user, &marker_subject(user, room)).await?;
        Ok(marker.filter(|marker| marker.epoch == epoch).map(|marker| marker.seq))
    }

    /// Moves the marker of a user forward. Returns its present position, and true if it has moved.
    pub(crate) async fn mark(
        &self,
        user: &UserKey,
        room: &str,
        new: Marker,
    ) -> Result<(u64, bool), MarkerError> {
        let (mut present, subject) = (new.seq, marker_subject(user, room));
        let change = |known: Option<Marker>| {
            let known = known.filter(|known| known.epoch == new.epoch).map_or(0, |known| known.seq);
            present = new.seq.max(known);
            Ok((new.seq > known).then(|| new.clone()))
        };
        let moved = self.update(user, &subject, change).await?;
        Ok((present, moved))
    }

    /// Lets a user follow a room, or ends that.
    pub(crate) async fn follow(
        &self,
        user: &UserKey,
        room: &RoomName,
        on: bool,
        max: usize,
    ) -> Result<(), MarkerError> {
        let change = |known: Option<Followed>| {
            let known = known.map(|known| known.rooms).unwrap_or_default();
            let mut follows = Follows::new(usize::MAX);
            for room in &known {
                follows.follow(user, room, true, usize::MAX)?;
            }
            follows.follow(user, room, on, max)?;
            let rooms: Vec<_> = follows.of(user).cloned().collect();
            Ok((rooms != known).then(|| Followed { user: user.id().to_owned(), rooms }))
        };
        self.update(user, &follows_subject(user), change).await.map(drop)
    }

    /// Returns the rooms that a user follows, in the order of their names.
    pub(crate) async fn followed(&self, user: &UserKey) -> Result<Vec<RoomName>, Unavailable> {
        let (_, known) = self.read::<Followed>(user, &follows_subject(user)).await?;
        Ok(known.map(|known| known.rooms).unwrap_or_default())
    }

    fn stream(&self, user: &UserKey) -> &UserStream {
        if user.is_guest() { &self.guests } else { &self.known }
    }

    /// Reads the last message of a subject from the leader, and its place. One that is damaged counts as none.
    async fn read<T: DeserializeOwned>(
        &self,
        user: &UserKey,
        subject: &str,
    ) -> Result<(u64, Option<T>), LinkError> {
        let UserStream { link, prefix, .. } = self.stream(user);
        let last = match link.last(&format!("{prefix}.{subject}")).await {
            Err(error) if error.is_no_stream() => None,
            last => last?,
        };
        let Some((place, bytes)) = last else { return Ok((0, None)) };
        Ok((place, self.decode(link, place, bytes)))
    }

    /// Reads a message. One that is damaged is counted, and is none.
    fn decode<T: DeserializeOwned>(&self, link: &Link, place: u64, bytes: Bytes) -> Option<T> {
        let value = without_sum(bytes).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if value.is_none() {
            count(&self.damaged, 1);
            count(&self.node.counters.unreadable, 1);
            tracing::error!(place, stream = %link.stream, "record unreadable; it is left out");
        }
        value
    }

    /// Replaces the last message of a subject by what `change` makes of it, unless that is `None`. Returns true if it
    /// was replaced, or may have been.
    async fn update<T: Serialize + DeserializeOwned>(
        &self,
        user: &UserKey,
        subject: &str,
        mut change: impl FnMut(Option<T>) -> Result<Option<T>, MarkerError>,
    ) -> Result<bool, MarkerError> {
        let (stream, until) = (self.stream(user), Instant::now() + TIME_LIMIT);
        let mut is_unsure = false;
        loop {
            let (place, known) = self.read(user, subject).await.map_err(Unavailable::from)?;
            let Some(new) = change(known)? else { return Ok(is_unsure) };
            match stream.link.append(&format!("{}.{subject}", stream.prefix), place, encode(&new), &[]).await
            {
                Ok(_) => return Ok(true),
                Err(AppendRefused::Rejected(error)) => return Err(Unavailable::from(error).into()),
                Err(AppendRefused::NoLeader) => stream.create().await.map_err(Unavailable::from)?,
                // Another node was faster.
                Err(AppendRefused::WrongSequence) => {}
                Err(AppendRefused::Unknown) => is_unsure = true,
            }
            if Instant::now() > until {
                return Err(Unavailable::new("the stream did not store the change in time").into());
            }
            sleep(Duration::from_millis(1 + random_number() % MAX_PAUSE)).await;
        }
    }
}

impl UserStream {
    fn new(link: &Link, (name, part): (&str, &str), replicas: usize, max: Option<u64>) -> Self {
        let (name, prefix) = (format!("{}-{name}", link.stream), format!("{}.{part}", link.stream));
        let mut others = json!({
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "max_msgs_per_subject": 1,
        });
        if let Some(max) = max {
            others["max_msgs"] = max.into();
            others["max_bytes"] = MAX_BYTES_OF_GUESTS.into();
        }
        let config = StreamConfig {
            name: name.clone(),
            subjects: vec![format!("{prefix}.>")],
            metadata: Default::default(),
            num_replicas: replicas,
            others: others.as_object().cloned().unwrap_or_else(Map::new),
        };
        Self { link: link.to(name), prefix, config }
    }

    /// Creates the stream if it does not exist.
    async fn create(&self) -> Result<(), LinkError> {
        if self.link.info().await?.is_none() {
            self.link.create(&self.config).await?;
        }
        Ok(())
    }
}

fn marker_subject(user: &UserKey, room: &str) -> String {
    format!("m.{}.{room}", user_token(user))
}

fn follows_subject(user: &UserKey) -> String {
    format!("f.{}", user_token(user))
}

fn encode(value: &impl Serialize) -> Bytes {
    let text = serde_json::to_vec(value).expect("texts and numbers are always JSON");
    with_sum(BytesMut::from(&*text))
}
