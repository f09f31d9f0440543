//! The opening handshake: each row of protocol.md section 1 that a request head decides.

use chat_proto::handshake::{Accept, OriginPolicy, Refusal, RequestHead, Version, decide};
use chat_proto::{Limits, User};
use proptest::prelude::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request to build on: the good one, with lines taken away and added.
#[derive(Clone)]
struct Request {
    method: String,
    version: Version,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
}

impl Request {
    fn good() -> Self {
        let headers = [
            ("Host", "chat.example"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", "13"),
        ];
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.into()))
            .to_vec();
        Self {
            method: "GET".to_owned(),
            version: Version::Http11,
            target: "/ws".to_owned(),
            headers,
        }
    }

    fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    fn set(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).with(name, value)
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            version: self.version,
            target: &self.target,
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()))
                .collect(),
        }
    }

    fn decide(&self) -> Result<Accept, Refusal> {
        self.decide_under(&OriginPolicy::SameOrigin)
    }

    fn decide_under(&self, origins: &OriginPolicy) -> Result<Accept, Refusal> {
        decide(&self.head(), origins, &Limits::default())
    }
}

#[test]
fn the_example_of_rfc_6455_is_answered_as_there() {
    let accept = Request::good().decide().unwrap();
    assert_eq!(accept.accept_key, ACCEPT);
    assert_eq!(
        accept.headers(),
        [
            ("upgrade", "websocket".to_owned()),
            ("connection", "Upgrade".to_owned()),
            ("sec-websocket-accept", ACCEPT.to_owned()),
        ]
    );
}

#[test]
fn a_handshake_that_keeps_the_rules_is_accepted() {
    let good = Request::good;
    let cases = [
        (
            "H7 several tokens",
            good().set("Connection", "keep-alive, Upgrade"),
        ),
        (
            "H7 several lines",
            good()
                .set("Connection", "keep-alive")
                .with("Connection", "Upgrade"),
        ),
        (
            "H7 any case",
            good().set("connection", "UPGRADE").set("UPGRADE", "WebSocket"),
        ),
        ("H7 several protocols", good().set("Upgrade", "foo, websocket")),
        (
            "H7 protocols over lines",
            good().set("Upgrade", "foo").with("upgrade", "websocket"),
        ),
        ("H7 empty list members", good().set("Connection", ", ,Upgrade,")),
        ("H7 tabs", good().set("Connection", "\tkeep-alive\t,\tupgrade\t")),
        (
            "H9 blanks around the key",
            good().set("Sec-WebSocket-Key", format!(" {KEY}\t")),
        ),
        ("H14 an empty body", good().with("Content-Length", "0")),
        (
            "H15 nothing in the offer",
            good().with("Sec-WebSocket-Protocol", ""),
        ),
        (
            "H16 deflate",
            good().with("Sec-WebSocket-Extensions", "permessage-deflate"),
        ),
        ("H18 no origin", good().without("Origin")),
        ("another query", good().target("/ws?ticket=abc&nickname=x")),
    ];
    for (case, request) in cases {
        let expected = Accept {
            accept_key: ACCEPT.to_owned(),
            subprotocol: false,
            guest: None,
        };
        assert_eq!(request.decide(), Ok(expected), "{case}");
    }
}

#[test]
fn a_handshake_that_breaks_a_rule_is_refused() {
    use Refusal::{BadHandshake, HeaderTooLarge, MethodNotAllowed, UnsupportedVersion, UpgradeRequired};
    let good = Request::good;
    let short = "dGhlIHNhbXBsZSBub25j";
    let long = "dGhlIHNhbXBsZSBub25jZTE3";
    let many: Request = (0..400).fold(good(), |request, n| request.with(&format!("X-{n}"), [b'x'; 40]));
    let cases = [
        (
            "H2 plain GET",
            good().without("Upgrade").without("Connection"),
            UpgradeRequired,
        ),
        (
            "H2 plain GET with a body",
            good().without("Upgrade").with("Content-Length", "5"),
            UpgradeRequired,
        ),
        ("H3 POST", good().method("POST"), MethodNotAllowed),
        ("H3 HEAD", good().method("HEAD"), MethodNotAllowed),
        (
            "H3 CONNECT",
            good().method("CONNECT").version(Version::Later),
            MethodNotAllowed,
        ),
        ("H3 lower case", good().method("get"), MethodNotAllowed),
        (
            "H3 POST that is no handshake",
            good().method("POST").without("Upgrade"),
            MethodNotAllowed,
        ),
        ("H4 HTTP/1.0", good().version(Version::Http10), BadHandshake),
        (
            "H4 plain HTTP/1.0",
            good().version(Version::Http10).without("Upgrade"),
            BadHandshake,
        ),
        ("HTTP/2", good().version(Version::Later), BadHandshake),
        (
            "plain HTTP/2",
            good().version(Version::Later).without("Upgrade"),
            UpgradeRequired,
        ),
        ("H5 h2c", good().set("Upgrade", "h2c"), UpgradeRequired),
        (
            "H5 websocket inside",
            good().set("Upgrade", "xwebsocketx"),
            UpgradeRequired,
        ),
        (
            "H5 no token",
            good().set("Upgrade", "\u{a0}websocket"),
            UpgradeRequired,
        ),
        (
            "H5 not UTF-8",
            good().set("Upgrade", b"websocket\xff"),
            UpgradeRequired,
        ),
        ("H6 no Connection", good().without("Connection"), UpgradeRequired),
        (
            "H6 upgrade inside",
            good().set("Connection", "notupgrade"),
            UpgradeRequired,
        ),
        (
            "H6 keep-alive",
            good().set("Connection", "keep-alive"),
            UpgradeRequired,
        ),
        (
            "H8 no version",
            good().without("Sec-WebSocket-Version"),
            UnsupportedVersion,
        ),
        (
            "H8 version 8",
            good().set("Sec-WebSocket-Version", "8"),
            UnsupportedVersion,
        ),
        (
            "H8 version 013",
            good().set("Sec-WebSocket-Version", "013"),
            UnsupportedVersion,
        ),
        (
            "H8 two versions",
            good().with("Sec-WebSocket-Version", "8"),
            UnsupportedVersion,
        ),
        ("H9 no key", good().without("Sec-WebSocket-Key"), BadHandshake),
        ("H9 two keys", good().with("Sec-WebSocket-Key", KEY), BadHandshake),
        ("H9 empty key", good().set("Sec-WebSocket-Key", ""), BadHandshake),
        (
            "H9 15 bytes",
            good().set("Sec-WebSocket-Key", short),
            BadHandshake,
        ),
        ("H9 18 bytes", good().set("Sec-WebSocket-Key", long), BadHandshake),
        (
            "H9 no padding",
            good().set("Sec-WebSocket-Key", &KEY[..22]),
            BadHandshake,
        ),
        (
            "H9 not base64",
            good().set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j!!=="),
            BadHandshake,
        ),
        (
            "H9 other base64",
            good().set("Sec-WebSocket-Key", "____________________-w=="),
            BadHandshake,
        ),
        (
            "H9 wide space",
            good().set("Sec-WebSocket-Key", format!("\u{3000}{KEY}")),
            BadHandshake,
        ),
        ("H10 no Host", good().without("Host"), BadHandshake),
        ("H10 empty Host", good().set("Host", ""), BadHandshake),
        ("H10 two Hosts", good().with("Host", "chat.example"), BadHandshake),
        ("H10 Host not UTF-8", good().set("Host", b"\xff"), BadHandshake),
        (
            "H11 one long line",
            good().with("X-Long", vec![b'x'; 17_000]),
            HeaderTooLarge,
        ),
        (
            "H11 a long target",
            good().target(&"/".repeat(17_000)),
            HeaderTooLarge,
        ),
        ("H11 many lines", many, HeaderTooLarge),
        ("H14 a body", good().with("Content-Length", "5"), BadHandshake),
        (
            "H14 two lengths",
            good().with("Content-Length", "0").with("Content-Length", "5"),
            BadHandshake,
        ),
        (
            "H14 no length at all",
            good().with("Content-Length", "x"),
            BadHandshake,
        ),
        (
            "H14 chunked",
            good().with("Transfer-Encoding", "chunked"),
            BadHandshake,
        ),
        (
            "H14 both",
            good()
                .with("Content-Length", "0")
                .with("transfer-encoding", "chunked"),
            BadHandshake,
        ),
    ];
    for (case, request, refusal) in cases {
        assert_eq!(request.decide(), Err(refusal), "{case}");
    }
}

#[test]
fn the_size_of_a_head_is_that_of_its_bytes() {
    let request = |filler: usize| Request::good().with("X-Filler", vec![b'x'; filler]);
    let bytes = |request: &Request| {
        let lines: usize = request
            .headers
            .iter()
            .map(|(n, v)| format!("{n}: \r\n").len() + v.len())
            .sum();
        format!("{} {} HTTP/1.1\r\n", request.method, request.target).len() + lines
    };
    let room_left = Limits::default().max_head - bytes(&request(0));
    assert!(request(room_left).decide().is_ok());
    assert_eq!(request(room_left + 1).decide(), Err(Refusal::HeaderTooLarge));
}

#[test]
fn only_an_offered_subprotocol_is_echoed() {
    let offering = |lines: &[&str]| {
        lines.iter().fold(Request::good(), |request, line| {
            request.with("Sec-WebSocket-Protocol", line)
        })
    };
    for (lines, expected) in [
        (&[][..], Ok(false)),
        (&["chat.v1"], Ok(true)),
        (&["chat.v2, chat.v1"], Ok(true)),
        (&["chat.v2", "x , chat.v1"], Ok(true)),
        (&["chat.v1", "chat.v1"], Ok(true)),
        (&["", ","], Ok(false)),
        (&["", "chat.v1"], Ok(true)),
        (&["chat.v2"], Err(Refusal::UnsupportedSubprotocol)),
        (&["chat.v2, mqtt", "soap"], Err(Refusal::UnsupportedSubprotocol)),
        (&["CHAT.V1"], Err(Refusal::UnsupportedSubprotocol)),
        (&["chat.v10"], Err(Refusal::UnsupportedSubprotocol)),
        (&["chat.v1 chat.v2"], Err(Refusal::UnsupportedSubprotocol)),
    ] {
        let accept = offering(lines).decide();
        assert_eq!(
            accept
                .as_ref()
                .map(|accept| accept.subprotocol)
                .map_err(|refusal| *refusal),
            expected,
            "{lines:?}"
        );
        if let Ok(accept) = accept {
            let echoed = accept
                .headers()
                .contains(&("sec-websocket-protocol", "chat.v1".to_owned()));
            assert_eq!(Ok(echoed), expected, "{lines:?}");
        }
    }
}

#[test]
fn an_origin_is_compared_with_the_host() {
    let listed = OriginPolicy::SameOriginOr(vec!["https://good".to_owned(), "null".to_owned()]);
    let every = OriginPolicy::SameOriginOr(vec!["*".to_owned()]);
    let same = OriginPolicy::SameOrigin;
    for (policy, origin, host, allowed) in [
        (&same, "http://chat.example", "chat.example", true),
        (&same, "https://chat.example", "chat.example", true),
        (&same, "https://chat.example", "Chat.Example:443", true),
        (&same, "http://chat.example:80", "chat.example", true),
        (&same, "http://chat.example:8080", "chat.example:8080", true),
        (&same, "http://[::1]:8080", "[::1]:8080", true),
        (&same, "https://foreign.example", "chat.example", false),
        (&same, "null", "chat.example", false),
        (&same, "null", "null", false),
        (&same, "", "chat.example", false),
        (&same, "chat.example", "chat.example", false),
        (&same, "https://chat.example.evil", "chat.example", false),
        (&same, "https://evil.chat.example", "chat.example", false),
        (&same, "https://evilchat.example", "chat.example", false),
        (&same, "https://chat.example@evil", "chat.example", false),
        (&same, "https://chat.example/", "chat.example", false),
        (&same, "http://chat.example:8081", "chat.example:8080", false),
        (&same, "http://chat.example", "chat.example:8080", false),
        (&same, "http://chat.example:443", "chat.example", false),
        (&same, "https://chat.example", "chat.example:80", false),
        (&same, "ftp://chat.example", "chat.example", false),
        (&same, "ws://chat.example", "chat.example", false),
        (&listed, "https://good", "chat.example", true),
        (&listed, "HTTPS://GOOD", "chat.example", true),
        (&listed, "https://chat.example", "chat.example", true),
        (&listed, "https://good.evil", "chat.example", false),
        (&listed, "https://evil.good", "chat.example", false),
        (&listed, "http://good", "chat.example", false),
        (&listed, "https://good:8443", "chat.example", false),
        (&listed, "null", "chat.example", false),
        (&every, "https://foreign.example", "chat.example", true),
        (&every, "null", "chat.example", false),
    ] {
        let request = Request::good().set("Host", host).with("Origin", origin);
        let expected = if allowed {
            None
        } else {
            Some(Refusal::OriginForbidden)
        };
        assert_eq!(
            request.decide_under(policy).err(),
            expected,
            "{origin} at {host} under {policy:?}"
        );
        let twice = request.with("Origin", origin);
        assert_eq!(
            twice.decide_under(policy).err(),
            Some(Refusal::OriginForbidden),
            "{origin} twice"
        );
    }
}

#[test]
fn a_guest_is_named_by_the_query() {
    for (target, expected) in [
        ("/ws", Ok(None)),
        ("/ws?", Ok(None)),
        ("/ws?nickname=ada", Ok(None)),
        ("/ws?name=ada", Ok(Some("ada"))),
        ("/ws?x=1&name=ada&name=bob", Ok(Some("ada"))),
        ("/ws?name=%EB%A1%9C%EB%B9%84", Ok(Some("로비"))),
        ("/ws?name=Ada+Lovelace", Ok(Some("Ada Lovelace"))),
        ("/ws?name=a%2Bb", Ok(Some("a+b"))),
        ("/ws?name=%26", Ok(Some("&"))),
        ("/ws?name=100%", Ok(Some("100%"))),
        ("/ws?name", Ok(None)),
        ("/ws?name=", Err(Refusal::BadName)),
        ("/ws?name=%20ada", Err(Refusal::BadName)),
        ("/ws?name=%FF", Err(Refusal::BadName)),
        ("/ws?name=a%00b", Err(Refusal::BadName)),
        ("/ws?name=a%0Ab", Err(Refusal::BadName)),
        ("/ws?name=a%E2%80%AEb", Err(Refusal::BadName)),
    ] {
        let expected = expected.map(|name| name.map(|name| User::guest(name).unwrap()));
        assert_eq!(
            Request::good().target(target).decide().map(|accept| accept.guest),
            expected,
            "{target}"
        );
    }
}

#[test]
fn the_path_is_the_target_without_its_query() {
    for (target, path) in [
        ("/ws", "/ws"),
        ("/ws?name=/x?y", "/ws"),
        ("/w%73?", "/w%73"),
        ("", ""),
    ] {
        assert_eq!(Request::good().target(target).head().path(), path);
    }
}

#[test]
fn the_first_rule_broken_is_the_one_named() {
    let mut request = Request::good()
        .target("/ws?name=%00")
        .with("Sec-WebSocket-Protocol", "mqtt");
    let mut expected = vec![Refusal::BadName, Refusal::UnsupportedSubprotocol];
    let steps: [(Refusal, fn(Request) -> Request); 8] = [
        (Refusal::OriginForbidden, |r| r.with("Origin", "null")),
        (Refusal::BadHandshake, |r| r.without("Host")),
        (Refusal::UnsupportedVersion, |r| {
            r.without("Sec-WebSocket-Version")
        }),
        (Refusal::BadHandshake, |r| r.with("Transfer-Encoding", "chunked")),
        (Refusal::UpgradeRequired, |r| r.without("Upgrade")),
        (Refusal::BadHandshake, |r| r.version(Version::Http10)),
        (Refusal::HeaderTooLarge, |r| r.with("X-Long", vec![b'x'; 17_000])),
        (Refusal::MethodNotAllowed, |r| r.method("POST")),
    ];
    for (refusal, break_one_more) in steps {
        assert_eq!(request.decide().err(), expected.pop().filter(|_| true));
        request = break_one_more(request);
        expected.push(refusal);
    }
    assert_eq!(request.decide(), Err(Refusal::MethodNotAllowed));
}
