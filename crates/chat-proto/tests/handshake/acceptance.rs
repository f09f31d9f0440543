use chat_proto::User;
use chat_proto::handshake::Refusal;

use crate::request::{KEY, Request};

/// The answer of RFC 6455 section 1.3 to [`KEY`].
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[test]
fn the_example_request_of_rfc_6455_gets_its_example_response() {
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
fn a_valid_handshake_is_accepted() {
    let good = Request::good;
    let cases = [
        ("H7 several tokens", good().set("Connection", "keep-alive, Upgrade")),
        ("H7 several lines", good().set("Connection", "keep-alive").with("Connection", "Upgrade")),
        ("H7 any case", good().set("connection", "UPGRADE").set("UPGRADE", "WebSocket")),
        ("H7 several protocols", good().set("Upgrade", "foo, websocket")),
        ("H7 protocols over lines", good().set("Upgrade", "foo").with("upgrade", "websocket")),
        ("H7 empty list members", good().set("Connection", ", ,Upgrade,")),
        ("H7 tabs", good().set("Connection", "\tkeep-alive\t,\tupgrade\t")),
        ("H9 blanks around the key", good().set("Sec-WebSocket-Key", format!(" {KEY}\t"))),
        ("H14 an empty body", good().with("Content-Length", "0")),
        ("H15 nothing in the offer", good().with("Sec-WebSocket-Protocol", "")),
        ("H16 deflate", good().with("Sec-WebSocket-Extensions", "permessage-deflate")),
        ("H18 no origin", good().without("Origin")),
        ("another query", good().target("/ws?ticket=abc&nickname=x")),
    ];
    for (case, request) in cases {
        let accept = request.decide();
        let accept =
            accept.as_ref().map(|accept| (accept.accept_key.as_str(), accept.subprotocol, &accept.guest));
        assert_eq!(accept, Ok((ACCEPT, false, &None)), "{case}");
    }
}

#[test]
fn only_an_offered_subprotocol_is_echoed() {
    let offering = |lines: &[&str]| {
        lines.iter().fold(Request::good(), |request, line| request.with("Sec-WebSocket-Protocol", line))
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
            accept.as_ref().map(|accept| accept.subprotocol).map_err(|refusal| *refusal),
            expected,
            "{lines:?}"
        );
        if let Ok(accept) = accept {
            let echoed = accept.headers().contains(&("sec-websocket-protocol", "chat.v1".to_owned()));
            assert_eq!(Ok(echoed), expected, "{lines:?}");
        }
    }
}

#[test]
fn the_query_names_the_guest() {
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
        assert_eq!(Request::good().target(target).decide().map(|accept| accept.guest), expected, "{target}");
    }
}

#[test]
fn the_path_is_the_target_without_its_query() {
    for (target, path) in [("/ws", "/ws"), ("/ws?name=/x?y", "/ws"), ("/w%73?", "/w%73"), ("", "")] {
        assert_eq!(Request::good().target(target).head().path(), path);
    }
}
