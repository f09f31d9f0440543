use serde::{Deserialize, Serialize};

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

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
