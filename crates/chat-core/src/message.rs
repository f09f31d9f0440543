use chat_proto::InvalidText;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{ErrorCode, Limits, Text};

/// A type of message: the `body` of a `send` command.
///
/// A service that sends more than text defines its own type, with [`Builder::messages`](crate::Builder::messages). A
/// body that parses is stored and delivered exactly as it was sent. A type that serde reads and writes needs no code:
///
/// ```
/// use chat_core::{Chat, Message};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Poll {
///     question: String,
///     options: Vec<String>,
/// }
///
/// impl Message for Poll {}
///
/// let chat = Chat::builder().messages::<Poll>().build();
/// # drop(chat);
/// ```
///
/// # Contract
///
/// - [`parse`](Self::parse) depends only on its arguments. It is quick, because it runs in the task of a session.
/// - `parse` accepts the JSON that [`to_json`](Self::to_json) makes of a valid message.
/// - [`kind`](Self::kind) contains no part of the message's content.
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Reads a body and checks it. The body is one JSON object in which no key occurs twice.
    ///
    /// # Errors
    ///
    /// [`BodyError`] if the body is not a message of this type. By default, serde decides.
    fn parse(body: &RawValue, _limits: &Limits) -> Result<Self, BodyError> {
        serde_json::from_str(body.get()).map_err(|_| BodyError::Invalid)
    }

    /// Returns the message as one JSON object.
    ///
    /// # Errors
    ///
    /// The error of serde if it cannot write the message as JSON.
    fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Returns the kind of the message, for logs.
    fn kind(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

const INVALID: &str = "the body is not a message of this service";
const NO_TEXT: &str = "the body must have a string `text`";
const CONTROL_CHARACTER: &str = "`text` has a control character other than tabs and line ends";

/// An error of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The message has no visible character.
    #[error("the message has no visible character")]
    Empty,
    /// The message is longer than its type allows.
    #[error("the message is too long")]
    TooLarge,
    /// The body is not a message of this type.
    #[error("{INVALID}")]
    Invalid,
    /// The body breaks this rule of its type. The client gets the text.
    #[error("{0}")]
    Rule(&'static str),
}

impl From<BodyError> for ErrorCode {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Empty => Self::EmptyBody,
            BodyError::TooLarge => Self::BodyTooLarge,
            BodyError::Invalid => Self::BadBody(INVALID),
            BodyError::Rule(rule) => Self::BadBody(rule),
        }
    }
}

/// A text is accepted as [`Text`] says: it has at least one [visible](crate::has_visible) character, and tab and line
/// ends are its only control characters. Other fields of the body are stored and delivered. The text and the JSON
/// beside it have at most [`WireLimits::max_body_bytes`](crate::WireLimits::max_body_bytes) together; 64 bytes beside
/// the text do not count. In code of a service, a message is checked when it is posted:
///
/// ```
/// use chat_core::{BodyError, Limits, Message, RawValue, Text};
///
/// let body = RawValue::from_string(Text::new("hi").to_json()?)?;
/// assert_eq!(body.get(), r#"{"text":"hi"}"#);
/// assert_eq!(Text::parse(&body, &Limits::default())?.as_str(), "hi");
///
/// let blank = RawValue::from_string(Text::new("  ").to_json()?)?;
/// assert_eq!(Text::parse(&blank, &Limits::default()), Err(BodyError::Empty));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Message for Text {
    fn parse(body: &RawValue, limits: &Limits) -> Result<Self, BodyError> {
        Self::from_body(body, limits).map_err(|error| match error {
            InvalidText::NoText => BodyError::Rule(NO_TEXT),
            InvalidText::ControlCharacter => BodyError::Rule(CONTROL_CHARACTER),
            InvalidText::TooLong => BodyError::TooLarge,
            InvalidText::Empty => BodyError::Empty,
            _ => BodyError::Invalid,
        })
    }

    fn kind(&self) -> &'static str {
        "text"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_beside_the_text_count_towards_the_limit_of_a_body() {
        let limits = Limits::default().with(|limits| limits.wire.max_body_bytes = 1_000);
        let parse = |body: String| {
            let body = RawValue::from_string(body).expect("JSON");
            Text::parse(&body, &limits).map(|text| text.as_str().len())
        };
        let body = |text: usize, beside: usize| {
            format!(r#"{{"text":"{}","x":"{}"}}"#, "t".repeat(text), "x".repeat(beside))
        };
        assert_eq!(parse(format!(r#"{{ "text" : "{}" }}"#, "t".repeat(1_000))), Ok(1_000));
        assert_eq!(
            parse(format!(r#"{{"text":"{}"}}"#, "\\u0041".repeat(1_000))),
            Ok(1_000),
            "escapes do not count"
        );
        assert_eq!(parse(body(1_000, 40)), Ok(1_000), "a small field is free");
        assert_eq!(parse(body(500, 540)), Ok(500));
        assert_eq!(parse(body(500, 560)), Err(BodyError::TooLarge));
        assert_eq!(parse(body(1, 16_000)), Err(BodyError::TooLarge));
    }
}
