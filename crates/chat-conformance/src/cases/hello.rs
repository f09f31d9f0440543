use super::host::{BRIEF, EXPIRING, FAILING, HANGING, with_hello, with_token, with_tokens};
use super::*;

chat_suite::cases!(
    /// A request without credentials opens a connection without a user. The reply to `hello` is the `welcome`, which is
    /// the first event.
    #[source = "PROTOCOL.md, sections 1 and 3"]
    #[with(identify(with_hello))]
    async fn a_connection_without_credentials_begins_with_hello(stage: Stage) -> Verdict {
        let mut ann = opened(&stage, "ann").await?;
        ann.command(hello("h1", "7:Ann")).await?;
        let welcome = ann.any_event().await?;
        let is_reply = welcome["type"] == "welcome" && welcome["ref"] == "h1";
        ann.check(is_reply, "the `welcome` with the `ref` of the `hello`", &welcome)?;
        ann.check(welcome["user"] == json!({"id": "7", "name": "Ann"}), "the user of the token", &welcome)?;
        ann.check(welcome["expires_at"].is_null(), "no `expires_at`", &welcome)?;
        ann.join(&stage.room()).await?;
        ann.post(&stage.room(), "hi").await.map(drop)
    }

    /// Other commands before the `hello` are `hello_required`, and have no effect.
    #[source = "PROTOCOL.md, section 7.1 (`hello_required`)"]
    #[with(identify(with_hello))]
    async fn a_command_before_the_hello_is_refused(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut bob = stage.accepted("bob", &with_token(&stage, "8:Bob")).await?;
        bob.join(&room).await?;
        let mut ann = opened(&stage, "ann").await?;
        for command in [json!({"type": "join", "room": room}), json!({"type": "ping"}), send(&room, "early")]
        {
            let error = ann.ask_for_error("hello_required", command.clone()).await?;
            ann.check(error["room"] == command["room"], "the room of the command", &error)?;
        }
        ann.ask_for("welcome", json!({"type": "hello", "token": "7:Ann"})).await?;
        ann.ask_for_error("not_joined", send(&room, "hi")).await?;
        let seen = bob.events_so_far().await?;
        check(seen.is_empty(), "no event about a connection without a user", Events(&seen))
    }

    /// A `hello_required` is an error like others: ten within ten seconds close the connection with 4500.
    #[source = "PROTOCOL.md, section 7.1 (`too_many_errors`)"]
    #[with(identify(with_hello))]
    async fn ten_commands_before_the_hello_close_the_connection(stage: Stage) -> Verdict {
        let mut ann = opened(&stage, "ann").await?;
        for _ in 0..stage.limits().connection.max_errors {
            ann.ask_for_error("hello_required", json!({"type": "ping"})).await?;
        }
        ann.expect_closed(4500).await
    }

    /// A connection without an accepted `hello` is closed with 4502, even if it sends something else.
    #[source = "PROTOCOL.md, section 7.2 (4502)"]
    #[with(identify(with_hello))]
    #[with(limits(|limits| limits.connection.hello_timeout = millis(500)))]
    async fn a_connection_without_a_hello_is_closed(stage: Stage) -> Verdict {
        let mut bob = stage.accepted("bob", &with_token(&stage, "8:Bob")).await?;
        let mut ann = opened(&stage, "ann").await?;
        ann.ask_for_error("hello_required", json!({"type": "ping"})).await?;
        ann.send(Frame::ping(b"")).await?;
        ann.expect_closed(4502).await?;
        bob.expect_no_events().await
    }

    /// A `hello` with a token that is not valid closes the connection with 4501, and does not say why.
    #[source = "PROTOCOL.md, section 7.2 (4501)"]
    #[with(identify(with_hello))]
    async fn a_hello_with_an_invalid_token_closes_the_connection(stage: Stage) -> Verdict {
        for token in ["no-user", "", "7"] {
            let mut ann = opened(&stage, "ann").await?;
            ann.command(hello("h1", token)).await?;
            let closing = ann.any_event().await?;
            let expected = json!({"type": "closing", "code": 4501, "reason": "unauthorized"});
            ann.check(closing == expected, format!("only {expected}"), &closing)?;
            ann.expect_close_code(&[4501]).await?;
        }
        Ok(())
    }

    /// An identity check that fails, or that does not answer in time, is `unavailable`. The client may try again.
    #[source = "PROTOCOL.md, section 7.1 (`unavailable`)"]
    #[with(identify(with_hello))]
    #[with(limits(|limits| limits.http.identify_timeout = millis(300)))]
    async fn a_hello_without_an_answer_can_be_repeated(stage: Stage) -> Verdict {
        let mut ann = opened(&stage, "ann").await?;
        for token in [FAILING, HANGING] {
            ann.ask_for_error("unavailable", json!({"type": "hello", "token": token})).await?;
        }
        ann.ask_for("welcome", json!({"type": "hello", "token": "7:Ann"})).await.map(drop)
    }

    /// A `hello` of a user who has too many connections closes its connection with 4504, and no other.
    #[source = "PROTOCOL.md, section 7.2 (4504)"]
    #[with(identify(with_hello))]
    #[with(limits(|limits| limits.connection.max_per_user = 1))]
    #[with(one_node(LIMIT))]
    async fn a_hello_beyond_the_connections_of_a_user_closes_the_connection(stage: Stage) -> Verdict {
        let mut phone = opened(&stage, "phone").await?;
        let mut laptop = opened(&stage, "laptop").await?;
        phone.ask_for("welcome", json!({"type": "hello", "token": "7:Ann"})).await?;
        laptop.command(hello("h1", "7:Ann")).await?;
        laptop.expect_closed(4504).await?;
        phone.expect_no_events().await
    }

    /// The end of credentials is announced once, with the time in `welcome.expires_at`, and closes with 4005.
    #[source = "PROTOCOL.md, sections 4 and 7.2"]
    #[with(identify(with_tokens))]
    async fn the_end_of_credentials_is_announced(stage: Stage) -> Verdict {
        let request = with_token(&stage, &format!("7:{EXPIRING}"));
        let (mut ann, welcome) = stage.welcomed("ann", &request).await?;
        ann.check(welcome["expires_at"].is_u64(), "`expires_at` in ms since the Unix epoch", &welcome)?;
        let expiring = ann.any_event().await?;
        let expected = json!({"type": "expiring", "at": welcome["expires_at"]});
        ann.check(expiring == expected, format!("{expected}"), &expiring)?;
        let closing = ann.any_event().await?;
        ann.check(closing["type"] == "closing", "`closing`, and no second `expiring`", &closing)?;
        ann.expect_close_code(&[4005]).await
    }

    /// A `hello` of the same user renews the credentials of the connection, which stays in its rooms.
    #[source = "PROTOCOL.md, sections 1 and 3"]
    #[with(identify(with_tokens))]
    async fn a_hello_of_the_same_user_renews_the_credentials(stage: Stage) -> Verdict {
        let (mut ann, _) = stage.welcomed("ann", &with_token(&stage, &format!("7:{BRIEF}"))).await?;
        ann.expect("expiring").await?;
        ann.join(&stage.room()).await?;
        let welcome = ann.ask_for("welcome", json!({"type": "hello", "token": "7:Ann"})).await?;
        ann.check(welcome["expires_at"].is_null(), "no `expires_at`", &welcome)?;
        // The credentials of this connection expire after the first ones of the other.
        let (mut bob, _) = stage.welcomed("bob", &with_token(&stage, &format!("8:{BRIEF}"))).await?;
        bob.expect_closed(4005).await?;
        ann.post(&stage.room(), "still here").await?;
        ann.expect_no_events().await
    }

    /// A `hello` of another user closes the connection with 4501. The first user leaves.
    #[source = "PROTOCOL.md, section 7.2 (4501)"]
    #[with(identify(with_tokens))]
    async fn a_hello_of_another_user_closes_the_connection(stage: Stage) -> Verdict {
        let mut bob = stage.accepted("bob", &with_token(&stage, "8:Bob")).await?;
        bob.join(&stage.room()).await?;
        let mut ann = stage.accepted("ann", &with_token(&stage, "7:Ann")).await?;
        ann.join(&stage.room()).await?;
        ann.command(hello("h1", "9:Eve")).await?;
        ann.expect_closed(4501).await?;
        for state in ["joined", "left"] {
            let presence = bob.expect("presence").await?;
            let is_ann = presence["state"] == state && presence["user"]["id"] == "7";
            bob.check(is_ann, format!("`presence` of 7 with {state}"), &presence)?;
        }
        bob.expect_no_events().await
    }

    /// Commands that follow a `hello` in the same packet are carried out after it.
    #[source = "PROTOCOL.md, section 5.1"]
    #[with(identify(with_hello))]
    async fn commands_in_the_packet_of_a_hello_follow_it(stage: Stage) -> Verdict {
        let mut ann = opened(&stage, "ann").await?;
        let join = json!({"type": "join", "ref": "j", "room": stage.room()});
        let commands = [hello("h1", "7:Ann"), join, json!({"type": "ping", "ref": "p"})];
        ann.send_all(&commands.each_ref().map(Frame::json)).await?;
        for kind in ["welcome", "joined", "pong"] {
            ann.expect(kind).await?;
        }
        ann.expect_no_events().await
    }
);

/// A client whose request carries no credentials, after the 101.
async fn opened(stage: &Stage, name: &str) -> Result<Client, Failure> {
    let request = stage.handshake(name);
    let mut client = stage.send_request(name, &request).await?;
    client.expect_101(&request).await?;
    Ok(client)
}

fn hello(reference: &str, token: &str) -> Value {
    json!({"type": "hello", "ref": reference, "token": token})
}
