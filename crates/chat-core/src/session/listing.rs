//! The list of the rooms of a user.

use std::collections::BTreeSet;
use std::sync::Arc;

use chat_proto::session::{Listing, Outcome};
use tokio::time::Instant;

use super::host::{Host, Refused};
use super::operation::Done;
use super::reads::ReadQueues;
use crate::room::within;
use crate::{ErrorCode, RoomName, RoomRules, RoomSummary, timer};

impl Host {
    /// Lists the rooms that the user follows or is in. A room that the user may no longer join is left out.
    ///
    /// Each room may have to wait until it is opened. A list takes at most as long as the opening of one room may: its
    /// rest is left to the next one.
    pub(super) async fn list(self, reads: Arc<ReadQueues>, asked: Listing) -> Result<Done, Refused> {
        let limits = &self.rooms.limits.rooms;
        let (limit, started) = (limits.opening_wait + limits.call_timeout, Instant::now());
        // The rules of a room are of no use if there is no time to count its messages.
        let (middle, end) = (started + limit / 2, started + limit);
        let user = self.user().key();
        let mut followed = within(&self.rooms, self.rooms.store.followed(&user)).await?;
        followed.retain(|name| asked.after.as_ref().is_none_or(|after| name > after));
        let names: BTreeSet<_> = followed.iter().chain(&asked.joined).collect();
        let (mut listed, mut more, mut failure) = (Vec::new(), false, None);
        for name in names {
            if listed.len() >= asked.limit {
                more = true;
                break;
            }
            let mut rules = None;
            if !asked.joined.contains(name) {
                match until(middle, self.may_join(name)).await {
                    Some(Ok(allowed)) => rules = Some(allowed),
                    Some(Err(Refused::Error(ErrorCode::Forbidden | ErrorCode::Rejected, _))) => continue,
                    // One room that cannot be read must not hide the others.
                    Some(Err(refused)) => {
                        failure = Some(refused);
                        continue;
                    }
                    None => {
                        more = true;
                        break;
                    }
                }
            }
            listed.push((name.clone(), rules));
        }
        // In turn with the other connections of the user, which may have ended to follow a room since then.
        let turn = until(end, reads.count(user.clone())).await.ok_or(ErrorCode::Unavailable)?;
        let _turn = turn.map_err(Refused::TooEarly)?;
        let followed = until(end, within(&self.rooms, self.rooms.store.followed(&user))).await;
        let mut followed = followed.ok_or(ErrorCode::Unavailable)??;
        listed.retain(|(name, _)| asked.joined.contains(name) || followed.contains(name));
        followed.retain(|name| listed.iter().any(|(listed, _)| listed == name));
        let mut rooms = Vec::with_capacity(listed.len());
        for (name, rules) in listed {
            match until(end, self.summary(name.clone(), rules)).await {
                Some(Ok(summary)) => rooms.push(summary),
                Some(Err(refused)) => failure = Some(refused),
                None => {
                    more = true;
                    followed.retain(|followed| *followed < name);
                    break;
                }
            }
        }
        match failure {
            Some(refused) if rooms.is_empty() => Err(refused),
            // A client could not continue after such a page.
            None if rooms.is_empty() && more => Err(ErrorCode::Unavailable.into()),
            _ => Ok(Done::Outcome(Outcome::Listed { rooms, more, followed })),
        }
    }

    /// Counts the unread messages of a room. Its rules are read, unless they are known.
    async fn summary(&self, name: RoomName, rules: Option<RoomRules>) -> Result<RoomSummary, Refused> {
        let user = self.user().key();
        let unread = self.rooms.unread(&name, &user, u64::MAX).await?;
        let rules = match rules {
            Some(rules) => rules,
            None => self.rooms.standing(&name, &user).await?.0,
        };
        let with = rules.other(&user).cloned();
        Ok(RoomSummary::new(name, &unread).with_user(with).with_title(rules.title))
    }
}

/// Waits for a part of a list until this time. Returns `None` if it takes longer.
async fn until<T>(end: Instant, part: impl Future<Output = T>) -> Option<T> {
    timer::timeout(end.saturating_duration_since(Instant::now()), part).await.ok()
}
