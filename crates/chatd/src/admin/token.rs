use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use subtle::ConstantTimeEq;

/// The lengths of a token, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=1_024;

/// The bearer token of the admin listener.
pub(super) struct Token(Vec<u8>);

impl Token {
    /// Reads a token from a file. The error is one line that does not show the token.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let fails = |problem: &dyn fmt::Display| format!("--admin-token: {}: {problem}", path.display());
        // A longer file is refused below, without reading the rest.
        let limit = *LENGTHS.end() as u64 + 3;
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text));
        read.map_err(|error| fails(&error))?;
        Self::parse(&text)
            .ok_or_else(|| fails(&"the file must have one line of 16 to 1024 visible ASCII characters"))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_valid = LENGTHS.contains(&line.len()) && line.iter().all(u8::is_ascii_graphic);
        is_valid.then(|| Self(line.to_owned()))
    }

    /// Returns true if this is the value of an `Authorization` header with the token. The time does not depend on the
    /// content of a token of the right length.
    pub(super) fn authorizes(&self, authorization: &[u8]) -> bool {
        let Some((scheme, token)) = authorization.split_at_checked(7) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ") && token.ct_eq(&self.0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_of_visible_characters() {
        let is_valid = |text: &str| Token::parse(text.as_bytes()).is_some();
        for text in ["0123456789abcdef", "0123456789abcdef\n", "0123456789abcdef\r\n", &"x".repeat(1_024)] {
            assert!(is_valid(text), "{text:?}");
        }
        let too_long = "x".repeat(1_025);
        for text in [
            "",
            "\n",
            "0123456789abcde",
            "0123456789 abcdef",
            "0123456789abcdef\n\n",
            "0123456789abcdé",
            &too_long,
        ] {
            assert!(!is_valid(text), "{text:?}");
        }
    }

    #[test]
    fn only_the_whole_token_authorizes() {
        let token = Token::parse(b"0123456789abcdef").expect("a token");
        for right in ["Bearer 0123456789abcdef", "bearer 0123456789abcdef"] {
            assert!(token.authorizes(right.as_bytes()), "{right}");
        }
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef0",
            "Bearer  0123456789abcdef",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
        ] {
            assert!(!token.authorizes(wrong.as_bytes()), "{wrong}");
        }
    }
}
