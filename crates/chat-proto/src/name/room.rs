use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use super::{belongs_to, is_letter, is_mark};
use crate::ErrorCode;

const MAX_BYTES: usize = 64;

/// The name of a room: 1 to 64 bytes of letters and digits of any script, marks after a letter of their script, `-` and
/// `_`, starting with a letter or digit, in NFC and in lower case. Characters that only repeat others in another form,
/// such as full-width letters, are not allowed.
///
/// A value of this type always follows these rules, so code that takes one does not check it again. A clone
/// shares the text.
///
/// # Examples
///
/// ```
/// use chat_proto::{InvalidRoomName, RoomName};
///
/// let room: RoomName = "team-7".parse()?;
/// assert_eq!(room.as_str(), "team-7");
/// assert_eq!("Team-7".parse::<RoomName>(), Err(InvalidRoomName::UpperCase));
/// # Ok::<(), InvalidRoomName>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(Arc<str>);

/// The rule that a room name breaks.
///
/// The text of this error repeats nothing of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRoomName {
    /// The name is empty.
    #[error("a room name must not be empty")]
    Empty,
    /// The name is longer than 64 bytes.
    #[error("a room name has at most 64 bytes")]
    TooLong,
    /// The first character is not a letter or a digit.
    #[error("a room name starts with a letter or a digit")]
    FirstCharacter,
    /// A character is not a letter, a mark after a letter of its script, a digit, `-` or `_`.
    #[error("a room name has only letters, marks after a letter, digits, - and _")]
    Character,
    /// A character is another form of a different one, such as a full-width letter.
    #[error("a room name has no full-width, styled or other compatibility characters")]
    Compatibility,
    /// The name is not in Unicode's normalization form C.
    #[error("a room name must be in NFC")]
    NotNormalized,
    /// The name is not in lower case.
    #[error("a room name must be in lower case")]
    UpperCase,
}

impl From<InvalidRoomName> for ErrorCode {
    fn from(_: InvalidRoomName) -> Self {
        Self::BadRoom
    }
}

impl RoomName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a name that follows the rules.
    pub(super) fn trusted(name: &str) -> Self {
        Self(name.into())
    }
}

impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = InvalidRoomName;

    fn from_str(name: &str) -> Result<Self, InvalidRoomName> {
        if name.len() > MAX_BYTES {
            return Err(InvalidRoomName::TooLong);
        }
        if is_plain(name) {
            return Ok(Self(name.into()));
        }
        let first = name.chars().next().ok_or(InvalidRoomName::Empty)?;
        if !is_letter(first) && !is_digit(first) {
            return Err(InvalidRoomName::FirstCharacter);
        }
        if !is_nfc(name) {
            return Err(InvalidRoomName::NotNormalized);
        }
        if name.chars().any(is_compatibility) {
            return Err(InvalidRoomName::Compatibility);
        }
        if !has_allowed_characters(name) {
            return Err(InvalidRoomName::Character);
        }
        // Some upper-case letters, such as the mathematical ones, have no lower-case form.
        if name.contains(char::is_uppercase) || name.to_lowercase() != name {
            return Err(InvalidRoomName::UpperCase);
        }
        Ok(Self(name.into()))
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

impl<'de> Deserialize<'de> for RoomName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Returns true for a valid name in ASCII, which needs no look at the tables of Unicode.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

fn has_allowed_characters(name: &str) -> bool {
    let (mut letter, mut previous) = (None, None);
    name.chars().all(|c| {
        let is_spelled_twice =
            matches!((previous, c), (Some('\u{e4d}'), '\u{e32}') | (Some('\u{ecd}'), '\u{eb2}'));
        previous = Some(c);
        if is_mark(c) {
            return letter.is_some_and(|letter| belongs_to(c, letter));
        }
        letter = is_letter(c).then_some(c);
        !is_spelled_twice && !is_old_jamo(c) && (letter.is_some() || is_digit(c) || c == '-' || c == '_')
    })
}

fn is_digit(c: char) -> bool {
    c.general_category() == GeneralCategory::DecimalNumber
}

/// Returns true for parts of a Hangul syllable. RFC 8264, section 9.9, excludes them: they look like letters.
fn is_old_jamo(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97f}' | '\u{d7b0}'..='\u{d7ff}')
}

/// Returns true if NFKC replaces a character by others (RFC 8264, section 9.17). Some letters of Armenian, Thai, Lao
/// and Korean are exceptions, because people write them in everyday words.
fn is_compatibility(c: char) -> bool {
    let is_everyday_letter = matches!(
        c,
        '\u{587}' | '\u{e33}' | '\u{eb3}' | '\u{edc}' | '\u{edd}' | '\u{3131}'..='\u{3163}'
            | '\u{3165}'..='\u{318e}'
    );
    !is_everyday_letter && std::iter::once(c).nfkc().ne([c])
}
