use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::ErrorCode;

const ROOM_BYTES: usize = 64;
const USER_CHARS: usize = 32;
const USER_BYTES: usize = 128;

/// The name of a room: 1 to 64 bytes of letters and digits of any script, `-` and `_`, starting with a
/// letter or digit, in NFC and in lower case.
///
/// A value of this type cannot break those rules, so nothing that takes one checks it again. Cloning shares
/// the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = ErrorCode;

    fn from_str(name: &str) -> Result<Self, ErrorCode> {
        let allowed = |c: char| is_letter_or_digit(c) || c == '-' || c == '_';
        // Some upper-case letters (the mathematical ones) have no lower case to differ from.
        let fits = name.len() <= ROOM_BYTES
            && name.starts_with(|c| is_letter_or_digit(c) && !is_combining_mark(c))
            && name.chars().all(allowed)
            && is_nfc(name)
            && !name.contains(char::is_uppercase)
            && name.to_lowercase() == name;
        if fits { Ok(Self(name.into())) } else { Err(ErrorCode::BadRoom) }
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for RoomName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Somebody who writes: an id, which says who it is, and a name, which people read.
///
/// A guest is never the same user as one whom the host service knows, whatever they call themselves. Cloning
/// shares the texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct User {
    #[serde(skip)]
    guest: bool,
    id: Arc<str>,
    name: Arc<str>,
}

impl User {
    /// A user whose id the host service knows, with the name that others read.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::BadName`] if the name, after NFKC, is not 1 to 32 visible characters of at most 128
    /// bytes, or holds a control, bidirectional, zero-width or tag character, or starts or ends in a space.
    pub fn new(id: &str, name: &str) -> Result<Self, ErrorCode> {
        Ok(Self { guest: false, id: id.into(), name: user_name(name)?.into() })
    }

    /// A guest: nobody vouches for them, so their name is also their id.
    ///
    /// # Errors
    ///
    /// Those of [`User::new`].
    pub fn guest(name: &str) -> Result<Self, ErrorCode> {
        let name: Arc<str> = user_name(name)?.into();
        Ok(Self { guest: true, id: Arc::clone(&name), name })
    }

    /// Returns the guest that a connection without a name speaks for. `node` makes the id unique among nodes.
    pub fn numbered_guest(node: Option<&str>, number: u64) -> Self {
        let name: Arc<str> = match node {
            Some(node) => format!("guest-{node}-{number}").into(),
            None => format!("guest-{number}").into(),
        };
        Self { guest: true, id: Arc::clone(&name), name }
    }

    /// What tells this user from all others.
    pub fn key(&self) -> UserKey {
        UserKey { guest: self.guest, id: Arc::clone(&self.id) }
    }

    /// Who this is, as others see it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What others read.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Who somebody is. Two users of one identity are one user, whatever their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey {
    guest: bool,
    id: Arc<str>,
}

impl UserKey {
    /// Whether nobody vouches for this user.
    pub fn is_guest(&self) -> bool {
        self.guest
    }

    /// The id, which is unique among guests, and among users whom the host service knows.
    pub fn id(&self) -> &str {
        &self.id
    }
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

fn user_name(given: &str) -> Result<String, ErrorCode> {
    // NFKC can make a text up to 18 times as long, and shorter: no more of it is made than can fit.
    let name: String = given.nfkc().take(USER_CHARS + 1).collect();
    let fits = name.len() <= USER_BYTES
        && name.chars().count() <= USER_CHARS
        && name.chars().all(may_stand_in_name)
        && name.chars().any(is_visible)
        && !name.starts_with(' ')
        && !name.ends_with(' ');
    if fits { Ok(name) } else { Err(ErrorCode::BadName) }
}

fn is_letter_or_digit(c: char) -> bool {
    (c.is_alphabetic() || c.general_category() == GeneralCategory::DecimalNumber) && !is_blank(c)
}

fn may_stand_in_name(c: char) -> bool {
    use GeneralCategoryGroup::{Other, Separator};
    c == ' ' || !(is_blank(c) || matches!(c.general_category_group(), Other | Separator))
}

fn is_visible(c: char) -> bool {
    use GeneralCategoryGroup::{Letter, Number, Punctuation, Symbol};
    matches!(c.general_category_group(), Letter | Number | Punctuation | Symbol)
}

/// Characters that Unicode counts as letters, marks or symbols and that show nothing: fillers, variation
/// selectors, the grapheme joiner, the Braille blank.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}'
    )
}
