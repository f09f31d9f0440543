use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;

use crate::{Act, Change, Links, Mentions, Role, RoomName, Unavailable, User};

/// The host's decision about what a user may do in a room.
///
/// [`Builder::authorize`](crate::Builder::authorize) sets it. Without it, each user may do everything. The chat waits
/// for an answer for [`RoomLimits::call_timeout`](crate::RoomLimits::call_timeout). Without an answer in time, or after
/// a panic, the client gets the error `unavailable`. [`Chat::post`](crate::Chat::post) needs no authorization, because
/// the host itself calls it.
///
/// A closure that needs no `await` is an `Authorize`:
///
/// ```
/// use chat_core::{Action, Chat, Forbidden, RoomName, User};
///
/// let chat = Chat::builder()
///     .authorize(|user: &User, room: &RoomName, action: &Action<'_>| match action {
///         Action::Join if room.as_str() == "staff" && !user.id().starts_with("staff:") => {
///             Err(Forbidden::Rights)
///         }
///         _ => Ok(()),
///     })
///     .build();
/// # drop(chat);
/// ```
#[async_trait]
pub trait Authorize: Send + Sync + 'static {
    /// Decides about an action of the user in the room.
    ///
    /// # Errors
    ///
    /// [`Forbidden`] if the user must not do this. The client gets the error code that the variant names.
    async fn authorize(&self, user: &User, room: &RoomName, action: &Action<'_>) -> Result<(), Forbidden>;

    /// Returns the role of the user in the room. The default is [`Role::None`].
    ///
    /// The effective role is the higher of this one and that in the log of the room. It is asked when the user joins
    /// the room or acts in it, before a message is deleted, pinned or unpinned, before one that mentions the room is
    /// sent, and before each message and change in a room that may have rules. The chat waits for it as long as for
    /// [`authorize`](Self::authorize).
    ///
    /// # Errors
    ///
    /// [`Forbidden`] as for `authorize`.
    async fn role(&self, _user: &User, _room: &RoomName) -> Result<Role, Forbidden> {
        Ok(Role::None)
    }
}

#[async_trait]
impl<F> Authorize for F
where
    F: Fn(&User, &RoomName, &Action<'_>) -> Result<(), Forbidden> + Send + Sync + 'static,
{
    async fn authorize(&self, user: &User, room: &RoomName, action: &Action<'_>) -> Result<(), Forbidden> {
        self(user, room, action)
    }
}

/// Two decisions, which must both allow an action.
pub(crate) struct Both {
    pub(crate) first: Arc<dyn Authorize>,
    pub(crate) second: Arc<dyn Authorize>,
}

#[async_trait]
impl Authorize for Both {
    async fn authorize(&self, user: &User, room: &RoomName, action: &Action<'_>) -> Result<(), Forbidden> {
        self.first.authorize(user, room, action).await?;
        self.second.authorize(user, room, action).await
    }

    async fn role(&self, user: &User, room: &RoomName) -> Result<Role, Forbidden> {
        Ok(self.first.role(user, room).await?.max(self.second.role(user, room).await?))
    }
}

/// An action of a user in a room.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Become a member, which includes reading, searching, and listing the members.
    Join,
    /// Become a member of the direct room of the user and another one. It is asked after `Join`, at each `join` of
    /// such a room, by either user, with the user or by the name of the room.
    /// [`RoomName::direct`] is that name, so that the host recognizes the room in the other actions.
    Direct {
        /// The id of the other user, as the client has sent it. The host knows if there is such a user.
        with: &'a str,
    },
    /// Append a message.
    #[non_exhaustive]
    Send {
        /// The body, which has passed the check of the chat's [`Message`](crate::Message).
        body: &'a RawValue,
        /// The messages and users that it names, `None` if there are none. It is not known yet if the log has the
        /// messages.
        links: Option<&'a Links>,
    },
    /// Change a message. The rules for all users hold besides: see [`Role`].
    #[non_exhaustive]
    Change {
        /// The `seq` of the message.
        target: u64,
        /// The change. The body of an edit has passed the check of the chat's [`Message`](crate::Message).
        change: &'a Change,
        /// The mentions that an edit sets, `None` if it leaves them as they are.
        mentions: Option<&'a Mentions>,
    },
    /// Create the room or set its rules, or set the standing of a user. The rules for all users hold besides: see
    /// [`Right`](crate::Right).
    Govern {
        /// The act.
        act: &'a Act,
    },
}

/// A refusal of [`Authorize`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Forbidden {
    /// The user does not have the right: `forbidden`.
    #[error("the user's rights do not allow this")]
    Rights,
    /// The host rejects this message or join: `rejected`, with this text for the client.
    #[error("rejected: {0}")]
    Rejected(String),
    /// The host cannot decide now: `unavailable`.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
