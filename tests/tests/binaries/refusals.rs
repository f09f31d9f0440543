use anyhow::{Result, ensure};
use chat_tests::{BINARIES, Daemon, check_levels, request_upgrade};

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_logged_with_its_origin_host_and_address() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        let origin = "Origin: https://other.example/\"\té\r\n";
        let (_, status) = request_upgrade(daemon.address(), origin).await?;
        ensure!(status == 403, "{binary:?}: {status}");
        let log = daemon.stop()?;
        let line = log.iter().find(|line| line["message"] == "upgrade refused");
        let line = line.ok_or_else(|| anyhow::anyhow!("{binary:?}: {log:#?}"))?;
        ensure!(line["code"] == "origin_forbidden" && line["status"] == 403, "{binary:?}: {line}");
        ensure!(line["address"] == "127.0.0.1", "{binary:?}: {line}");
        ensure!(line["origin"] == "https://other.example/\\\"\\té", "{binary:?}: {line}");
        ensure!(line["host"].as_str().is_some_and(|host| !host.is_empty()), "{binary:?}: {line}");
        check_levels(&log)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refusals_of_one_address_are_counted() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        for _ in 0..100 {
            let (_, status) = request_upgrade(daemon.address(), "Origin: null\r\n").await?;
            ensure!(status == 403, "{binary:?}: {status}");
        }
        let log = daemon.stop()?;
        let lines = log.iter().filter(|line| line["message"] == "upgrade refused").count();
        ensure!(lines == 10, "{binary:?}: {lines} lines");
        let counted = log.iter().find(|line| line["message"] == "further upgrades refused");
        let fits = counted.is_some_and(|line| line["refusals"] == 90 && line["address"] == "127.0.0.1");
        ensure!(fits, "{binary:?}: {counted:?}");
    }
    Ok(())
}
