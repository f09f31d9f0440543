//! The markers and the followed rooms of all users, for an export and an import.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use chat_core::{MarkerError, RoomName, UserKey};
use serde::de::DeserializeOwned;

use super::{Followed, Marker, UserStream, Users, follows_subject};
use crate::link::LinkError;

/// Users by the kind, true for guests, and the id.
pub(crate) type ByUser<T> = BTreeMap<(bool, String), T>;

impl Users {
    /// Returns the positions of all markers of a room that are of this epoch.
    pub(crate) async fn markers(&self, room: &str, epoch: &str) -> Result<ByUser<u64>, LinkError> {
        let mut markers = BTreeMap::new();
        for (is_guest, stream) in self.streams() {
            for marker in self.all::<Marker>(stream, &format!("m.*.{room}")).await? {
                if marker.epoch == epoch {
                    markers.insert((is_guest, marker.user), marker.seq);
                }
            }
        }
        Ok(markers)
    }

    /// Returns the rooms that each user follows, in the order of their names.
    pub(crate) async fn all_followed(&self) -> Result<ByUser<Vec<RoomName>>, LinkError> {
        let mut all = BTreeMap::new();
        for (is_guest, stream) in self.streams() {
            let followed = self.all::<Followed>(stream, "f.*").await?;
            all.extend(followed.into_iter().map(|Followed { user, rooms }| ((is_guest, user), rooms)));
        }
        Ok(all)
    }

    /// Sets the rooms that a user follows, in the order of their names.
    pub(crate) async fn set_followed(&self, user: &UserKey, rooms: Vec<RoomName>) -> Result<(), MarkerError> {
        let new = Followed { user: user.id().to_owned(), rooms };
        self.update(user, &follows_subject(user), |_| Ok(Some(new.clone()))).await.map(drop)
    }

    /// Returns the name of a stream about users that has a message.
    pub(crate) async fn in_use(&self) -> Result<Option<String>, LinkError> {
        for (_, stream) in self.streams() {
            if stream.next(">", 0).await?.is_some() {
                return Ok(Some(stream.link.stream.clone()));
            }
        }
        Ok(None)
    }

    /// Returns the number of messages that were damaged when they were read.
    pub(crate) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Removes the streams.
    pub(crate) async fn remove(&self) -> Result<(), LinkError> {
        for (_, stream) in self.streams() {
            stream.link.delete().await?;
        }
        Ok(())
    }

    fn streams(&self) -> [(bool, &UserStream); 2] {
        [(false, &self.known), (true, &self.guests)]
    }

    /// Reads all messages of some subjects from the leader, one by one. Those that are damaged are left out.
    async fn all<T: DeserializeOwned>(
        &self,
        stream: &UserStream,
        subjects: &str,
    ) -> Result<Vec<T>, LinkError> {
        let (mut all, mut from) = (Vec::new(), 0);
        while let Some((place, bytes)) = stream.next(subjects, from).await? {
            all.extend(self.decode(&stream.link, place, bytes));
            from = place + 1;
        }
        Ok(all)
    }
}

impl UserStream {
    async fn next(&self, subjects: &str, place: u64) -> Result<Option<(u64, bytes::Bytes)>, LinkError> {
        match self.link.next(&format!("{}.{subjects}", self.prefix), place).await {
            Err(error) if error.is_no_stream() => Ok(None),
            next => next,
        }
    }
}
