use base64::prelude::{BASE64_STANDARD, Engine};
use chat_proto::Limits;
use chat_proto::handshake::{Refusal, Version};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use crate::request::{KEY, Request};

type Row = (Refusal, u16, &'static str, &'static [(&'static str, &'static str)]);

const REFUSALS: [Row; 15] = [
    (Refusal::BadRequest, 400, "bad_request", &[]),
    (Refusal::TlsRequired, 400, "tls_required", &[]),
    (Refusal::HostForbidden, 421, "host_forbidden", &[]),
    (
        Refusal::UpgradeRequired,
        426,
        "upgrade_required",
        &[("upgrade", "websocket"), ("connection", "Upgrade")],
    ),
    (Refusal::MethodNotAllowed, 405, "method_not_allowed", &[("allow", "GET")]),
    (Refusal::BadHandshake, 400, "bad_handshake", &[]),
    (Refusal::UnsupportedVersion, 426, "unsupported_version", &[("sec-websocket-version", "13")]),
    (Refusal::UnsupportedSubprotocol, 400, "unsupported_subprotocol", &[]),
    (Refusal::OriginForbidden, 403, "origin_forbidden", &[]),
    (Refusal::BadName, 400, "bad_name", &[]),
    (Refusal::Overloaded, 503, "overloaded", &[("retry-after", "2")]),
    (Refusal::TooManyConnections, 429, "too_many_connections", &[("retry-after", "2")]),
    (Refusal::Draining, 503, "draining", &[("retry-after", "2")]),
    (Refusal::HeaderTooLarge, 431, "header_too_large", &[]),
    (Refusal::Internal, 500, "internal_error", &[]),
];

fn check_body(body: &str, code: &str) {
    let body: Value = serde_json::from_str(body).expect("the body is JSON");
    let outer = body.as_object().expect("the body is an object");
    assert_eq!(outer.keys().collect::<Vec<_>>(), ["error"]);
    let error = outer["error"].as_object().expect("the error is an object");
    assert_eq!(error.keys().collect::<Vec<_>>(), ["code", "message"]);
    assert_eq!(error["code"], code);
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
}

#[test]
fn each_refusal_has_the_status_the_code_and_the_headers_of_the_table() {
    for (refusal, status, code, headers) in REFUSALS {
        assert_eq!((refusal.status(), refusal.code()), (status, code));
        let sent = refusal.headers(&Limits::default());
        let sent: Vec<_> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(sent, headers, "{code}");
        check_body(&refusal.body(), code);
    }
}

#[test]
fn a_refusal_advises_to_wait_at_least_one_second() {
    let limits =
        Limits::default().with(|limits| limits.http.retry_after = std::time::Duration::from_millis(5));
    assert_eq!(Refusal::Draining.headers(&limits), [("retry-after", "1".to_owned())]);
}

fn header_name() -> impl Strategy<Value = String> {
    let known = select(vec![
        "Host",
        "upgrade",
        "CONNECTION",
        "Sec-WebSocket-Key",
        "sec-websocket-version",
        "Sec-WebSocket-Protocol",
        "Origin",
        "Content-Length",
        "Transfer-Encoding",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "\\PC{0,12}"]
}

fn header_value() -> impl Strategy<Value = Vec<u8>> {
    let likely = select(vec![
        "",
        "0",
        "13",
        "websocket",
        "Upgrade",
        "keep-alive, upgrade",
        "chat.v1",
        "mqtt",
        "chat.example",
        "https://chat.example",
        "null",
        KEY,
        "x3JJHMbDL1EzLkh9GBhXDw==",
        ",,",
    ]);
    prop_oneof![
        6 => likely.prop_map(|value| value.as_bytes().to_vec()),
        1 => "\\PC{0,30}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

#[derive(Clone, Debug)]
enum Edit {
    Add(String, Vec<u8>),
    Change(Index, Vec<u8>),
    Drop(Index),
    Swap(Index, Index),
    Target(String),
    Version(Version),
    Method(String),
}

impl Edit {
    fn apply(self, request: &mut Request) {
        let headers = &mut request.headers;
        match self {
            Self::Add(name, value) => headers.push((name, value)),
            Self::Target(target) => request.target = target,
            Self::Version(version) => request.version = version,
            Self::Method(method) => request.method = method,
            _ if headers.is_empty() => {}
            Self::Change(at, value) => at.get_mut(headers).1 = value,
            Self::Drop(at) => drop(headers.remove(at.index(headers.len()))),
            Self::Swap(a, b) => {
                let (a, b) = (a.index(headers.len()), b.index(headers.len()));
                headers.swap(a, b);
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let version = select(vec![Version::Http10, Version::Http11, Version::Later]);
    prop_oneof![
        6 => (header_name(), header_value()).prop_map(|(name, value)| Edit::Add(name, value)),
        3 => (any::<Index>(), header_value()).prop_map(|(at, value)| Edit::Change(at, value)),
        2 => any::<Index>().prop_map(Edit::Drop),
        6 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Edit::Swap(a, b)),
        2 => "/ws(\\?(name=)?\\PC{0,12})?".prop_map(Edit::Target),
        1 => version.prop_map(Edit::Version),
        1 => "(GET|POST|\\PC{0,4})".prop_map(Edit::Method),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    proptest::collection::vec(edit(), 0..6).prop_map(|edits| {
        let mut request = Request::good();
        edits.into_iter().for_each(|edit| edit.apply(&mut request));
        request
    })
}

fn values<'a>(request: &'a Request, name: &str) -> Vec<&'a [u8]> {
    let named = request.headers.iter().filter(|(n, _)| n.to_ascii_lowercase() == name);
    named.map(|(_, value)| value.trim_ascii()).collect()
}

fn lists(request: &Request, name: &str, token: &str) -> bool {
    values(request, name)
        .iter()
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .any(|member| member.trim_matches([' ', '\t']).to_ascii_lowercase() == token)
}

fn check_acceptable(request: &Request) {
    assert_eq!((request.method.as_str(), request.version), ("GET", Version::Http11));
    assert!(lists(request, "upgrade", "websocket"));
    assert!(lists(request, "connection", "upgrade"));
    assert_eq!(values(request, "sec-websocket-version"), [b"13"]);
    let keys = values(request, "sec-websocket-key");
    assert_eq!(keys.len(), 1);
    assert_eq!(BASE64_STANDARD.decode(keys[0]).map(|nonce| nonce.len()), Ok(16));
    assert_eq!(values(request, "host").len(), 1);
    assert!(!values(request, "host")[0].is_empty());
    assert!(values(request, "content-length").iter().all(|length| *length == b"0"));
    assert!(values(request, "transfer-encoding").is_empty());
    assert!(values(request, "origin").len() <= 1);
    assert!(!values(request, "origin").contains(&b"null".as_slice()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_request_is_accepted_by_the_rules_or_refused_in_json(request in request()) {
        match request.decide() {
            Ok(accept) => {
                check_acceptable(&request);
                let offered = lists(&request, "sec-websocket-protocol", "chat.v1");
                let echoes = accept.headers().iter().any(|(name, _)| *name == "sec-websocket-protocol");
                prop_assert_eq!(echoes, accept.subprotocol);
                prop_assert!(offered || !echoes, "{:?}", request);
            }
            Err(refusal) => check_body(&refusal.body(), refusal.code()),
        }
    }

    #[test]
    fn a_refusal_contains_no_value_of_the_request(mut request in request(), marker in "[B-Y]{6}", at in any::<Index>()) {
        request.target = format!("/ws?name={marker}%00");
        for (_, value) in &mut request.headers {
            value.truncate(at.index(value.len() + 1));
            value.extend_from_slice(marker.as_bytes());
        }
        if let Err(refusal) = request.decide() {
            prop_assert!(!refusal.body().contains(&marker));
            for (_, value) in refusal.headers(&Limits::default()) {
                prop_assert!(!value.contains(&marker));
            }
        }
    }

    #[test]
    fn the_order_of_unrelated_lines_does_not_matter(
        request in request(),
        shuffled in Just((0..16).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let mut reordered = request.clone();
        let rank = |name: &str| shuffled[name.len() % shuffled.len()];
        reordered.headers.sort_by_key(|(name, _)| rank(name));
        prop_assert_eq!(reordered.decide(), request.decide());
    }

    #[test]
    fn the_case_of_header_names_does_not_matter(request in request(), upper in any::<bool>()) {
        let mut respelled = request.clone();
        for (name, _) in &mut respelled.headers {
            *name = if upper { name.to_ascii_uppercase() } else { name.to_ascii_lowercase() };
        }
        prop_assert_eq!(respelled.decide(), request.decide());
    }
}
