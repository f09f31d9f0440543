//! A request of a page that asks what its handshake would be answered. A browser shows a page no more of a refused
//! handshake than the close code 1006.

use super::{OriginPolicy, RequestHead, origin};

/// The header lines of a handshake that a probe does not have. The key is that of RFC 6455 section 1.3.
const HANDSHAKE: [(&str, &[u8]); 4] = [
    ("connection", b"Upgrade"),
    ("upgrade", b"websocket"),
    ("sec-websocket-version", b"13"),
    ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
];

impl<'a> RequestHead<'a> {
    /// Returns the handshake that a probe asks about: a GET with `application/json` in `Accept`, and without `Upgrade`.
    /// A request of a page on another origin must have `Origin`.
    ///
    /// ```
    /// use chat_proto::Limits;
    /// use chat_proto::handshake::{OriginPolicy, Refusal, RequestHead, Version, decide};
    ///
    /// let mut probe = RequestHead {
    ///     method: "GET",
    ///     version: Version::Http11,
    ///     target: "/ws?name=",
    ///     headers: vec![("Host", b"chat.example"), ("Accept", b"application/json")],
    /// };
    /// let handshake = probe.probed().expect("a probe");
    /// assert_eq!(decide(&handshake, &OriginPolicy::SameOrigin, &Limits::default()), Err(Refusal::BadName));
    ///
    /// probe.headers.push(("Upgrade", b"websocket"));
    /// assert!(probe.probed().is_none());
    /// ```
    pub fn probed(&self) -> Option<RequestHead<'a>> {
        let accepts = self.tokens("accept").any(|kind| {
            let kind = kind.split_once(';').map_or(kind, |(kind, _)| kind);
            kind.trim_end().eq_ignore_ascii_case("application/json")
        });
        // A page of another site can send a GET without `Origin`, with cookies, and cannot read the answer.
        let site = self.single("sec-fetch-site");
        let hides_origin = !self.has("origin") && matches!(site, Some("cross-site" | "same-site"));
        if self.method != "GET" || !accepts || self.has("upgrade") || hides_origin {
            return None;
        }
        let is_other = |name: &str| HANDSHAKE.iter().all(|(line, _)| !name.eq_ignore_ascii_case(line));
        let mut handshake = self.clone();
        handshake.headers.retain(|(name, _)| is_other(name));
        handshake.headers.extend(HANDSHAKE);
        Some(handshake)
    }

    /// Returns true if a browser asks whether a page of another origin may send a probe with credentials in
    /// `Authorization`.
    pub fn is_probe_preflight(&self) -> bool {
        self.method == "OPTIONS"
            && self.has("origin")
            && self.single("access-control-request-method") == Some("GET")
    }
}

impl OriginPolicy {
    /// Returns the header lines that let the page read the answer to its probe. A page that may not connect can read
    /// it too, but not the answer to a request with cookies.
    pub fn cross_origin_headers(&self, head: &RequestHead<'_>) -> Vec<(&'static str, String)> {
        let mut headers =
            vec![("vary", "Origin".to_owned()), ("access-control-expose-headers", "Retry-After".to_owned())];
        let host = head.single("host").unwrap_or_default();
        match head.single("origin").filter(|origin| origin::allows(self, origin, host)) {
            Some(origin) => headers.extend([
                ("access-control-allow-origin", origin.to_owned()),
                ("access-control-allow-credentials", "true".to_owned()),
            ]),
            None => headers.push(("access-control-allow-origin", "*".to_owned())),
        }
        headers
    }
}
