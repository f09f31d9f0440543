use super::*;
use crate::client::Answer;

chat_suite::cases!(
    /// A GET with `Accept: application/json` and without `Upgrade` learns that its handshake would be accepted. The
    /// page of the server's own origin may read the answer, also if the request has cookies.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_probe_of_an_acceptable_handshake_is_answered_with_ok(stage: Stage) -> Verdict {
        let own = format!("http://{}", stage.host());
        let mut ann = stage.send_request("ann", &probe(&stage).add("Origin", &own)).await?;
        let answer = ann.expect_status(200).await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        check(body == r#"{"ok":true}"#, r#"{"ok":true}"#, body)?;
        let readable = (header(&answer, ORIGIN), header(&answer, CREDENTIALS));
        check(readable == (own, "true".to_owned()), "the origin, with credentials", format!("{readable:?}"))?;
        stage.expect_served().await
    }

    /// A probe is answered with the refusal that its handshake would get.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_probe_is_answered_with_the_refusal_of_its_handshake(stage: Stage) -> Verdict {
        let named = |name: &str| probe(&stage).to(&format!("{}?name={name}", stage.path()));
        stage.refused(&named(""), 400, "bad_name").await?;
        let unknown = named("ann").add("Sec-WebSocket-Protocol", "chat.v9");
        stage.refused(&unknown, 400, "unsupported_subprotocol").await.map(drop)
    }

    /// A page of an origin that may not connect can read its refusal, but not the answer to a request with cookies.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_foreign_page_can_read_its_refusal(stage: Stage) -> Verdict {
        let request = probe(&stage).add("Origin", "https://elsewhere.test");
        let mut ann = stage.send_request("ann", &request).await?;
        let answer = ann.expect_refusal(403, "origin_forbidden").await?;
        let readable = (header(&answer, ORIGIN), header(&answer, CREDENTIALS));
        let is_public = readable == ("*".to_owned(), String::new());
        check(is_public, "all origins, without credentials", format!("{readable:?}"))
    }

    /// A browser asks before it sends a probe with `Authorization`, and the server allows it.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_probe_may_have_credentials(stage: Stage) -> Verdict {
        let mut preflight = probe(&stage)
            .add("Origin", &format!("http://{}", stage.host()))
            .add("Access-Control-Request-Method", "GET")
            .add("Access-Control-Request-Headers", "authorization");
        preflight.method = "OPTIONS".to_owned();
        let mut ann = stage.send_request("ann", &preflight).await?;
        let answer = ann.expect_status(204).await?;
        let allowed = header(&answer, "access-control-allow-headers").to_ascii_lowercase();
        check(allowed == "authorization", "authorization", allowed)
    }

    /// A GET that asks neither for an upgrade nor for JSON is answered with 426, and so is one of another site that has
    /// no `Origin`.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_get_that_does_not_accept_json_is_no_probe(stage: Stage) -> Verdict {
        let request = probe(&stage).set("Accept", "text/html, */*");
        stage.refused(&request, 426, "upgrade_required").await?;
        // Another page can hide its origin, but not its site.
        let hidden = probe(&stage).add("Sec-Fetch-Site", "cross-site");
        stage.refused(&hidden, 426, "upgrade_required").await.map(drop)
    }
);

const ORIGIN: &str = "access-control-allow-origin";
const CREDENTIALS: &str = "access-control-allow-credentials";

fn probe(stage: &Stage) -> Request {
    Request::get(stage.path()).add("Host", stage.host()).add("Accept", "application/json")
}

/// Returns the value of a header, or an empty text.
fn header(answer: &Answer, name: &str) -> String {
    answer.header(name).unwrap_or_default()
}
