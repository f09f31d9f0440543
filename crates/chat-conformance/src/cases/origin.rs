use super::{Group, case, fail};
use crate::{Stage, Verdict};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_missing_origin_is_allowed",
            "A client that is no browser sends no Origin, and is served.",
            "RFC 6455 section 4.2.1; PROTOCOL.md, section 1",
            |stage| async move {
                let request = stage.handshake("ann");
                fail(request.header("Origin").is_none(), "a request without Origin", "one")?;
                stage.accepted("ann", &request).await.map(drop)
            },
        ),
        case(
            "the_servers_own_origin_is_allowed",
            "A page of the same host and port may connect, over TLS in front of the server too.",
            "RFC 6455 section 10.2; PROTOCOL.md, section 1",
            |stage| async move {
                let host = stage.host().to_owned();
                for origin in [format!("http://{host}"), format!("https://{}", host.to_uppercase())] {
                    let request = stage.handshake("ann").add("Origin", &origin);
                    stage.accepted("ann", &request).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_foreign_origin_is_refused",
            "A page of another host may not connect: 403.",
            "RFC 6455 section 10.2; PROTOCOL.md, section 1",
            |stage| async move { forbidden(&stage, "https://elsewhere.test").await },
        ),
        case(
            "an_origin_of_null_is_refused",
            "`Origin: null`, as sandboxed pages send it, is nobody's own: 403.",
            "RFC 6454 section 7.3; PROTOCOL.md, section 1",
            |stage| async move { forbidden(&stage, "null").await },
        ),
        case(
            "an_origin_that_only_begins_like_the_host_is_refused",
            "An origin is compared whole: `https://good.evil` is not `good`.",
            "RFC 6455 section 10.2; PROTOCOL.md, section 1",
            |stage| async move {
                let host = stage.host().to_owned();
                forbidden(&stage, &format!("http://{host}.evil")).await?;
                forbidden(&stage, &format!("http://evil.{host}")).await?;
                forbidden(&stage, &format!("http://{host}@evil.test")).await?;
                forbidden(&stage, &format!("http://evil.test/{host}")).await
            },
        ),
        case(
            "an_origin_of_another_port_is_refused",
            "Another port is another origin: 403.",
            "RFC 6454 section 4; PROTOCOL.md, section 1",
            |stage| async move {
                let host = stage.host().split(':').next().unwrap_or_default().to_owned();
                forbidden(&stage, &format!("http://{host}:1")).await
            },
        ),
        case(
            "an_origin_of_another_scheme_is_refused",
            "An origin that is neither http nor https is no page of this host: 403.",
            "RFC 6454 section 4",
            |stage| async move {
                let host = stage.host().to_owned();
                forbidden(&stage, &format!("ftp://{host}")).await?;
                forbidden(&stage, &host).await
            },
        ),
        case(
            "two_origins_are_refused",
            "A request has one origin; two, one of them allowed, are 403.",
            "RFC 6454 section 7.3",
            |stage| async move {
                let own = format!("http://{}", stage.host());
                let request = stage.handshake("ann").add("Origin", &own).add("Origin", "http://evil.test");
                stage.refused(&request, 403, "origin_forbidden").await.map(drop)
            },
        ),
    ];
    Group { name: "origin", look: "`allows` in crates/chat-proto/src/handshake.rs", cases }
}

async fn forbidden(stage: &Stage, origin: &str) -> Verdict {
    let request = stage.handshake("ann").add("Origin", origin);
    stage.refused(&request, 403, "origin_forbidden").await.map(drop)
}
