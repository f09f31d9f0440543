use anyhow::{Context, Result, ensure};
use chat_tests::{Client, Daemon};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::conversation::text;
use crate::disk::Disk;
use crate::programs;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_sends_and_nothing_else_and_heals_by_itself() -> Result<()> {
    for binary in programs() {
        let home = TempDir::new()?;
        let disk = Disk::mount(home.path().join("disk"), "2m")?;
        let daemon = Daemon::start(binary, &["--data", text(&disk.path().join("store"))?])?;
        let mut sender = member(&daemon, "sender").await?;
        let mut witness = member(&daemon, "witness").await?;
        ensure!(say(&mut sender).await?["type"] == "sent");
        disk.fill()?;
        let mut refused = 0;
        let mut seqs = Vec::new();
        for _ in 0..300 {
            let reply = say(&mut sender).await?;
            if reply["type"] == "sent" {
                // There may be some room in the files themselves.
                seqs.push(reply["seq"].clone());
            } else {
                ensure!(reply["code"] == "unavailable", "{reply}");
                refused += 1;
            }
        }
        ensure!(refused > 200, "only {refused} were refused");
        ensure!(daemon.ready().await?["store"]["state"] == "failing");
        ensure!(daemon.ready().await?["ready"] == true, "it still reads");
        let page = json!({"type": "history", "room": "lobby", "after": 0, "limit": 1});
        ensure!(sender.ask(page, "h").await?["messages"][0]["seq"] == 1);
        let late = member(&daemon, "late").await?;

        disk.free()?;
        let healed = say(&mut sender).await?;
        ensure!(healed["type"] == "sent", "{healed}");
        seqs.push(healed["seq"].clone());
        ensure!(daemon.ready().await?["store"]["state"] == "ok");
        // The witness has seen what was acknowledged, and nothing of what was not.
        let mut seen = Vec::new();
        while seen.last() != seqs.last() {
            seen.push(witness.until("message").await?["seq"].clone());
        }
        seqs.insert(0, json!(1));
        ensure!(seen == seqs, "{seen:?} is not {seqs:?}");
        late.close(1000).await?;
        sender.close(1000).await?;
        witness.close(1000).await?;
        let log = daemon.stop()?;
        for level in ["WARN", "ERROR"] {
            let lines: Vec<&Value> = log.iter().filter(|line| line["level"] == level).collect();
            ensure!(lines.len() == 1, "{lines:#?}");
        }
    }
    Ok(())
}

async fn member(daemon: &Daemon, name: &str) -> Result<Client> {
    let mut client = Client::connect(daemon.address(), name).await?;
    let joined = client.ask(json!({"type": "join", "room": "lobby"}), "join").await?;
    joined["epoch"].as_str().context("not joined")?;
    Ok(client)
}

async fn say(client: &mut Client) -> Result<Value> {
    let body = json!({"text": "x".repeat(4_000)});
    client.ask(json!({"type": "send", "room": "lobby", "body": body}), "s").await
}
