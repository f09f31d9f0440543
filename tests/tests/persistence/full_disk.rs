use anyhow::{Result, ensure};
use chat_tests::{Binary, Client, Daemon, Disk, lifted};
use serde_json::{Value, json};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_only_sends_until_it_has_space_again() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let disk = Disk::mount(home.path().join("disk"), "2m")?;
        let daemon = Daemon::start_in(&disk.path().join("store"), binary, &lifted())?;
        let mut sender = Client::member(daemon.address(), "sender").await?;
        let mut witness = Client::member(daemon.address(), "witness").await?;
        let text = "x".repeat(4_000);
        ensure!(sender.say(&text).await?["type"] == "sent");
        disk.fill()?;
        let mut refused = 0;
        let mut seqs = Vec::new();
        for _ in 0..300 {
            let reply = sender.say(&text).await?;
            if reply["type"] == "sent" {
                // The files of the store may have some free space.
                seqs.push(reply["seq"].clone());
            } else {
                ensure!(reply["code"] == "unavailable", "{reply}");
                refused += 1;
            }
        }
        ensure!(refused > 200, "only {refused} were refused");
        ensure!(daemon.ready().await?["store"]["state"] == "failing");
        ensure!(daemon.ready().await?["ready"] == true, "the store can still be read");
        let page = json!({"type": "history", "room": "lobby", "after": 0, "limit": 1});
        ensure!(sender.ask(page).await?["messages"][0]["seq"] == 1);
        let late = Client::member(daemon.address(), "late").await?;

        disk.free()?;
        let healed = sender.say(&text).await?;
        ensure!(healed["type"] == "sent", "{healed}");
        seqs.push(healed["seq"].clone());
        ensure!(daemon.ready().await?["store"]["state"] == "ok");
        // The witness receives the acknowledged messages and no refused one.
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
