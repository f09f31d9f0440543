//! The direct room of two users: the first join opens it, and from then on both follow it.

use std::sync::Arc;

use chat_proto::command::JoinFrom;

use super::host::{Host, Refused};
use super::operation::Done;
use super::peers::Peers;
use super::reads::ReadQueues;
use crate::room::{LiveRoom, govern, within};
use crate::{Act, Action, ChangeError, ErrorCode, MarkerError, NewAct, RoomName, User, UserKey};

impl Host {
    /// Joins the direct room of the user and another one.
    pub(super) async fn join_direct(
        self,
        reads: Arc<ReadQueues>,
        name: RoomName,
        joined: Option<Arc<LiveRoom>>,
        (with, from): (User, JoinFrom),
        peers: Peers,
    ) -> Result<Done, Refused> {
        self.may(&name, Action::Join).await?;
        self.may(&name, Action::Direct { with: with.id() }).await?;
        let room = match joined {
            Some(room) => room,
            None => self.open(&name).await?,
        };
        let (rooms, user) = (Arc::clone(&self.rooms), self.user().key());
        let other = UserKey::new(with.id());
        let opened = self.open_direct(&room, with).await?;
        if opened && other != user {
            rooms.announce_followed(&name, &other, true);
            peers.sessions.announce_follow(&rooms, &reads, (other, name.clone(), true));
        }
        let entered = self.enter(Arc::clone(&reads), room, from).await;
        // After that, so that the connection gets no activity of the room that it joins.
        if opened {
            rooms.announce_followed(&name, &user, true);
            peers.sessions.announce_follow(&rooms, &reads, (user, name, true));
        }
        entered
    }

    /// Checks the right to join a room by its name.
    pub(super) async fn may_join_by_name(&self, name: &RoomName) -> Result<(), Refused> {
        self.may(name, Action::Join).await?;
        let with = self.rooms.other_user(name, &self.user().key()).await?;
        if let Some(with) = &with {
            self.may(name, Action::Direct { with: with.id() }).await?;
        }
        Ok(())
    }

    /// Opens a direct room, or updates the name that it has of the user. Returns true if it was opened.
    async fn open_direct(&self, room: &LiveRoom, with: User) -> Result<bool, Refused> {
        let user = self.user();
        let (rules, _) = within(&self.rooms, room.log().standing(&user.key())).await?;
        let direct = rules.direct.unwrap_or_default();
        if direct.has_name_of(user) {
            return Ok(false);
        }
        if direct.contains(&user.key()) {
            govern(room, NewAct::new(user.clone(), Act::Direct { with }), &self.rooms).await?;
            return Ok(false);
        }
        if let Err(wait) = self.rooms.may_create(user, room) {
            self.rooms.counters.refuse(|limited| &mut limited.created);
            return Err(Refused::TooEarly(wait));
        }
        // First, so that both follow each room that is open, also after a crash in between.
        self.follow_both(room.name(), &with).await?;
        let act = NewAct::new(user.clone(), Act::Direct { with: with.clone() });
        let opened = govern(room, act, &self.rooms).await;
        if let Err(error) = opened {
            if self.is_unopened(room, &error).await {
                self.set_follow(room.name(), &user.key(), false).await?;
                self.set_follow(room.name(), &with.key(), false).await?;
            }
            return Err(error.into());
        }
        Ok(true)
    }

    /// Returns true if an opening that has failed has stored nothing, and the other user has not opened the room
    /// meanwhile.
    async fn is_unopened(&self, room: &LiveRoom, error: &ChangeError) -> bool {
        match error {
            ChangeError::Unavailable(unavailable) if !unavailable.is_over_quota() => false,
            _ => {
                let standing = within(&self.rooms, room.log().standing(&self.user().key())).await;
                standing.is_ok_and(|(rules, _)| rules.other(&self.user().key()).is_none())
            }
        }
    }

    /// Lets both users follow the room, or none.
    async fn follow_both(&self, room: &RoomName, with: &User) -> Result<(), Refused> {
        let user = self.user().key();
        self.set_follow(room, &user, true).await?;
        let followed = self.set_follow(room, &with.key(), true).await;
        if followed.is_err() && user != with.key() {
            self.set_follow(room, &user, false).await?;
        }
        followed
    }

    async fn set_follow(&self, room: &RoomName, user: &UserKey, on: bool) -> Result<(), Refused> {
        let max = self.rooms.limits.rooms.max_followed_per_user;
        match within(&self.rooms, self.rooms.store.follow(user, room, on, max)).await {
            // Such a store has direct rooms, which users find by their names.
            Ok(()) | Err(MarkerError::Unsupported) => Ok(()),
            Err(error) => Err(ErrorCode::from(error).into()),
        }
    }
}
