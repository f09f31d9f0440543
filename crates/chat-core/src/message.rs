use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{ErrorCode, Limits};

/// What may be a message's `body`.
///
/// A host service that sends more than text brings its own type; the adapters do not see it. A body that
/// parses is stored and delivered exactly as it was sent.
///
/// # Contract
///
/// - [`parse`](Self::parse) depends on nothing but its arguments and is quick: it runs in the session's task.
/// - `parse` takes what [`to_json`](Self::to_json) makes of a valid message, for the same message.
/// - [`kind`](Self::kind) says nothing of the content.
pub trait Message: Sized + Send + Sync + 'static {
    /// Reads and checks a body. It is one JSON object in which no key stands twice.
    ///
    /// # Errors
    ///
    /// Why it is no message of this service.
    fn parse(body: &RawValue, limits: &Limits) -> Result<Self, BodyError>;

    /// The message as one JSON object.
    fn to_json(&self) -> String;

    /// What kind of message it is, for logs.
    fn kind(&self) -> &'static str;
}

/// Why a body is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It says nothing.
    Empty,
    /// It is longer than its kind allows.
    TooLarge,
    /// It is something else.
    Invalid,
}

impl From<BodyError> for ErrorCode {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Empty => Self::EmptyBody,
            BodyError::TooLarge => Self::BodyTooLarge,
            BodyError::Invalid => Self::BadBody,
        }
    }
}

/// The standard message: 1 to [`WireLimits::max_body_bytes`] bytes of text that is not only white space and has no
/// control characters but tab and line ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    text: String,
}

impl Text {
    /// A text to post.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Message for Text {
    fn parse(body: &RawValue, limits: &Limits) -> Result<Self, BodyError> {
        let message: Self = serde_json::from_str(body.get()).map_err(|_| BodyError::Invalid)?;
        let allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
        if message.text.len() > limits.wire.max_body_bytes {
            Err(BodyError::TooLarge)
        } else if message.text.trim().is_empty() {
            Err(BodyError::Empty)
        } else if message.text.chars().all(allowed) {
            Ok(message)
        } else {
            Err(BodyError::Invalid)
        }
    }

    fn to_json(&self) -> String {
        serde_json::json!({ "text": self.text }).to_string()
    }

    fn kind(&self) -> &'static str {
        "text"
    }
}
