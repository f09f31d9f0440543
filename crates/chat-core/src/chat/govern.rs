//! The calls of a host on the rules of rooms, and on the standing of users.

use super::Chat;
use crate::error::PostError;
use crate::room::{self, within};
use crate::session::with_target;
use crate::{Act, ChangeReceipt, NewAct, RoomName, RoomRules, Standing, Unavailable, User, UserKey};

impl Chat {
    /// Creates a room or sets its rules, gives a user a role, restricts a user, or deletes all messages of a user.
    ///
    /// The act decides who acts: a user with a role, or the host itself, which may do everything. A user who is banned
    /// leaves the room on all connections. [`Authorize`](crate::Authorize) is not asked.
    ///
    /// ```
    /// use chat_core::{Act, Chat, NewAct, Restrict, Restriction, RoomName, User};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (chat, lobby): (Chat, RoomName) = (Chat::default(), "lobby".parse()?);
    /// let moderation = User::new("service:moderation", "Moderation")?;
    /// let restriction = Some(Restriction::new(Restrict::Ban, None));
    /// let act = Act::Restrict { user: User::from_id("7")?, restriction, reason: Some("spam".to_owned()) };
    /// let receipt = chat.govern(&lobby, NewAct::new(moderation, act).by_host()).await?;
    /// assert_eq!(receipt.seq, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PostError::InvalidChange`] for texts that the protocol does not allow, and for [`Act::Direct`].
    /// [`PostError::Change`] and [`PostError::Unavailable`].
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn govern(&self, room: &RoomName, mut new: NewAct) -> Result<ChangeReceipt, PostError> {
        // A direct room is opened by the join of a user, which lets both follow it.
        if !new.act.is_valid(self.limits()) || matches!(new.act, Act::Direct { .. }) {
            return Err(PostError::InvalidChange);
        }
        let room = self.open(room).await?;
        let target_role = with_target(&room, &mut new.act);
        new.target_role = new.target_role.max(target_role);
        Ok(room::govern(&room, new, self.rooms()).await?)
    }

    /// Deletes all messages of a user in a room, in the name of `by`. The host itself acts, so it may purge everybody.
    /// Answers when nothing that the chat reads or keeps has a body of them. Messages that the user sends later stay.
    ///
    /// Only the id of `user` counts. To keep the user from writing meanwhile, [restrict](Act::Restrict) the user first.
    ///
    /// ```
    /// use chat_core::{Chat, RoomName, Text, User};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (chat, lobby): (Chat, RoomName) = (Chat::default(), "lobby".parse()?);
    /// let (moderation, spammer) = (User::new("service:moderation", "Moderation")?, User::new("7", "Eve")?);
    /// chat.post(&lobby, &spammer, &Text::new("Buy!")).await?;
    /// let receipt = chat.purge(&lobby, &moderation, &spammer).await?;
    /// assert_eq!(receipt.seq, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PostError::Change`] and [`PostError::Unavailable`]. After the latter, the purge may go on, and a repeat is
    /// safe.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn purge(&self, room: &RoomName, by: &User, user: &User) -> Result<ChangeReceipt, PostError> {
        let act = Act::Purge { user: user.clone() };
        self.govern(room, NewAct::new(by.clone(), act).by_host()).await
    }

    /// Returns the rules of a room, and the standing of a user in it. The role is that in the log of the room:
    /// credentials and [`Authorize::role`](crate::Authorize::role) may give a higher one.
    ///
    /// ```
    /// use chat_core::{Chat, RoomName, RoomRules, UserKey};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (chat, lobby): (Chat, RoomName) = (Chat::default(), "lobby".parse()?);
    /// let (rules, standing) = chat.standing(&lobby, UserKey::new("7")).await?;
    /// assert_eq!((rules, standing.restriction), (RoomRules::default(), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be read in time.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn standing(
        &self,
        room: &RoomName,
        user: impl Into<UserKey>,
    ) -> Result<(RoomRules, Standing), Unavailable> {
        let user = user.into();
        let room = self.open(room).await?;
        within(self.rooms(), room.log().standing(&user)).await
    }
}
