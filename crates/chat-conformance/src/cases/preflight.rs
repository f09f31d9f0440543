//! The steps that a server must pass before the result of any other case means something.

use super::*;

/// The time limit of each wait.
const PATIENCE: Duration = Duration::from_secs(6);

/// The steps of "How to add an adapter" in ARCHITECTURE.md to look at when the case of the same number fails.
const HINTS: [&str; 5] = [
    "\"How to add an adapter\", step 6: `serve` accepts connections on its listener until `stop`",
    "\"How to add an adapter\", step 6: `serve` reads a request from each connection and answers it with the routes",
    "\"How to add an adapter\", step 2: `routes(endpoint)` is mounted, asks `Endpoint::handle`, and sends its answer",
    "\"How to add an adapter\", steps 3 and 4: the layer is outermost and sees the 101, which is sent unchanged",
    "\"How to add an adapter\", step 4: `UpgradeTicket::start` runs in a task, on the stream behind the 101",
];

chat_suite::cases!(
    /// The server accepts a connection.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_connection_is_accepted(stage: Stage) -> Verdict {
        stage.connect("preflight").await.map(drop)
    }

    /// A plain GET at the path of the chat is answered with an HTTP response.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_plain_get_is_answered(stage: Stage) -> Verdict {
        plain_get(&stage).await.map(drop)
    }

    /// The chat is at its path: a plain GET is answered with 426.
    #[source = "PROTOCOL.md, section 1 (`upgrade_required`)"]
    async fn the_chat_is_at_its_path(stage: Stage) -> Verdict {
        let answer = plain_get(&stage).await?;
        let hint =
            if answer.status == 404 { format!(": is the chat at {}?", stage.path()) } else { String::new() };
        check(answer.status == 426, "the HTTP status 426", format!("\"{}\"{hint}", answer.line))
    }

    /// A valid handshake is answered with 101.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_handshake_is_accepted(stage: Stage) -> Verdict {
        handshake(&stage).await.map(drop)
    }

    /// The event `welcome` follows the 101.
    #[source = "PROTOCOL.md, sections 1 and 4"]
    async fn a_client_is_welcomed(stage: Stage) -> Verdict {
        // The end of the connection is not a part of this case.
        handshake(&stage).await?.expect_welcome().await.map(drop)
    }
);

/// Returns the cases with their hints, in the order in which they must pass.
pub(super) fn steps() -> Vec<Case> {
    cases().into_iter().zip(HINTS).flat_map(|(case, hint)| group("preflight", hint, vec![case])).collect()
}

async fn plain_get(stage: &Stage) -> Result<crate::client::Answer, Failure> {
    let mut client = stage.connect("preflight").await?;
    client.set_patience(PATIENCE);
    client.write(&Request::get(stage.path()).add("Host", stage.host()).encode()).await?;
    client.answer().await
}

async fn handshake(stage: &Stage) -> Result<Client, Failure> {
    let (mut client, request) = (stage.connect("preflight").await?, stage.handshake("preflight"));
    client.set_patience(PATIENCE);
    client.write(&request.encode()).await?;
    client.expect_101(&request).await?;
    Ok(client)
}
