//! A network that drops, repeats, exchanges or alters one delivery: the tool must say so.

mod support;

use anyhow::{Result, ensure};
use serde_json::Value;
use support::proxy::{Fault, proxy};
use support::{Server, chat_load};

async fn through(fault: Fault, arguments: &[&str]) -> Result<(Option<i32>, Value)> {
    let server = Server::start();
    let (url, _) = proxy(server.address, fault).await?;
    let (output, report) = chat_load(&url, &[arguments, &["--patience", "2"]].concat()).await?;
    Ok((output.status.code(), report))
}

async fn report(fault: Fault) -> Result<(Option<i32>, Value)> {
    through(fault, &["fanout", "--connections", "3", "--senders", "1", "--rate", "50", "--duration", "1"])
        .await
}

#[tokio::test]
async fn a_network_without_a_fault_is_good() -> Result<()> {
    let (code, report) = report(Fault::Nothing).await?;
    ensure!(code == Some(0), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn each_fault_is_noticed_and_counted_as_what_it_is() -> Result<()> {
    for (fault, field) in [
        (Fault::Drop, "lost"),
        (Fault::Repeat, "duplicated"),
        (Fault::Exchange, "out_of_order"),
        (Fault::Alter, "altered"),
    ] {
        let (code, report) = report(fault).await?;
        ensure!(code == Some(1), "{fault:?}: {report:#}");
        for other in ["lost", "duplicated", "out_of_order", "altered"] {
            let count = report["deliveries"][other].as_u64();
            // Whoever sees the altered one first, disagrees with all others.
            let many = (field, other) == ("altered", "altered") && count > Some(1);
            ensure!(count == Some(u64::from(other == field)) || many, "{fault:?}: {other} in {report:#}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn messages_that_are_never_acknowledged_are_noticed() -> Result<()> {
    let (code, report) = report(Fault::DropAcknowledgements).await?;
    ensure!(code == Some(1) && report["acknowledged"] == 0, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn whoever_waits_for_an_acknowledgement_sends_nothing_more() -> Result<()> {
    let arguments = ["rooms", "--closed", "--connections", "6", "--members", "2", "--duration", "1"];
    let (code, report) = through(Fault::DropAcknowledgements, &arguments).await?;
    ensure!(code == Some(1) && report["sent"] == 3 && report["deliveries"]["delivered"] == 6, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn pages_that_are_not_the_history_are_noticed() -> Result<()> {
    for (fault, problem) in [
        (Fault::StalePages, "a page that is not the next"),
        (Fault::AlterPages, "a page with another message than was sent"),
    ] {
        let arguments =
            ["pages", "--connections", "1", "--pagers", "1", "--history", "500", "--duration", "2"];
        let (code, report) = through(fault, &arguments).await?;
        ensure!(code == Some(1) && report["endings"][problem].as_u64() > Some(0), "{fault:?}: {report:#}");
        ensure!(report["deliveries"]["altered"] == 0, "only the pages were: {report:#}");
    }
    Ok(())
}
