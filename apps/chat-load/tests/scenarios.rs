//! Each scenario, small, by the program itself against a real server.

mod support;

use std::process::Output;
use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use serde_json::Value;
use support::proxy::{Fault, proxy};
use support::{Server, chat_load};

async fn good(arguments: &[&str]) -> Result<Value> {
    let server = Server::start();
    let (output, report) = chat_load(&server.url(), arguments).await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.lines().last().is_some_and(|line| line.starts_with("good")), "{said}");
    Ok(report)
}

#[tokio::test]
async fn a_fan_out_delivers_every_message_to_everybody() -> Result<()> {
    let report =
        good(&["fanout", "--connections", "7", "--senders", "3", "--rate", "50", "--duration", "2"]).await?;
    ensure!((report["sent"] == 100) && (report["acknowledged"] == 100), "{report:#}");
    ensure!(report["deliveries"]["delivered"] == 100 * 10, "the writers read, too: {report:#}");
    ensure!(
        report["latencies"]["delivery"]["count"] == 1_000
            && report["latencies"]["acknowledgement"]["count"] == 100
    );
    Ok(())
}

#[tokio::test]
async fn many_rooms_are_each_told_what_is_theirs() -> Result<()> {
    let report =
        good(&["rooms", "--connections", "20", "--members", "4", "--rate", "50", "--duration", "2"]).await?;
    ensure!(report["deliveries"]["delivered"] == 100 * 4, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn writers_that_wait_for_acknowledgements_have_one_message_each_on_its_way() -> Result<()> {
    let report =
        good(&["rooms", "--closed", "--connections", "8", "--members", "2", "--duration", "1"]).await?;
    let sent = report["sent"].as_u64();
    ensure!(sent > Some(4) && report["acknowledged"].as_u64() == sent, "{report:#}");
    ensure!(report["deliveries"]["delivered"].as_u64() == sent.map(|sent| 2 * sent), "{report:#}");
    ensure!(report["rate"].is_null(), "there was none: {report:#}");
    Ok(())
}

#[tokio::test]
async fn a_history_is_read_to_its_first_message_while_deliveries_go_on() -> Result<()> {
    let report = good(&[
        "pages",
        "--connections",
        "5",
        "--pagers",
        "2",
        "--history",
        "700",
        "--turns",
        "2",
        "--rate",
        "50",
        "--duration",
        "4",
    ])
    .await?;
    ensure!(report["sent"] == 200 && report["deliveries"]["delivered"] == 200 * (5 + 4 + 2), "{report:#}");
    let paged = &report["paged"];
    ensure!(paged["pages"].as_u64() >= Some(4) && paged["walks"].as_u64() > Some(0), "{report:#}");
    ensure!(paged["longest"].as_u64() >= Some(700), "{report:#}");
    let counted = |kind: &str| paged[kind]["delivery"]["count"].as_u64();
    // A tenth of each part counts for neither, and what the pagers hear is not counted.
    ensure!(counted("without") == Some(90 * 9) && counted("with") == Some(90 * 9), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_spike_sends_more_in_the_same_time() -> Result<()> {
    let report =
        good(&["spike", "--connections", "3", "--senders", "1", "--rate", "20", "--duration", "3"]).await?;
    ensure!(report["sent"] == 20 + 200 + 20, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_storm_connects_from_many_addresses() -> Result<()> {
    let report = good(&["storm", "--rate", "40", "--duration", "1", "--sources", "300"]).await?;
    ensure!(report["acknowledged"] == 40 && report["latencies"]["connection"]["count"] == 40, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn readers_that_lose_their_connections_find_their_streams_whole() -> Result<()> {
    let report = good(&[
        "resume",
        "--connections",
        "5",
        "--rate",
        "50",
        "--duration",
        "3",
        "--every",
        "0.5",
        "--threads",
        "2",
    ])
    .await?;
    ensure!(
        report["deliveries"]["delivered"] == 150 * 6 && report["reconnects"].as_u64() > Some(3),
        "{report:#}"
    );
    Ok(())
}

#[tokio::test]
async fn readers_that_stop_to_read_find_everything_later() -> Result<()> {
    for pace in ["stop", "trickle"] {
        let report =
            good(&["slow", "--connections", "10", "--pace", pace, "--rate", "50", "--duration", "2"]).await?;
        ensure!(report["notes"].to_string().contains("2 readers"), "{report:#}");
    }
    Ok(())
}

#[tokio::test]
async fn idle_connections_are_held_and_weighed() -> Result<()> {
    let own = std::process::id().to_string();
    let report = good(&["idle", "--connections", "50", "--duration", "1", "--pid", &own]).await?;
    ensure!(report["server"]["rss_kib"][1].as_u64() > Some(0), "{report:#}");
    ensure!(report["server"]["descriptors"].as_u64() > Some(50), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn round_trips_come_back_in_order() -> Result<()> {
    let report = good(&["echo", "--connections", "4", "--rate", "100", "--duration", "1"]).await?;
    ensure!(report["acknowledged"] == 100 && report["latencies"]["round trip"]["count"] == 100, "{report:#}");
    let echo = support::echo(|text| vec![text]).await?;
    let (output, report) = chat_load(&echo, &["echo", "--what", "text", "--duration", "1"]).await?;
    ensure!(output.status.code() == Some(0) && report["acknowledged"] == 100, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn an_echo_that_lies_or_answers_out_of_order_is_noticed() -> Result<()> {
    let liar = support::echo(|text| vec![text.replace("7 ", "8 ")]).await?;
    let stutterer = support::echo(|text| vec![text.clone(), text]).await?;
    for url in [liar, stutterer] {
        let (output, report) = chat_load(
            &url,
            &[
                "echo",
                "--what",
                "text",
                "--connections",
                "1",
                "--rate",
                "20",
                "--duration",
                "1",
                "--patience",
                "1",
            ],
        )
        .await?;
        ensure!(output.status.code() == Some(1), "{report:#}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_exit_code_2() -> Result<()> {
    let bad: [&[&str]; 11] = [
        &[],
        &["dance"],
        &["fanout", "--rate", "0"],
        &["fanout", "--rate", "x"],
        &["fanout", "--duration", "-1"],
        &["fanout", "--url", "http://127.0.0.1/ws"],
        &["fanout", "--url", "ws://192.0.2.1/ws"],
        &["fanout", "--url", "ws://127.0.0.1@192.0.2.1:80/ws"],
        &["slow", "--share", "2"],
        &["pages", "--turns", "0"],
        &["fanout", "--closed"],
    ];
    for arguments in bad {
        let output: Output = support::program().args(arguments).output().await?;
        ensure!(output.status.code() == Some(2), "{arguments:?}: {}", output.status);
        ensure!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_is_exit_code_1() -> Result<()> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let output = support::program().args(["idle", "--url", &format!("ws://{free}/ws")]).output().await?;
    ensure!(output.status.code() == Some(1) && String::from_utf8(output.stderr)?.starts_with("error: "));
    Ok(())
}

#[tokio::test]
async fn an_interrupted_run_tells_what_there_was() -> Result<()> {
    let server = Server::start();
    let (url, messages) = proxy(server.address, Fault::Nothing).await?;
    let json = support::report_file();
    let mut child = support::program()
        .args(["fanout", "--url", &url, "--connections", "2", "--duration", "600", "--json"])
        .arg(&json)
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    support::until(|| messages.load(Ordering::Relaxed) > 200).await;
    let pid = child.id().unwrap_or_default().to_string();
    ensure!(tokio::process::Command::new("kill").args(["-INT", &pid]).status().await?.success());
    let status = support::within(child.wait()).await?;
    let report: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    std::fs::remove_file(json)?;
    ensure!(
        report["interrupted"] == true && report["acknowledged"].as_u64() > Some(0),
        "{status} {report:#}"
    );
    Ok(())
}
