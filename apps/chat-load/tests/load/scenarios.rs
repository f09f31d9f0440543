//! Each scenario, with a small load.

use std::process::Stdio;

use anyhow::{Result, ensure};
use chat_tests::{Affected, Proxy, ProxyFault, eventually, within};
use serde_json::Value;
use tokio::process::Command;

use crate::{ReportFile, Run, chat_load, run, start_echo, start_server, url};

/// Runs a scenario against a correct server. Every check must pass. Returns the report.
async fn passing_run(arguments: &str) -> Result<Value> {
    let server = start_server().await?;
    let Run { exit_code, output, report } = run(&url(server.address()), arguments).await?;
    ensure!(exit_code == Some(0), "{output}");
    ensure!(output.lines().last().is_some_and(|line| line.starts_with("good")), "{output}");
    Ok(report)
}

#[tokio::test]
async fn fanout_delivers_every_message_to_every_member() -> Result<()> {
    let report = passing_run("fanout --connections 7 --senders 3 --rate 50 --duration 2").await?;
    ensure!(report["sent"] == 100 && report["acknowledged"] == 100, "{report:#}");
    ensure!(report["deliveries"]["delivered"] == 100 * 10, "the writers read, too: {report:#}");
    ensure!(report["latencies"]["delivery"]["count"] == 1_000, "{report:#}");
    ensure!(report["latencies"]["acknowledgement"]["count"] == 100, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn rooms_delivers_each_message_only_in_its_room() -> Result<()> {
    let report = passing_run("rooms --connections 20 --members 4 --rate 50 --duration 2").await?;
    ensure!(report["deliveries"]["delivered"] == 100 * 4, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn closed_loop_writers_have_one_message_in_flight() -> Result<()> {
    let report = passing_run("rooms --closed --connections 8 --members 2 --duration 1").await?;
    let sent = report["sent"].as_u64();
    ensure!(sent > Some(4) && report["acknowledged"].as_u64() == sent, "{report:#}");
    ensure!(report["deliveries"]["delivered"].as_u64() == sent.map(|sent| 2 * sent), "{report:#}");
    ensure!(report["rate"].is_null(), "a closed loop has no rate: {report:#}");
    Ok(())
}

#[tokio::test]
async fn pages_reads_the_whole_history_during_deliveries() -> Result<()> {
    let arguments = "pages --connections 5 --pagers 2 --history 700 --turns 2 --rate 50 --duration 4";
    let report = passing_run(arguments).await?;
    ensure!(report["sent"] == 200 && report["deliveries"]["delivered"] == 200 * (5 + 4 + 2), "{report:#}");
    let paged = &report["paged"];
    ensure!(paged["pages"].as_u64() >= Some(4) && paged["walks"].as_u64() > Some(0), "{report:#}");
    ensure!(paged["longest"].as_u64() >= Some(700), "{report:#}");
    let counted = |kind: &str| paged[kind]["delivery"]["count"].as_u64();
    // The first tenth of each part is left out, and so are the deliveries to the pagers.
    ensure!(counted("without") == Some(90 * 9) && counted("with") == Some(90 * 9), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn spike_sends_ten_times_the_rate_in_the_middle() -> Result<()> {
    let report = passing_run("spike --connections 3 --senders 1 --rate 20 --duration 3").await?;
    ensure!(report["sent"] == 20 + 200 + 20, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn storm_connects_from_many_addresses() -> Result<()> {
    let report = passing_run("storm --rate 40 --duration 1 --sources 300").await?;
    ensure!(report["acknowledged"] == 40 && report["latencies"]["connection"]["count"] == 40, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn resume_delivers_complete_streams_after_reconnects() -> Result<()> {
    let report = passing_run("resume --connections 5 --rate 50 --duration 3 --every 0.5 --threads 2").await?;
    ensure!(report["deliveries"]["delivered"] == 150 * 6, "{report:#}");
    ensure!(report["reconnects"].as_u64() > Some(3), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn slow_readers_receive_everything_later() -> Result<()> {
    for pace in ["stop", "trickle"] {
        let arguments = format!("slow --connections 10 --pace {pace} --rate 50 --duration 2");
        let report = passing_run(&arguments).await?;
        ensure!(report["notes"].to_string().contains("2 readers"), "{report:#}");
    }
    Ok(())
}

#[tokio::test]
async fn idle_holds_connections_and_measures_memory() -> Result<()> {
    let arguments = format!("idle --connections 50 --duration 1 --pid {}", std::process::id());
    let report = passing_run(&arguments).await?;
    ensure!(report["server"]["rss_kib"][1].as_u64() > Some(0), "{report:#}");
    ensure!(report["server"]["descriptors"].as_u64() > Some(50), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn echo_returns_round_trips_in_order() -> Result<()> {
    let report = passing_run("echo --connections 4 --rate 100 --duration 1").await?;
    ensure!(report["acknowledged"] == 100 && report["latencies"]["round trip"]["count"] == 100, "{report:#}");
    let echo = start_echo(|text| vec![text]).await?;
    let Run { exit_code, report, .. } = run(&echo, "echo --what text --duration 1").await?;
    ensure!(exit_code == Some(0) && report["acknowledged"] == 100, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn changes_are_delivered_and_measured_against_sends() -> Result<()> {
    let pid = std::process::id();
    let arguments =
        format!("changes --connections 5 --senders 3 --entries 12 --pages 3 --turns 2 --pid {pid}");
    let report = passing_run(&arguments).await?;
    // A turn has 12 entries of each kind, of which every second message is deleted.
    ensure!(report["deliveries"]["delivered"] == 2 * (4 * 12 + 6) * (5 + 3), "{report:#}");
    let costs = report["costs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |kind: &str| costs.iter().find(|cost| cost["kind"] == kind).cloned().unwrap_or_default();
    for (kind, count) in
        [("send", 24), ("edit", 24), ("reaction", 24), ("reaction-to-one", 24), ("deletion", 12)]
    {
        ensure!(of(kind)["count"] == count && of(kind)["server_us"].is_f64(), "{kind}: {report:#}");
    }
    ensure!(of("page")["count"] == 6 && of("page-with-reactions")["count"] == 6, "{report:#}");
    ensure!(report["notes"].to_string().contains("24 messages of a new reader equal"), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_or_reordered_echo_is_found() -> Result<()> {
    let altering = start_echo(|text| vec![text.replace("7 ", "8 ")]).await?;
    let repeating = start_echo(|text| vec![text.clone(), text]).await?;
    for url in [altering, repeating] {
        let arguments = "echo --what text --connections 1 --rate 20 --duration 1 --patience 1";
        let Run { exit_code, report, .. } = run(&url, arguments).await?;
        ensure!(exit_code == Some(1), "{report:#}");
    }
    Ok(())
}

#[tokio::test]
async fn invalid_options_give_exit_code_2() -> Result<()> {
    for arguments in [
        "",
        "dance",
        "fanout --rate 0",
        "fanout --rate x",
        "fanout --duration -1",
        "fanout --url http://127.0.0.1/ws",
        "fanout --url ws://192.0.2.1/ws",
        "fanout --url ws://127.0.0.1@192.0.2.1:80/ws",
        "slow --share 2",
        "pages --turns 0",
        "spike --closed",
        "pages --protocol chat-bare",
        "idle --protocol plain",
    ] {
        let output = chat_load(arguments).output().await?;
        ensure!(output.status.code() == Some(2), "{arguments}: {}", output.status);
        ensure!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unreachable_server_gives_exit_code_1() -> Result<()> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let output = chat_load("idle").args(["--url", &url(free)]).output().await?;
    ensure!(output.status.code() == Some(1) && String::from_utf8(output.stderr)?.starts_with("error: "));
    Ok(())
}

#[tokio::test]
async fn an_interrupted_run_writes_its_report() -> Result<()> {
    let server = start_server().await?;
    let proxy = Proxy::start(server.address(), ProxyFault::None, Affected::Tenth).await?;
    let file = ReportFile::new()?;
    let mut child = chat_load("fanout --connections 2 --duration 600")
        .args(["--url", &url(proxy.address()), "--json"])
        .arg(file.path())
        .stdout(Stdio::piped())
        .spawn()?;
    eventually(|| async { Ok(proxy.messages() > 200) }).await?;
    let pid = child.id().unwrap_or_default().to_string();
    ensure!(Command::new("kill").args(["-INT", &pid]).status().await?.success());
    let status = within(child.wait()).await??;
    let report = file.read()?;
    ensure!(report["interrupted"] == true, "{status} {report:#}");
    ensure!(report["acknowledged"].as_u64() > Some(0), "{status} {report:#}");
    Ok(())
}
