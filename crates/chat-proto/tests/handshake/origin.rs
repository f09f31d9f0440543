use chat_proto::handshake::{OriginPolicy, Refusal};

use crate::request::Request;

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
        let expected = if allowed { None } else { Some(Refusal::OriginForbidden) };
        assert_eq!(request.decide_under(policy).err(), expected, "{origin} at {host} under {policy:?}");
        let twice = request.with("Origin", origin);
        assert_eq!(twice.decide_under(policy).err(), Some(Refusal::OriginForbidden), "{origin} twice");
    }
}
