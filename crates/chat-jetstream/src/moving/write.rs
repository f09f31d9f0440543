use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use chat_core::{Unavailable, UserKey};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep};

use super::{MoveError, Opened};
use crate::life::Life;
use crate::link::{AppendRefused, Link};
use crate::room::CompleteRoom;
use crate::users::Marker;

/// The time for a message of the stream to be stored. It is longer than an election.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The pause before a message is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// The messages of the stream that are stored together, and their bytes.
const MAX_PARTS: usize = 100;
const MAX_PART_BYTES: usize = 512 * 1_024;

/// The markers of a room that are written at the same time.
const MAX_MARKING: usize = 16;

/// A message of the stream that is not stored yet: its subject and its bytes.
type Part = (String, Bytes);

impl Opened {
    /// Writes a room. The last record is the end: all else is stored before it.
    pub(super) async fn write(&self, mut room: CompleteRoom) -> Result<(), MoveError> {
        let node = self.streams.node(&room.token);
        let life = node.life();
        let subject = life.subject(&room.token);
        let Some(end) = room.records.pop() else { return Ok(()) };
        let (mut last, mut places) = (0, BTreeMap::new());
        for record in &room.records {
            places.insert(record.first(), last);
            last = store(&node.link, &subject, last, record.encode(), &[]).await?;
        }
        places.insert(end.first(), last);
        for mut parts in parts(&room, &life, &places) {
            if let Some((subject, part)) = parts.pop() {
                store(&node.link, &subject, 0, part, &parts).await?;
            }
        }
        store(&node.link, &subject, last, end.encode(), &[]).await?;
        let epoch = life.epoch(&room.name);
        let markers = mem::take(&mut room.markers);
        let mark = |(user, seq): (UserKey, u64)| {
            let marker = Marker { user: user.id().to_owned(), epoch: epoch.clone(), seq };
            let token = &room.token;
            async move { self.users.mark(&user, token, marker).await.map(drop) }
        };
        let marked = stream::iter(markers).map(mark).buffer_unordered(MAX_MARKING);
        Ok(marked.try_collect::<()>().await?)
    }
}

/// Stores a message of the stream after the last one of its subject, and others before it. Returns its place.
async fn store(
    link: &Link,
    subject: &str,
    last: u64,
    message: Bytes,
    parts: &[Part],
) -> Result<u64, MoveError> {
    let until = Instant::now() + TIME_LIMIT;
    loop {
        match link.append(subject, last, message.clone(), parts).await {
            Ok(place) => return Ok(place),
            Err(AppendRefused::Rejected(error)) => return Err(error.into()),
            Err(_) => {}
        }
        // It may be stored, but only once: after the last one.
        match link.last(subject).await {
            Ok(Some((place, stored))) if stored == message => return Ok(place),
            Ok(Some((place, _))) if place != last => {
                return Err(MoveError::InUse(link.stream.clone()));
            }
            _ => {}
        }
        if Instant::now() > until {
            return Err(Unavailable::new("the stream did not store a message in time").into());
        }
        sleep(PAUSE).await;
    }
}

/// Returns the rules, the states, and the blocks of threads, in groups that are stored together. `places` has the place
/// of the record before each one, by its first position.
fn parts(room: &CompleteRoom, life: &Life, places: &BTreeMap<u64, u64>) -> Vec<Vec<Part>> {
    let token = &room.token;
    let mut parts: Vec<Part> =
        room.rules.iter().map(|(part, bytes)| (life.rules_subject(token, part), bytes.clone())).collect();
    for (root, (state, replies)) in &room.states {
        let mut state = state.clone();
        for reply in replies {
            let after = places.range(..=reply).next_back().map_or(0, |(_, place)| *place);
            if let Some(block) = state.list_reply(*reply, after) {
                parts.push((life.block_subject(token, root, block.number), block.encode()));
            }
        }
        parts.push((life.state_subject(token, root), state.encode()));
    }
    let (mut groups, mut bytes) = (vec![Vec::new()], 0);
    for part in parts {
        bytes += part.1.len();
        let is_full = groups.last().is_some_and(|group| group.len() >= MAX_PARTS) || bytes > MAX_PART_BYTES;
        if is_full {
            bytes = part.1.len();
            groups.push(Vec::new());
        }
        groups.last_mut().into_iter().for_each(|group| group.push(part.clone()));
    }
    groups
}
