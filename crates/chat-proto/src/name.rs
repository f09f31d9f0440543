use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::is_nfc;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use crate::ErrorCode;

const MAX_BYTES: usize = 64;

/// The name of a room: 1 to 64 bytes of letters and digits of any script, `-` and `_`, starting with a
/// letter or digit, in NFC and in lower case.
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
    /// A character is not a letter, a digit, `-` or `_`.
    #[error("a room name has only letters, digits, - and _")]
    Character,
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
}

impl FromStr for RoomName {
    type Err = InvalidRoomName;

    fn from_str(name: &str) -> Result<Self, InvalidRoomName> {
        let allowed = |c: char| is_letter_or_digit(c) || c == '-' || c == '_';
        if name.len() > MAX_BYTES {
            return Err(InvalidRoomName::TooLong);
        }
        let first = name.chars().next().ok_or(InvalidRoomName::Empty)?;
        if !is_letter_or_digit(first) || is_combining_mark(first) {
            return Err(InvalidRoomName::FirstCharacter);
        }
        if !name.chars().all(allowed) {
            return Err(InvalidRoomName::Character);
        }
        if !is_nfc(name) {
            return Err(InvalidRoomName::NotNormalized);
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

fn is_letter_or_digit(c: char) -> bool {
    (c.is_alphabetic() || c.general_category() == GeneralCategory::DecimalNumber) && !is_blank(c)
}

/// Returns true if a character is invisible although Unicode counts it as a letter, a mark or a symbol: fillers,
/// variation selectors, the grapheme joiner and the Braille blank.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}'
    )
}
