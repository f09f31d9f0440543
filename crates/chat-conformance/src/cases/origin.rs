use super::*;

chat_suite::cases!(
    /// A client that is not a browser sends no `Origin`, and is served.
    #[source = "RFC 6455 section 4.2.1; PROTOCOL.md, section 1"]
    async fn a_missing_origin_is_allowed(stage: Stage) -> Verdict {
        let request = stage.handshake("ann");
        check(request.header("Origin").is_none(), "a request without Origin", "one")?;
        stage.accepted("ann", &request).await.map(drop)
    }

    /// A page of the same host and port may connect, also if a proxy in front of the server ends TLS.
    async fn the_servers_own_origin_is_allowed(stage: Stage) -> Verdict {
        let host = stage.host().to_owned();
        for origin in [format!("http://{host}"), format!("https://{}", host.to_uppercase())] {
            let request = stage.handshake("ann").add("Origin", &origin);
            stage.accepted("ann", &request).await?;
        }
        Ok(())
    }

    /// All names of the loopback address are one host, because users type any of them. The port still counts.
    #[source = "PROTOCOL.md, section 1"]
    async fn the_names_of_the_loopback_address_are_one_host(stage: Stage) -> Verdict {
        for (host, page) in [("127.0.0.1:7000", "localhost"), ("localhost:7000", "[::1]")] {
            let request = |port| {
                stage.handshake("ann").set("Host", host).add("Origin", &format!("http://{page}:{port}"))
            };
            stage.accepted("ann", &request(7000)).await?;
            stage.refused(&request(7001), 403, "origin_forbidden").await?;
        }
        Ok(())
    }

    /// A page of another host may not connect: the answer is 403.
    async fn a_foreign_origin_is_refused(stage: Stage) -> Verdict {
        forbidden(&stage, "https://elsewhere.test").await
    }

    /// The header `Origin: null`, which sandboxed pages send, is no origin of the server: the answer is 403.
    #[source = "RFC 6454 section 7.3; PROTOCOL.md, section 1"]
    async fn an_origin_of_null_is_refused(stage: Stage) -> Verdict {
        forbidden(&stage, "null").await
    }

    /// The server compares the whole origin: `https://good.evil` is not `good`.
    async fn an_origin_that_starts_with_the_host_is_refused(stage: Stage) -> Verdict {
        let host = stage.host().to_owned();
        forbidden(&stage, &format!("http://{host}.evil")).await?;
        forbidden(&stage, &format!("http://evil.{host}")).await?;
        forbidden(&stage, &format!("http://{host}@evil.test")).await?;
        forbidden(&stage, &format!("http://evil.test/{host}")).await
    }

    /// Another port is another origin: the answer is 403.
    #[source = "RFC 6454 section 4; PROTOCOL.md, section 1"]
    async fn an_origin_of_another_port_is_refused(stage: Stage) -> Verdict {
        let host = stage.host().split(':').next().unwrap_or_default().to_owned();
        forbidden(&stage, &format!("http://{host}:1")).await
    }

    /// An origin whose scheme is neither http nor https is not of this host: the answer is 403.
    #[source = "RFC 6454 section 4"]
    async fn an_origin_of_another_scheme_is_refused(stage: Stage) -> Verdict {
        let host = stage.host().to_owned();
        forbidden(&stage, &format!("ftp://{host}")).await?;
        forbidden(&stage, &host).await
    }

    /// A request has one origin. Two origins, one of them allowed, are answered with 403.
    #[source = "RFC 6454 section 7.3"]
    async fn two_origins_are_refused(stage: Stage) -> Verdict {
        let own = format!("http://{}", stage.host());
        let request = stage.handshake("ann").add("Origin", &own).add("Origin", "http://evil.test");
        stage.refused(&request, 403, "origin_forbidden").await.map(drop)
    }
);

async fn forbidden(stage: &Stage, origin: &str) -> Verdict {
    let request = stage.handshake("ann").add("Origin", origin);
    stage.refused(&request, 403, "origin_forbidden").await.map(drop)
}
