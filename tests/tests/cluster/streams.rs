//! Two nodes whose rooms are in three streams.

use anyhow::{Context, Result, ensure};
use chat_tests::{Client, eventually};
use serde_json::json;
use tokio::task::block_in_place;

use crate::nodes::{ACTIX, AXUM, node_with, refusal, servers, state};
use crate::servers::request;

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_in_several_streams_and_a_node_with_another_number_is_refused() -> Result<()> {
    let (servers, client) = servers(1).await;
    let streams = ["--cluster-streams", "3"];
    let (a, b) = (node_with(AXUM, "a", &servers, &streams)?, node_with(ACTIX, "b", &servers, &streams)?);
    for node in [&a, &b] {
        eventually(|| async { Ok(state(node).await?["nodes"] == 2) }).await?;
        let state = state(node).await?;
        ensure!(state["streams"] == 3 && state["stream"] == "chat" && state["state"] == "ok", "{state}");
    }
    let (mut ann, mut bob) =
        (Client::connect(a.address(), "ann").await?, Client::connect(b.address(), "bob").await?);
    for room in 0..12 {
        let room = format!("room-{room}");
        for user in [&mut ann, &mut bob] {
            let joined = user.ask(json!({"type": "join", "room": room})).await?;
            ensure!(joined["type"] == "joined", "{joined}");
        }
        for (seq, user) in (1..).zip([&mut ann, &mut bob]) {
            let send = json!({"type": "send", "room": room, "key": room, "body": {"text": room}});
            let sent = user.ask(send).await?;
            ensure!(sent["type"] == "sent" && sent["seq"] == seq, "{sent}");
        }
    }
    for stream in ["chat", "chat-2", "chat-3"] {
        let info =
            request(&client, &format!("STREAM.INFO.{stream}"), &json!({})).await.context("an answer")?;
        ensure!(info["state"]["messages"].as_u64().is_some_and(|count| count > 0), "{info}");
    }
    let addresses = servers.addresses();
    let cluster = ["--cluster", &addresses, "--node", "c", "--replicas", "1", "--durability", "process"];
    for (others, number) in [(&[][..], "1"), (&["--cluster-streams", "4"][..], "4")] {
        let refused = refusal(AXUM, &[&cluster[..], others].concat())?;
        let text = format!("--cluster-streams: the chat has its rooms in 3 streams instead of {number}");
        ensure!(refused.starts_with(&text), "{refused}");
    }
    let log = block_in_place(|| a.stop())?;
    ensure!(log.iter().any(|line| line["message"] == "cluster joined" && line["streams"] == 3), "{log:#?}");
    block_in_place(|| b.stop())?;
    Ok(())
}
