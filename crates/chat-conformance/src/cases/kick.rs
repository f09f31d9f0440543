use chat_core::User;

use super::*;

chat_suite::cases!(
    /// A kick closes every connection of the user with 4503. Other members stay, and see that the user has left.
    #[source = "PROTOCOL.md, section 7.2 (4503)"]
    #[with(needs(Needs::Host))]
    async fn a_kick_closes_every_connection_of_the_user(stage: Stage, mut bob: Member) -> Verdict {
        let (mut phone, mut laptop) = (stage.member("ann").await?, stage.client("ann").await?);
        let kicked = stage.kick(&guest(&stage, "ann")?);
        // A node counts its own connections.
        check(stage.has_nodes() || kicked == 2, "2 kicked connections", kicked)?;
        for client in [&mut phone, &mut laptop] {
            let closing = client.until("closing").await?;
            let fits = closing["code"] == 4503
                && closing["reason"] == "kicked"
                && closing["reconnect_in_ms"].is_null();
            client.check(fits, "`closing` with 4503, kicked, and no time to reconnect", &closing)?;
            client.expect_close_code(&[4503]).await?;
            client.send(Frame::close(4503, "")).await?;
            client.expect_disconnect().await?;
        }
        for state in ["joined", "left"] {
            let presence = bob.expect("presence").await?;
            bob.check(presence["state"] == state, format!("`presence` with {state}"), &presence)?;
        }
        bob.post(&stage.room(), "still here").await?;
        bob.expect_no_events().await
    }

    /// A kick ends connections, and is no ban: the user can connect and join again.
    #[source = "PROTOCOL.md, section 7.2 (4503)"]
    #[with(needs(Needs::Host))]
    async fn a_kicked_user_can_connect_again(stage: Stage, mut ann: Member) -> Verdict {
        stage.kick(&guest(&stage, "ann")?);
        ann.expect_closed(4503).await?;
        // On another node, a connection that is newer by less than 10 ms may be closed too.
        sleep(millis(50)).await;
        let mut again = stage.member("ann").await?;
        again.post(&stage.room(), "back").await?;
        again.expect_no_events().await
    }
);

fn guest(stage: &Stage, name: &str) -> Result<User, Failure> {
    User::guest(&stage.named(name)).map_err(|error| Failure::new("a valid name", error))
}
