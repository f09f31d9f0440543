use chat_proto::handshake::{InvalidOrigin, OriginPattern, OriginPolicy, Refusal};

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
        (&same, "http://localhost:8080", "127.0.0.1:8080", true),
        (&same, "http://127.0.0.1:8080", "LocalHost.:8080", true),
        (&same, "http://[::1]", "localhost", true),
        (&same, "http://localhost:5173", "127.0.0.1:8080", false),
        (&same, "http://localhost:8080", "127.0.0.2:8080", false),
        (&same, "http://127.0.0.2:8080", "127.0.0.1:8080", false),
        (&same, "http://localhost.example:8080", "127.0.0.1:8080", false),
        (&same, "http://localhost:8080", "10.0.0.1:8080", false),
        (&same, "http://chat.example:8080", "127.0.0.1:8080", false),
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

fn pattern(text: &str) -> Result<OriginPattern, InvalidOrigin> {
    text.parse()
}

#[test]
fn an_entry_is_normalized() {
    for (entry, normalized, origin) in [
        ("https://app.example:443", "https://app.example", "https://app.example"),
        ("http://app.example:80", "http://app.example", "http://app.example"),
        ("https://app.example:80", "https://app.example:80", "https://app.example:80"),
        ("HTTPS://App.Example", "https://app.example", "https://app.example"),
        ("https://app.example.", "https://app.example", "https://app.example"),
        ("https://app.example", "https://app.example", "https://app.example."),
        (" https://app.example:08443 ", "https://app.example:8443", "https://app.example:8443"),
        ("http://[0:0::1]:8080", "http://[::1]:8080", "http://[::1]:8080"),
        ("http://127.0.0.1", "http://127.0.0.1", "http://127.0.0.1"),
        ("https://*.App.example:443", "https://*.app.example", "https://eu.app.example"),
        ("http://*.localhost:8080", "http://*.localhost:8080", "http://a.localhost:8080"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("*", "*", "https://app.example"),
    ] {
        let pattern = pattern(entry).unwrap_or_else(|error| panic!("{entry}: {error}"));
        assert_eq!(pattern.to_string(), normalized);
        assert!(pattern.matches(origin), "{entry}");
        let policy = OriginPolicy::SameOriginOr(vec![entry.to_owned()]);
        let request = Request::good().with("Origin", origin);
        assert_eq!(request.decide_under(&policy).err(), None, "{entry}");
    }
}

#[test]
fn a_wildcard_stands_for_one_level() {
    let pattern = pattern("https://*.app.example").expect("a pattern");
    for (origin, expected) in [
        ("https://eu.app.example", true),
        ("https://EU.app.example.:443", true),
        ("https://app.example", false),
        ("https://.app.example", false),
        ("https://a.eu.app.example", false),
        ("https://evilapp.example", false),
        ("http://eu.app.example", false),
        ("https://eu.app.example:8443", false),
        ("https://eu.app.example.evil", false),
        ("https://evil@eu.app.example", false),
        ("null", false),
    ] {
        assert_eq!(pattern.matches(origin), expected, "{origin}");
    }
}

#[test]
fn an_entry_that_no_browser_can_send_is_refused() {
    use InvalidOrigin::{Form, Host, Port, Scheme, Wildcard};
    for (entry, error) in [
        ("", Form),
        ("null", Form),
        ("app.example", Form),
        ("https://", Form),
        ("://app.example", Form),
        ("https://app.example/", Form),
        ("https://app.example/path", Form),
        ("https://app.example?x", Form),
        ("https://user@app.example", Form),
        ("wss://app.example", Scheme),
        ("file://app", Scheme),
        ("https://채팅.example", Host),
        ("https://app..example", Host),
        ("https://app example", Host),
        ("https://1.2.3", Host),
        ("https://[::1", Host),
        ("https://::1", Host),
        ("https://app.example:", Port),
        ("https://app.example:0", Port),
        ("https://app.example:65536", Port),
        ("https://app.example:http", Port),
        ("https://*", Wildcard),
        ("https://*app.example", Wildcard),
        ("https://a.*.example", Wildcard),
        ("https://*.*.example", Wildcard),
        ("https://*.127.0.0.1", Wildcard),
        ("*.app.example", Form),
    ] {
        assert_eq!(pattern(entry), Err(error), "{entry}");
    }
}
