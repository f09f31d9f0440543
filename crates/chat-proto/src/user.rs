use std::iter;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::ErrorCode;
use crate::name::{are_joiners_valid, check_guest, is_blank, is_mark, without_lost_selectors};

const MAX_CHARS: usize = 32;
const MAX_BYTES: usize = 128;

/// The beginning of the ids and names of guests who gave no name.
const UNNAMED_PREFIX: &str = "guest-";

/// Characters of such a name after the prefix.
const UNNAMED_LEN: usize = 6;

/// Digits of such an id: no vowels, so that no words appear, and no two that look alike.
const ID_DIGITS: &[u8] = b"23456789bcdfghjkmnpqrstvwxz";
const ID_BASE: u64 = ID_DIGITS.len() as u64;

/// Digits that hold 64 bits.
const ID_LEN: usize = 14;

/// The longest id of a user in bytes, as for the subject of an `OpenID` Connect token.
const MAX_ID_BYTES: usize = 255;

/// A person or a service that writes messages: an id, which identifies the user, and a name, which people read.
///
/// A guest is never the same user as one that the host service knows, even if their ids are equal. A clone shares
/// everything.
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
#[serde(transparent)]
pub struct User(Arc<UserParts>);

/// The parts of a user. A connection, its seats and its messages refer to them, and so stay small.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "User")]
struct UserParts {
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
    /// A character is invisible: a control, bidirectional, zero-width, tag or filler character, or a joiner or
    /// variation selector outside the sequences that Unicode defines.
    #[error("a user name has only visible characters and spaces")]
    Character,
    /// The first or the last character is a space.
    #[error("a user name does not start or end with a space")]
    OuterSpace,
    /// The name of a guest mixes letters of scripts that look alike, such as a Cyrillic А in a Latin word.
    #[error("a guest's name does not mix letters that look alike")]
    LookAlike,
    /// The name of a guest is reserved: it looks like `Admin`, or like the name of a guest without a name.
    #[error("this name is reserved")]
    Reserved,
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

/// Returns true if a text can be the id of a user.
pub(crate) fn is_user_id(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len()) && !text.contains(char::is_control)
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
    /// The name is for display only. Shorten a longer name of your service before the call, for example with
    /// `chars().take(32)` and `trim`. If that name is refused too, use another one.
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
        if !is_user_id(id) {
            return Err(InvalidUser::Id);
        }
        Ok(Self::from_parts(false, id.into(), normalized(name)?.into()))
    }

    fn from_parts(guest: bool, id: Arc<str>, name: Arc<str>) -> Self {
        Self(Arc::new(UserParts { guest, id, name }))
    }

    /// Creates a user of whom only the id is known. The name is the id.
    ///
    /// # Errors
    ///
    /// [`InvalidUser::Id`] for an id that [`User::new`] does not accept.
    pub fn from_id(id: &str) -> Result<Self, InvalidUser> {
        if !is_id(id) {
            return Err(InvalidUser::Id);
        }
        let id: Arc<str> = id.into();
        Ok(Self::from_parts(false, Arc::clone(&id), id))
    }

    /// Creates a guest. No service knows a guest, so the name is also the id, without its joiners and variation
    /// selectors: two names that differ only in those are one guest.
    ///
    /// ```
    /// use chat_proto::{InvalidUserName, User};
    ///
    /// let ann = User::guest("\u{2764}\u{fe0f} Ann")?;
    /// assert_eq!((ann.name(), ann.id()), ("\u{2764}\u{fe0f} Ann", "\u{2764} Ann"));
    /// assert_eq!(User::guest("\u{410}nn"), Err(InvalidUserName::LookAlike)); // a Cyrillic А
    /// assert_eq!(User::guest("admin"), Err(InvalidUserName::Reserved));
    /// # Ok::<(), InvalidUserName>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`User::new`], and [`InvalidUserName::LookAlike`] or [`InvalidUserName::Reserved`] if people could
    /// take the name for another one.
    pub fn guest(name: &str) -> Result<Self, InvalidUserName> {
        let name: Arc<str> = normalized(name)?.into();
        check_guest(&name)?;
        let id = if name.contains(is_blank) {
            name.chars().filter(|c| !is_blank(*c)).nfkc().collect::<String>().into()
        } else {
            Arc::clone(&name)
        };
        Ok(Self::from_parts(true, id, name))
    }

    /// Creates the guest of a connection that gave no name, from a random number. Its id has all 64 bits of the
    /// number, so two guests have different ids. Its name is the beginning of the id. [`User::guest`] accepts neither.
    ///
    /// ```
    /// use chat_proto::User;
    ///
    /// let guest = User::unnamed_guest(0x0123_4567_89ab_cdef);
    /// assert_eq!((guest.name(), guest.id()), ("guest-8fhv3b", "guest-8fhv3b3pc7rj22"));
    /// assert!(User::guest(guest.name()).is_err());
    /// ```
    pub fn unnamed_guest(random: u64) -> Self {
        let mut rest = random;
        let digits = iter::repeat_with(|| {
            let digit = usize::try_from(rest % ID_BASE).unwrap_or_default();
            rest /= ID_BASE;
            char::from(ID_DIGITS[digit])
        });
        let id: String = UNNAMED_PREFIX.chars().chain(digits.take(ID_LEN)).collect();
        let name = id[..UNNAMED_PREFIX.len() + UNNAMED_LEN].into();
        Self::from_parts(true, id.into(), name)
    }

    /// Returns the identity of this user.
    pub fn key(&self) -> UserKey {
        UserKey { guest: self.0.guest, id: Arc::clone(&self.0.id) }
    }

    /// Returns true if this is a guest.
    pub fn is_guest(&self) -> bool {
        self.0.guest
    }

    /// Returns this user as a guest, or as one whom the host service knows.
    pub(crate) fn with_guest(mut self, guest: bool) -> Self {
        Arc::make_mut(&mut self.0).guest = guest;
        self
    }

    /// Returns the id, as other users see it.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Returns the name that other users read.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

/// The identity of a user. Two users with one identity are the same user, even if their names differ.
///
/// Its serialized form states if the user is a guest, so that a guest never becomes a user of the host service.
///
/// ```
/// use chat_proto::{User, UserKey};
///
/// assert_eq!(UserKey::new("7"), User::new("7", "Ann")?.key());
/// assert_eq!(UserKey::guest("Ann")?, User::guest("Ann")?.key());
/// assert_ne!(UserKey::new("Ann"), UserKey::guest("Ann")?);
/// # Ok::<(), chat_proto::InvalidUser>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserKey {
    guest: bool,
    id: Arc<str>,
}

impl UserKey {
    /// Returns the identity of the user that the host service knows by this id.
    pub fn new(id: &str) -> Self {
        Self { guest: false, id: id.into() }
    }

    /// Returns the identity of the guest of this name. The name of a guest is also the id.
    ///
    /// # Errors
    ///
    /// The errors of [`User::guest`].
    pub fn guest(name: &str) -> Result<Self, InvalidUserName> {
        Ok(Self { guest: true, id: normalized(name)?.into() })
    }

    /// Returns the identities of this id: that of a guest, and that of a user whom the host service knows.
    pub(crate) fn all_of_id(id: &str) -> [Self; 2] {
        [true, false].map(|guest| Self { guest, id: id.into() })
    }

    /// Returns true if this is the identity of a guest.
    pub fn is_guest(&self) -> bool {
        self.guest
    }

    /// Returns the id. It is unique among guests, and among the users that the host service knows.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl From<User> for UserKey {
    fn from(user: User) -> Self {
        user.key()
    }
}

impl From<&User> for UserKey {
    fn from(user: &User) -> Self {
        user.key()
    }
}

impl From<&Self> for UserKey {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

/// Returns true if a text can be the id of a user.
fn is_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len()) && !id.contains(char::is_control)
}

fn normalized(name: &str) -> Result<String, InvalidUserName> {
    // NFKC changes no character of these names, and each of them is allowed.
    let is_plain = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let name = if is_plain {
        with_single_spaces(name.chars())
    } else {
        with_single_spaces(without_lost_selectors(name).nfkc())
    };
    if name.len() > MAX_CHARS || name.iter().map(|c| c.len_utf8()).sum::<usize>() > MAX_BYTES {
        return Err(InvalidUserName::TooLong);
    }
    let starts_with_mark = || name.first().is_some_and(|c| is_mark(*c));
    let is_allowed = || name.iter().copied().all(is_allowed) && are_joiners_valid(&name);
    if !is_plain && (starts_with_mark() || !is_allowed()) {
        return Err(InvalidUserName::Character);
    }
    if !name.iter().copied().any(is_visible) {
        return Err(InvalidUserName::Empty);
    }
    if name.first() == Some(&' ') || name.last() == Some(&' ') {
        return Err(InvalidUserName::OuterSpace);
    }
    Ok(name.into_iter().collect())
}

/// Returns the characters of a name, or one more than it may have. Several spaces look like one (RFC 8266, section
/// 2.1).
fn with_single_spaces(name: impl Iterator<Item = char>) -> Vec<char> {
    let mut previous = None;
    // NFKC can make a text up to 18 times as long, so the work stops after the first character too many.
    name.filter(|c| previous.replace(*c) != Some(' ') || *c != ' ').take(MAX_CHARS + 1).collect()
}

/// Returns true if a name may have this character. [`are_joiners_valid`] decides about characters that are blank.
fn is_allowed(c: char) -> bool {
    use GeneralCategoryGroup::{Other, Separator};
    c == ' ' || is_blank(c) || !matches!(c.general_category_group(), Other | Separator)
}

fn is_visible(c: char) -> bool {
    use GeneralCategoryGroup::{Letter, Number, Punctuation, Symbol};
    !is_blank(c) && matches!(c.general_category_group(), Letter | Number | Punctuation | Symbol)
}

/// The form of a user in a log and between nodes, for `#[serde(with = "chat_proto::user_record")]`. It states more than
/// the form in an event: a guest is not a user with the same id. The name that is read is not checked.
pub mod user_record {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::User;

    #[derive(Serialize, Deserialize)]
    struct UserRecord<'a> {
        guest: bool,
        id: Cow<'a, str>,
        name: Cow<'a, str>,
    }

    /// Writes a user.
    ///
    /// # Errors
    ///
    /// The errors of the serializer.
    pub fn serialize<S: Serializer>(user: &User, serializer: S) -> Result<S::Ok, S::Error> {
        UserRecord { guest: user.is_guest(), id: user.id().into(), name: user.name().into() }
            .serialize(serializer)
    }

    /// Reads a user.
    ///
    /// # Errors
    ///
    /// The errors of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<User, D::Error> {
        let UserRecord { guest, id, name } = UserRecord::deserialize(deserializer)?;
        Ok(User::from_parts(guest, (&*id).into(), (&*name).into()))
    }
}
