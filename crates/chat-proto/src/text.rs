use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Limits, has_visible};

/// Bytes of JSON beside the text that do not count: `{"text":}`, white space, and a small field of a client.
const FREE_BYTES: usize = 64;

/// The body of a standard message: a text.
///
/// ```
/// use chat_proto::Text;
///
/// assert_eq!(serde_json::to_string(&Text::new("hi"))?, r#"{"text":"hi"}"#);
/// assert_eq!(serde_json::from_str::<Text>(r#"{"text":"hi"}"#)?.as_str(), "hi");
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// A server accepts 1 to [`WireLimits::max_body_bytes`](crate::WireLimits::max_body_bytes) bytes. The text has at least
/// one [visible](crate::has_visible) character, and tab and line ends are its only control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    text: String,
}

impl Text {
    /// Returns a message of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// Reads the body of a message and checks it. Fields beside the text are ignored, but their bytes count.
    ///
    /// ```
    /// use chat_proto::{InvalidText, Limits, Text};
    /// use serde_json::value::RawValue;
    ///
    /// let limits = Limits::default();
    /// let body = RawValue::from_string(r#"{"text":"hi"}"#.to_owned())?;
    /// assert_eq!(Text::from_body(&body, &limits), Ok(Text::new("hi")));
    ///
    /// let blank = RawValue::from_string(r#"{"text":" "}"#.to_owned())?;
    /// assert_eq!(Text::from_body(&blank, &limits), Err(InvalidText::Empty));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The rule that the body breaks. Of several, the first in the order of [`InvalidText`].
    pub fn from_body(body: &RawValue, limits: &Limits) -> Result<Self, InvalidText> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            text: Cow<'a, str>,
        }
        let body = body.get();
        let Body { text } = serde_json::from_str(body).map_err(|_| InvalidText::NoText)?;
        let text_json = match text {
            Cow::Borrowed(text) => text.len() + "\"\"".len(),
            Cow::Owned(_) => json_len_of_text(body),
        };
        let beside = (body.len() - text_json).saturating_sub(FREE_BYTES);
        if text.len() + beside > limits.wire.max_body_bytes {
            Err(InvalidText::TooLong)
        } else if has_forbidden_control(&text) {
            Err(InvalidText::ControlCharacter)
        } else if has_visible(&text) {
            Ok(Self { text: text.into_owned() })
        } else {
            Err(InvalidText::Empty)
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The reason why a body is not a [`Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidText {
    /// The body has no string `text`.
    #[error("the body must have a string `text`")]
    NoText,
    /// The text and the JSON beside it are longer than
    /// [`WireLimits::max_body_bytes`](crate::WireLimits::max_body_bytes).
    #[error("the message is too long")]
    TooLong,
    /// The text has a control character other than tabs and line ends.
    #[error("`text` has a control character other than tabs and line ends")]
    ControlCharacter,
    /// The text has no visible character.
    #[error("the message has no visible character")]
    Empty,
}

/// Returns the bytes of the JSON of the text in a body.
fn json_len_of_text(body: &str) -> usize {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        text: &'a RawValue,
    }
    serde_json::from_str::<Body<'_>>(body).map_or(0, |body| body.text.get().len())
}

/// Returns true if a text has a control character other than tabs and line ends.
fn has_forbidden_control(text: &str) -> bool {
    // Control characters beyond ASCII start with the byte 0xc2. Without an early end, the loop needs no branches.
    let may_have =
        text.bytes().fold(false, |may, byte| may | (byte < b' ') | (byte == 0x7f) | (byte == 0xc2));
    may_have && text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}
