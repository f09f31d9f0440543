//! The files that an endpoint serves from memory.

use chat_core::{Answer, Chat, Decision, Endpoint, RequestContext, RequestHead, StaticFile, Version};

const PAGE: StaticFile = StaticFile {
    path: "/",
    content_type: "text/html; charset=utf-8",
    content: b"<!doctype html>",
    gzip: None,
    version: "a1",
    is_immutable: false,
    headers: &[("content-security-policy", "default-src 'self'")],
};

const SCRIPT: StaticFile = StaticFile {
    path: "/app-b2.js",
    content_type: "text/javascript; charset=utf-8",
    content: b"let x;",
    gzip: Some(b"compressed"),
    version: "b2",
    is_immutable: true,
    headers: &[],
};

async fn ask(method: &str, target: &str, headers: &[(&str, &str)]) -> Option<Answer> {
    let endpoint = Endpoint::new(Chat::default()).with_status_pages().with_files(&[PAGE, SCRIPT]);
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let head = RequestHead { method, version: Version::Http11, target, headers };
    match endpoint.handle(&head, &RequestContext::default()).await {
        Decision::Answer(answer) => Some(answer),
        _ => None,
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers().iter().find(|(header, _)| *header == name).map(|(_, value)| &**value)
}

#[tokio::test]
async fn a_file_replaces_a_status_page_and_the_others_stay() {
    let page = ask("GET", "/?room=lobby", &[]).await.expect("a page");
    assert_eq!((page.status(), header(&page, "etag")), (200, Some("W/\"a1\"")));
    assert_eq!(header(&page, "cache-control"), Some("no-cache"));
    assert_eq!(header(&page, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&page, "content-security-policy"), Some("default-src 'self'"));
    assert_eq!(&page.into_body()[..], PAGE.content);
    assert_eq!(&ask("GET", "/healthz", &[]).await.expect("a page").into_body()[..], b"ok\n");
    assert!(ask("GET", "/app-b2.jsx", &[]).await.is_none());
    assert_eq!(ask("POST", "/app-b2.js", &[]).await.expect("an answer").status(), 405);
    let endpoint = Endpoint::new(Chat::default()).with_status_pages().with_files(&[PAGE, SCRIPT]);
    assert_eq!(endpoint.paths(), ["/ws", "/", "/app-b2.js", "/healthz", "/readyz"]);
}

#[tokio::test]
async fn a_file_is_compressed_only_for_clients_that_accept_it() {
    for (accepted, is_compressed) in [
        ("gzip, deflate, br", true),
        ("br;q=1.0, GZip;q=0.8", true),
        ("gzip;q=0", false),
        ("gzip; q=0.0", false),
        ("br", false),
        ("", false),
    ] {
        let script = ask("GET", "/app-b2.js", &[("Accept-Encoding", accepted)]).await.expect("a script");
        let coding = header(&script, "content-encoding");
        assert_eq!(coding, is_compressed.then_some("gzip"), "{accepted}");
        assert_eq!(header(&script, "vary"), Some("accept-encoding"));
        assert_eq!(header(&script, "cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(&script.into_body()[..], if is_compressed { &b"compressed"[..] } else { b"let x;" });
    }
}

#[tokio::test]
async fn a_client_that_has_the_version_gets_304() {
    for (tags, status) in
        [("W/\"a1\"", 304), ("\"x\", \"a1\"", 304), ("*", 304), ("W/\"a\"", 200), ("a1", 200)]
    {
        let page = ask("GET", "/", &[("if-none-match", tags)]).await.expect("a page");
        assert_eq!(page.status(), status, "{tags}");
        assert_eq!(header(&page, "etag"), Some("W/\"a1\""));
        assert_eq!(page.into_body().is_empty(), status == 304, "{tags}");
    }
}
