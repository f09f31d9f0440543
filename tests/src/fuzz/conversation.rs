use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use chat_conformance::client::{Frame, Request};

/// The line between two conversations of a file.
const SEPARATOR: &str = "---";

/// A conversation of one or more connections with a server, as the steps of the clients.
///
/// A file has one step per line, with the number of the connection first. Empty lines and lines that start with `#`
/// have no effect. A line `---` separates two conversations.
///
/// ```
/// use chat_tests::fuzz::Conversation;
///
/// let file = "0 upgrade /ws?name=Ann\n0 text {\"type\":\"ping\"}\n0 bytes \\x88\\x80\\0\\0\\0\\0\n0 wait\n";
/// let conversation: Conversation = file.parse()?;
/// assert_eq!(conversation.to_string().parse::<Conversation>()?, conversation);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The steps, in the order in which they are taken.
    pub steps: Vec<Step>,
}

/// A step of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The number of the connection. The first step of a number opens its connection.
    pub connection: u8,
    /// The action of the client.
    pub action: Action,
}

/// An action of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends a valid upgrade request for a target.
    Upgrade(String),
    /// Sends a text in one valid frame.
    Text(String),
    /// Sends bytes.
    Bytes(Vec<u8>),
    /// Waits until the server sends something, for a short time.
    Wait,
    /// Stops reading.
    Block,
    /// Ends the sending side of the connection.
    Finish,
    /// Resets the connection.
    Reset,
}

impl Conversation {
    /// Parses a file of conversations.
    pub fn parse_all(file: &str) -> Result<Vec<Self>> {
        let mut conversations = vec![Self::default()];
        for (number, line) in (1..).zip(file.lines()) {
            if line == SEPARATOR {
                conversations.push(Self::default());
            } else if !line.is_empty() && !line.starts_with('#') {
                let step = line.parse().with_context(|| format!("line {number}"))?;
                conversations.last_mut().context("no conversation")?.steps.push(step);
            }
        }
        conversations.retain(|conversation| !conversation.steps.is_empty());
        Ok(conversations)
    }

    /// Writes a file of conversations.
    pub fn write_all(conversations: &[Self]) -> String {
        let texts: Vec<_> = conversations.iter().map(ToString::to_string).collect();
        texts.join(&format!("{SEPARATOR}\n"))
    }
}

impl Action {
    /// Returns the bytes that the action sends.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Upgrade(target) => Some(Request::handshake("localhost", target).encode()),
            Self::Text(text) => Some(Frame::text(text).encode()),
            Self::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl FromStr for Conversation {
    type Err = Error;

    fn from_str(file: &str) -> Result<Self> {
        let mut all = Self::parse_all(file)?;
        ensure!(all.len() <= 1, "{} conversations", all.len());
        Ok(all.pop().unwrap_or_default())
    }
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|Step { connection, action }| writeln!(f, "{connection} {action}"))
    }
}

impl FromStr for Step {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let (connection, action) = line.split_once(' ').context("no action")?;
        let (name, rest) = action.split_once(' ').unwrap_or((action, ""));
        let action = match name {
            "upgrade" => Action::Upgrade(rest.to_owned()),
            "text" => Action::Text(rest.to_owned()),
            "bytes" => Action::Bytes(unescape(rest)?),
            "wait" => Action::Wait,
            "block" => Action::Block,
            "finish" => Action::Finish,
            "reset" => Action::Reset,
            other => bail!("no action is named {other}"),
        };
        Ok(Self { connection: connection.parse()?, action })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgrade(text) if is_line(text) => write!(f, "upgrade {text}"),
            Self::Text(text) if is_line(text) => write!(f, "text {text}"),
            Self::Upgrade(_) | Self::Text(_) | Self::Bytes(_) => {
                write!(f, "bytes {}", self.bytes().unwrap_or_default().escape_ascii())
            }
            Self::Wait => f.write_str("wait"),
            Self::Block => f.write_str("block"),
            Self::Finish => f.write_str("finish"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

fn is_line(text: &str) -> bool {
    !text.contains(['\n', '\r'])
}

/// Reverses [`escape_ascii`](slice::escape_ascii). A character that is not ASCII stands for its bytes of UTF-8.
fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, length) = match (first, after) {
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                (u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?, 4)
            }
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'0', ..]) => (0, 2),
            (b'\\', [quoted @ (b'\\' | b'\'' | b'"'), ..]) => (*quoted, 2),
            (b'\\', _) => bail!("an unknown escape in {text}"),
            (byte, _) => (*byte, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_conversations_reads_back() -> Result<()> {
        let every_byte = Action::Bytes((0..=u8::MAX).collect());
        let texts = ["/ws", "{\"a\":\"\\\\ \u{2028}\"}"].map(str::to_owned);
        let actions = [
            vec![
                Action::Upgrade(texts[0].clone()),
                Action::Text(texts[1].clone()),
                Action::Text(String::new()),
            ],
            vec![every_byte, Action::Wait, Action::Block, Action::Finish, Action::Reset],
        ];
        let conversations = actions.map(|actions| Conversation {
            steps: actions.into_iter().map(|action| Step { connection: 3, action }).collect(),
        });
        assert_eq!(Conversation::parse_all(&Conversation::write_all(&conversations))?, conversations);
        // A text of two lines is sent as the same bytes.
        let text = Action::Text("a\nb".to_owned());
        let Step { action, .. } = format!("0 {text}").parse()?;
        assert_eq!(action.bytes(), text.bytes());
        assert!("0 bytes \\q".parse::<Step>().is_err() && "0 shout".parse::<Step>().is_err());
        Ok(())
    }
}
