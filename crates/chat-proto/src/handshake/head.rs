use percent_encoding::percent_decode_str;

use super::Refusal;

/// The head of an HTTP request as plain data.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The HTTP version.
    pub version: Version,
    /// Path and query, without scheme and authority. A target in absolute form replaces the value of `Host`
    /// (RFC 9112 section 3.2.2).
    pub target: &'a str,
    /// The header lines in their order. Names may have any case.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// The HTTP version of a request, as far as the handshake distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// HTTP/1.0 or older, which has no upgrade.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2 or later, which has no `Upgrade` header.
    Later,
}

impl<'a> RequestHead<'a> {
    /// Returns the path of the request, still percent-encoded.
    pub fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    pub(super) fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// Returns the value of a header that occurs exactly once.
    pub(super) fn single(&self, name: &str) -> Option<&'a str> {
        let mut values = self.values(name);
        let value = values.next()?;
        values.next().is_none().then(|| std::str::from_utf8(value).ok()).flatten().map(trim)
    }

    /// Returns the members of a comma-separated header, over all its lines.
    pub(super) fn tokens<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.values(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(trim)
            .filter(|token| !token.is_empty())
    }

    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    pub(super) fn size(&self) -> usize {
        let lines: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        self.method.len() + self.target.len() + 12 + lines
    }

    /// Returns the first `name` in the query, percent-decoded. It must be UTF-8.
    pub(super) fn query_name(&self) -> Result<Option<String>, Refusal> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let Some(value) = query.split('&').find_map(|pair| pair.strip_prefix("name=")) else {
            return Ok(None);
        };
        let spaced = value.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| Refusal::BadName)?;
        Ok(Some(decoded.into_owned()))
    }
}

impl RequestHead<'_> {
    /// Returns the first value of a parameter in the query, percent-decoded. Returns `None` if there is none, or if it
    /// is not UTF-8. `name` is the name as it is in the target.
    ///
    /// ```
    /// use chat_proto::handshake::{RequestHead, Version};
    ///
    /// let target = "/ws?name=ann&token=a%2Fb";
    /// let head = RequestHead { method: "GET", version: Version::Http11, target, headers: Vec::new() };
    /// assert_eq!(head.query("token").as_deref(), Some("a/b"));
    /// ```
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let (_, value) =
            query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
        let spaced = value.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    }
}

/// Returns a header's value without the white space around it (RFC 9110 section 5.6.3).
fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}
