//! The opening handshake: each row of PROTOCOL.md, section 1 that a request head decides.

mod acceptance;
mod host;
mod origin;
mod proxies;
mod refusal;
mod request;

use chat_proto::Limits;
use chat_proto::handshake::{Refusal, Version};

use crate::request::{KEY, Request};

#[test]
fn a_handshake_that_breaks_a_rule_is_refused() {
    use Refusal::{BadHandshake, HeaderTooLarge, MethodNotAllowed, UnsupportedVersion, UpgradeRequired};
    let good = Request::good;
    let short = "dGhlIHNhbXBsZSBub25j";
    let long = "dGhlIHNhbXBsZSBub25jZTE3";
    let many: Request = (0..400).fold(good(), |request, n| request.with(&format!("X-{n}"), [b'x'; 40]));
    let cases = [
        ("H2 plain GET", good().without("Upgrade").without("Connection"), UpgradeRequired),
        ("H2 plain GET with a body", good().without("Upgrade").with("Content-Length", "5"), UpgradeRequired),
        ("H3 POST", good().method("POST"), MethodNotAllowed),
        ("H3 HEAD", good().method("HEAD"), MethodNotAllowed),
        ("H3 CONNECT", good().method("CONNECT").version(Version::Later), MethodNotAllowed),
        ("H3 lower case", good().method("get"), MethodNotAllowed),
        ("H3 POST that is no handshake", good().method("POST").without("Upgrade"), MethodNotAllowed),
        ("H4 HTTP/1.0", good().version(Version::Http10), BadHandshake),
        ("H4 plain HTTP/1.0", good().version(Version::Http10).without("Upgrade"), BadHandshake),
        ("HTTP/2", good().version(Version::Later), BadHandshake),
        ("plain HTTP/2", good().version(Version::Later).without("Upgrade"), UpgradeRequired),
        ("H5 h2c", good().set("Upgrade", "h2c"), UpgradeRequired),
        ("H5 websocket inside", good().set("Upgrade", "xwebsocketx"), UpgradeRequired),
        ("H5 no token", good().set("Upgrade", "\u{a0}websocket"), UpgradeRequired),
        ("H5 not UTF-8", good().set("Upgrade", b"websocket\xff"), UpgradeRequired),
        ("H6 no Connection", good().without("Connection"), UpgradeRequired),
        ("H6 upgrade inside", good().set("Connection", "notupgrade"), UpgradeRequired),
        ("H6 keep-alive", good().set("Connection", "keep-alive"), UpgradeRequired),
        ("H8 no version", good().without("Sec-WebSocket-Version"), UnsupportedVersion),
        ("H8 version 8", good().set("Sec-WebSocket-Version", "8"), UnsupportedVersion),
        ("H8 version 013", good().set("Sec-WebSocket-Version", "013"), UnsupportedVersion),
        ("H8 two versions", good().with("Sec-WebSocket-Version", "8"), UnsupportedVersion),
        ("H9 no key", good().without("Sec-WebSocket-Key"), BadHandshake),
        ("H9 two keys", good().with("Sec-WebSocket-Key", KEY), BadHandshake),
        ("H9 empty key", good().set("Sec-WebSocket-Key", ""), BadHandshake),
        ("H9 15 bytes", good().set("Sec-WebSocket-Key", short), BadHandshake),
        ("H9 18 bytes", good().set("Sec-WebSocket-Key", long), BadHandshake),
        ("H9 no padding", good().set("Sec-WebSocket-Key", &KEY[..22]), BadHandshake),
        ("H9 not base64", good().set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j!!=="), BadHandshake),
        ("H9 other base64", good().set("Sec-WebSocket-Key", "____________________-w=="), BadHandshake),
        ("H9 wide space", good().set("Sec-WebSocket-Key", format!("\u{3000}{KEY}")), BadHandshake),
        ("H10 no Host", good().without("Host"), BadHandshake),
        ("H10 empty Host", good().set("Host", ""), BadHandshake),
        ("H10 two Hosts", good().with("Host", "chat.example"), BadHandshake),
        ("H10 Host not UTF-8", good().set("Host", b"\xff"), BadHandshake),
        ("H10 a user in Host", good().set("Host", "a@h"), BadHandshake),
        ("H10 two hosts in one line", good().set("Host", "h, evil"), BadHandshake),
        ("a target that is not ASCII", good().target("/ws?name=홍길동"), BadHandshake),
        ("H11 one long line", good().with("X-Long", vec![b'x'; 17_000]), HeaderTooLarge),
        ("H11 a long target", good().target(&"/".repeat(17_000)), HeaderTooLarge),
        ("H11 many lines", many, HeaderTooLarge),
        ("H14 a body", good().with("Content-Length", "5"), BadHandshake),
        ("H14 two lengths", good().with("Content-Length", "0").with("Content-Length", "5"), BadHandshake),
        ("H14 no length at all", good().with("Content-Length", "x"), BadHandshake),
        ("H14 chunked", good().with("Transfer-Encoding", "chunked"), BadHandshake),
        ("H14 both", good().with("Content-Length", "0").with("transfer-encoding", "chunked"), BadHandshake),
    ];
    for (case, request, refusal) in cases {
        assert_eq!(request.decide(), Err(refusal), "{case}");
    }
}

#[test]
fn the_size_of_a_head_is_the_number_of_its_bytes() {
    let request = |filler: usize| Request::good().with("X-Filler", vec![b'x'; filler]);
    let bytes = |request: &Request| {
        let lines: usize = request.headers.iter().map(|(n, v)| format!("{n}: \r\n").len() + v.len()).sum();
        format!("{} {} HTTP/1.1\r\n", request.method, request.target).len() + lines
    };
    let room_left = Limits::default().http.max_head_bytes - bytes(&request(0));
    assert!(request(room_left).decide().is_ok());
    assert_eq!(request(room_left + 1).decide(), Err(Refusal::HeaderTooLarge));
}

#[test]
fn a_refusal_names_the_first_rule_that_is_broken() {
    let mut request = Request::good();
    type Break = fn(Request) -> Request;
    let steps: [(Refusal, Break); 11] = [
        (Refusal::BadName, |r| r.target("/ws?name=")),
        (Refusal::UnsupportedSubprotocol, |r| r.with("Sec-WebSocket-Protocol", "mqtt")),
        (Refusal::OriginForbidden, |r| r.with("Origin", "null")),
        (Refusal::BadHandshake, |r| r.without("Host")),
        (Refusal::BadHandshake, |r| r.without("Sec-WebSocket-Key")),
        (Refusal::UnsupportedVersion, |r| r.without("Sec-WebSocket-Version")),
        (Refusal::BadHandshake, |r| r.with("Transfer-Encoding", "chunked")),
        (Refusal::UpgradeRequired, |r| r.without("Upgrade")),
        (Refusal::BadHandshake, |r| r.version(Version::Http10)),
        (Refusal::HeaderTooLarge, |r| r.with("X-Long", vec![b'x'; 17_000])),
        (Refusal::MethodNotAllowed, |r| r.method("POST")),
    ];
    for (refusal, break_another) in steps {
        request = break_another(request);
        assert_eq!(request.decide(), Err(refusal));
    }
}
