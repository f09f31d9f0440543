use std::fmt;

/// The token in a `hello`: credentials, whose form only the host knows.
///
/// Its `Debug` does not show it.
///
/// ```
/// use chat_proto::command::Token;
///
/// let token = Token::new("secret");
/// assert_eq!((token.as_str(), format!("{token:?}").as_str()), ("secret", "Token(..)"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Returns a token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// Returns the token as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
