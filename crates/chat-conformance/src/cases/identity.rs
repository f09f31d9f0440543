use super::host::{EXPIRING, FAILING, HANGING, with_token, with_tokens};
use super::*;

chat_suite::cases!(
    /// A request that the host does not accept is answered with 401 and names the scheme of credentials.
    #[source = "PROTOCOL.md, section 1 (`unauthorized`)"]
    #[with(identify(with_tokens))]
    async fn a_request_without_a_credential_is_refused(stage: Stage) -> Verdict {
        for request in [stage.handshake("ann"), with_token(&stage, "no-user")] {
            let mut refused = stage.send_request("refused", &request).await?;
            let answer = refused.expect_refusal(401, "unauthorized").await?;
            refused.check_header(&answer, "www-authenticate", "Bearer")?;
            refused.check_no_header(&answer, "retry-after")?;
        }
        stage.accepted("ann", &with_token(&stage, "7:Ann")).await.map(drop)
    }

    /// An identity check that fails, or that does not answer in time, admits no user: the answer is 503 with
    /// `Retry-After`.
    #[source = "PROTOCOL.md, section 1 (`unavailable`)"]
    #[with(identify(with_tokens))]
    #[with(limits(|limits| limits.http.identify_timeout = millis(300)))]
    async fn an_identity_check_without_an_answer_refuses_the_request(stage: Stage) -> Verdict {
        for token in [FAILING, HANGING] {
            let mut refused = stage.send_request("refused", &with_token(&stage, token)).await?;
            let answer = refused.expect_refusal(503, "unavailable").await?;
            let advice = answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
            check(advice.is_some(), "`Retry-After` in seconds", answer.head())?;
        }
        stage.accepted("ann", &with_token(&stage, "7:Ann")).await.map(drop)
    }

    /// The user has the id and the name that the host gives, and not the `name` of the query.
    #[source = "PROTOCOL.md, sections 1 and 4"]
    #[with(identify(with_tokens))]
    async fn a_user_has_the_id_and_name_of_the_host(stage: Stage) -> Verdict {
        let (mut ann, welcome) = stage.welcomed("ann", &with_token(&stage, "7:Ann")).await?;
        let user = json!({"id": "7", "name": "Ann"});
        ann.check(welcome["user"] == user, format!("the user {user}"), &welcome)?;
        ann.join(&stage.room()).await?;
        ann.command(send(&stage.room(), "hi")).await?;
        let message = ann.expect("message").await?;
        ann.check(message["user"] == user, format!("a message of {user}"), &message)
    }

    /// Connections with one id are one user: one `presence`, one member, and one set of keys.
    #[source = "PROTOCOL.md, sections 4 and 5.3"]
    #[with(identify(with_tokens))]
    async fn connections_with_one_id_are_one_user(stage: Stage) -> Verdict {
        let mut bob = identified(&stage, "8:Bob").await?;
        let mut phone = identified(&stage, "7:Ann").await?;
        let mut laptop = identified(&stage, "7:Ann").await?;
        let first = phone.ask_for("sent", keyed(&stage, "k1")).await?;
        let second = laptop.ask_for("sent", keyed(&stage, "k1")).await?;
        let is_repeat = second["duplicate"] == true && second["seq"] == first["seq"];
        laptop.check(is_repeat, "a `duplicate` of the first message", &second)?;
        expect_members(&mut bob, &stage, &[("7", "Ann"), ("8", "Bob")]).await?;
        expect_joined_once(&mut bob, &["7"]).await
    }

    /// Users with one name and different ids are different users: each has its own `presence`, place and keys.
    #[source = "PROTOCOL.md, sections 4 and 5.3"]
    #[with(identify(with_tokens))]
    async fn users_with_one_name_and_two_ids_are_two(stage: Stage) -> Verdict {
        let mut bob = identified(&stage, "8:Bob").await?;
        let mut ann = identified(&stage, "7:Ann").await?;
        let mut other = identified(&stage, "9:Ann").await?;
        let first = ann.ask_for("sent", keyed(&stage, "k1")).await?;
        let second = other.ask_for("sent", keyed(&stage, "k1")).await?;
        let is_new = second["duplicate"].is_null() && second["seq"] != first["seq"];
        other.check(is_new, "a second message", &second)?;
        expect_members(&mut bob, &stage, &[("7", "Ann"), ("9", "Ann"), ("8", "Bob")]).await?;
        expect_joined_once(&mut bob, &["7", "9"]).await
    }

    /// A connection is closed with 4005 when its credentials expire. Others are not.
    #[source = "PROTOCOL.md, section 7.2 (4005)"]
    #[with(identify(with_tokens))]
    async fn a_connection_is_closed_when_its_credentials_expire(stage: Stage) -> Verdict {
        let mut bob = stage.accepted("bob", &with_token(&stage, "8:Bob")).await?;
        let mut ann = stage.accepted("ann", &with_token(&stage, &format!("7:{EXPIRING}"))).await?;
        ann.expect_closed(4005).await?;
        bob.expect_no_events().await
    }
);

/// A client with this token that has joined the room of the case.
async fn identified(stage: &Stage, token: &str) -> Result<Client, Failure> {
    let mut client = stage.accepted("user", &with_token(stage, token)).await?;
    client.join(&stage.room()).await?;
    Ok(client)
}

fn keyed(stage: &Stage, key: &str) -> Value {
    json!({"type": "send", "room": stage.room(), "key": key, "body": {"text": "hi"}})
}

/// Expects these users as the members of the room.
async fn expect_members(client: &mut Client, stage: &Stage, users: &[(&str, &str)]) -> Verdict {
    let reply = client.ask_for("members", json!({"type": "members", "room": stage.room()})).await?;
    let mut members = reply["members"].as_array().cloned().unwrap_or_default();
    members.sort_by_key(|user| (user["name"].to_string(), user["id"].to_string()));
    let users: Vec<_> = users.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
    client.check(members == users, format!("the members {}", json!(users)), &reply)
}

/// Expects that `presence` has announced exactly these ids, each once.
async fn expect_joined_once(client: &mut Client, ids: &[&str]) -> Verdict {
    let events = client.events_so_far().await?;
    let presences = events.iter().filter(|event| event["type"] == "presence");
    let joined: Vec<_> = presences.map(|event| (&event["state"], &event["user"]["id"])).collect();
    let state = json!("joined");
    let ids: Vec<_> = ids.iter().map(|id| json!(id)).collect();
    let expected: Vec<_> = ids.iter().map(|id| (&state, id)).collect();
    check(joined == expected, format!("one `presence` of each of {}", json!(ids)), Events(&events))
}
