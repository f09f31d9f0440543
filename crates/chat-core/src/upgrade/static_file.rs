use crate::{Answer, RequestHead};

/// A file that an [`Endpoint`](crate::Endpoint) serves from memory: see
/// [`Endpoint::with_files`](crate::Endpoint::with_files).
#[derive(Clone, Copy, Debug)]
pub struct StaticFile {
    /// The path of the request, such as `/app.js`.
    pub path: &'static str,
    /// The media type.
    pub content_type: &'static str,
    /// The content.
    pub content: &'static [u8],
    /// The same content, compressed by gzip, for clients that accept it.
    pub gzip: Option<&'static [u8]>,
    /// The version of the content: letters, digits and `-`. It becomes the `ETag`.
    pub version: &'static str,
    /// True if the content of this path never changes. Clients then keep it for a year and do not ask again. Otherwise
    /// they ask each time, and get a 304 if they have the version.
    pub is_immutable: bool,
    /// Further header lines, such as a content security policy. The names are lower case.
    pub headers: &'static [(&'static str, &'static str)],
}

impl StaticFile {
    /// Returns the answer to a GET or HEAD.
    pub(super) fn answer(&self, head: &RequestHead<'_>) -> Answer {
        // The tag is weak, because it names the compressed content too.
        let tag = format!("W/\"{}\"", self.version);
        let cache = if self.is_immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut headers = vec![
            ("etag", tag),
            ("cache-control", cache.to_owned()),
            ("vary", "accept-encoding".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        headers.extend(self.headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        if self.is_known(head) {
            return Answer::with_parts(304, headers, &[]);
        }
        headers.push(("content-type", self.content_type.to_owned()));
        match self.gzip.filter(|_| accepts_gzip(head)) {
            Some(gzip) => {
                headers.push(("content-encoding", "gzip".to_owned()));
                Answer::with_parts(200, headers, gzip)
            }
            None => Answer::with_parts(200, headers, self.content),
        }
    }

    /// True if the client has this version (RFC 9110, section 13.1.2). The comparison is weak.
    fn is_known(&self, head: &RequestHead<'_>) -> bool {
        items(head, "if-none-match").any(|tag| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            tag == "*" || tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(self.version)
        })
    }
}

/// True if `Accept-Encoding` names gzip with a weight above 0 (RFC 9110, section 12.5.3).
fn accepts_gzip(head: &RequestHead<'_>) -> bool {
    items(head, "accept-encoding").any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip
            && !parts.any(|part| matches!(part.split_once('='), Some(("q" | "Q", weight)) if is_zero(weight)))
    })
}

fn is_zero(weight: &str) -> bool {
    weight.trim().bytes().all(|byte| matches!(byte, b'0' | b'.'))
}

/// Returns the items of a header whose value is a list.
fn items<'a>(head: &'a RequestHead<'_>, name: &'a str) -> impl Iterator<Item = &'a str> {
    head.headers
        .iter()
        .filter(move |(header, _)| header.eq_ignore_ascii_case(name))
        .filter_map(|(_, value)| str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}
