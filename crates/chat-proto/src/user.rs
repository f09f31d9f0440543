use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::ErrorCode;
use crate::name::is_blank;

const MAX_CHARS: usize = 32;
const MAX_BYTES: usize = 128;

/// The longest id of a user in bytes, as for the subject of an `OpenID` Connect token.
const MAX_ID_BYTES: usize = 255;

/// A person or a service that writes messages: an id, which identifies the user, and a name, which people read.
///
/// A guest is never the same user as one that the host service knows, even if their ids are equal. A clone shares
/// the texts.
///
/// A user that is read from the wire has the id and the name that the server sent, unchecked. The wire does not
/// say whether a user is a guest, so its [`key`](Self::key) is never the key of a guest.
///
/// # Examples
///
/// ```
/// use chat_proto::User;
///
/// let clerk = User::new("service:clerk", "Clerk")?;
/// assert_eq!((clerk.id(), clerk.name()), ("service:clerk", "Clerk"));
/// assert!(User::guest("Clerk")?.key().is_guest());
/// # Ok::<(), chat_proto::InvalidUser>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct User {
    #[serde(skip)]
    guest: bool,
    id: Arc<str>,
    name: Arc<str>,
}

/// The rule that a user name breaks.
///
/// The text of this error repeats nothing of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUserName {
    /// The name has no visible character.
    #[error("a user name has at least one visible character")]
    Empty,
    /// The name, after NFKC, is longer than 32 characters or 128 bytes.
    #[error("a user name has at most 32 characters and 128 bytes")]
    TooLong,
    /// A character is a control, bidirectional, zero-width, tag or other invisible character.
    #[error("a user name has only visible characters and spaces")]
    Character,
    /// The first or the last character is a space.
    #[error("a user name does not start or end with a space")]
    OuterSpace,
}

/// The reason why [`User::new`] did not create a user.
///
/// The text of this error repeats nothing of the id or the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUser {
    /// The id is empty, is longer than 255 bytes, or has a control character.
    #[error("a user id has 1 to 255 bytes and no control characters")]
    Id,
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] InvalidUserName),
}

impl From<InvalidUserName> for ErrorCode {
    fn from(_: InvalidUserName) -> Self {
        Self::BadName
    }
}

impl User {
    /// Creates a user whose id the host service knows, with the name that others read.
    ///
    /// The id is the service's own: a primary key, an account name, or the subject of a token. It has 1 to 255 bytes
    /// and no control characters, and is compared byte by byte. Other users see it in events, so it must not be a
    /// secret. Two users with one id are one user, on every socket and in every call of the service.
    ///
    /// ```
    /// use chat_proto::{InvalidUser, User};
    ///
    /// assert_eq!(User::new("7", "Ann")?.key(), User::new("7", "Ann Lee")?.key());
    /// assert_eq!(User::new("7\n", "Ann"), Err(InvalidUser::Id));
    /// # Ok::<(), InvalidUser>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidUser::Id`] for another id. [`InvalidUser::Name`] if the name, after NFKC, is not 1 to 32 visible
    /// characters of at most 128 bytes, or has a control, bidirectional, zero-width or tag character, or starts or ends
    /// with a space.
    pub fn new(id: &str, name: &str) -> Result<Self, InvalidUser> {
        if id.is_empty() || id.len() > MAX_ID_BYTES || id.contains(char::is_control) {
            return Err(InvalidUser::Id);
        }
        Ok(Self { guest: false, id: id.into(), name: normalized(name)?.into() })
    }

    /// Creates a guest. No service knows a guest, so the name is also the id.
    ///
    /// # Errors
    ///
    /// [`InvalidUserName`] if the name breaks a rule of [`User::new`].
    pub fn guest(name: &str) -> Result<Self, InvalidUserName> {
        let name: Arc<str> = normalized(name)?.into();
        Ok(Self { guest: true, id: Arc::clone(&name), name })
    }

    /// Creates the guest of a connection that gave no name: `guest-<number>`, or `guest-<node>-<number>` where several
    /// nodes number their guests.
    pub fn numbered_guest(node: Option<&str>, number: u64) -> Self {
        let name: Arc<str> = match node {
            Some(node) => format!("guest-{node}-{number}").into(),
            None => format!("guest-{number}").into(),
        };
        Self { guest: true, id: Arc::clone(&name), name }
    }

    /// Returns the identity of this user.
    pub fn key(&self) -> UserKey {
        UserKey { guest: self.guest, id: Arc::clone(&self.id) }
    }

    /// Returns the id, as other users see it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name that other users read.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The identity of a user. Two users with one identity are the same user, even if their names differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey {
    guest: bool,
    id: Arc<str>,
}

impl UserKey {
    /// Returns true if this is the identity of a guest.
    pub fn is_guest(&self) -> bool {
        self.guest
    }

    /// Returns the id. It is unique among guests, and among the users that the host service knows.
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn normalized(name: &str) -> Result<String, InvalidUserName> {
    // NFKC can make a text up to 18 times as long, so the work stops after the first character too many.
    let name: String = name.nfkc().take(MAX_CHARS + 1).collect();
    if name.len() > MAX_BYTES || name.chars().count() > MAX_CHARS {
        return Err(InvalidUserName::TooLong);
    }
    if !name.chars().all(is_allowed) {
        return Err(InvalidUserName::Character);
    }
    if !name.chars().any(is_visible) {
        return Err(InvalidUserName::Empty);
    }
    if name.starts_with(' ') || name.ends_with(' ') {
        return Err(InvalidUserName::OuterSpace);
    }
    Ok(name)
}

fn is_allowed(c: char) -> bool {
    use GeneralCategoryGroup::{Other, Separator};
    c == ' ' || !(is_blank(c) || matches!(c.general_category_group(), Other | Separator))
}

fn is_visible(c: char) -> bool {
    use GeneralCategoryGroup::{Letter, Number, Punctuation, Symbol};
    matches!(c.general_category_group(), Letter | Number | Punctuation | Symbol)
}

/// The form of a user in a log, which says more than the form in an event: a guest is not a user with the same id.
pub(crate) mod user_record {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::User;

    #[derive(Serialize, Deserialize)]
    struct UserRecord<'a> {
        guest: bool,
        id: Cow<'a, str>,
        name: Cow<'a, str>,
    }

    pub(crate) fn serialize<S: Serializer>(user: &User, serializer: S) -> Result<S::Ok, S::Error> {
        let User { guest, id, name } = user;
        UserRecord { guest: *guest, id: (&**id).into(), name: (&**name).into() }.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<User, D::Error> {
        let UserRecord { guest, id, name } = UserRecord::deserialize(deserializer)?;
        Ok(User { guest, id: (&*id).into(), name: (&*name).into() })
    }
}
