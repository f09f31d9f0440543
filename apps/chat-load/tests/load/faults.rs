//! A proxy that drops, repeats, swaps or alters messages: `chat-load` must report it.

use anyhow::{Result, ensure};
use chat_tests::{Affected, Proxy, ProxyFault};

use crate::{Run, run, start_server, url};

const FANOUT: &str = "fanout --connections 3 --senders 1 --rate 50 --duration 1";

async fn run_with_fault(fault: ProxyFault, arguments: &str) -> Result<Run> {
    let server = start_server().await?;
    let proxy = Proxy::start(server.address(), fault, Affected::Tenth).await?;
    run(&url(proxy.address()), &format!("{arguments} --patience 2")).await
}

#[tokio::test]
async fn a_network_without_faults_passes() -> Result<()> {
    let Run { exit_code, report, .. } = run_with_fault(ProxyFault::None, FANOUT).await?;
    ensure!(exit_code == Some(0), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn each_fault_is_found_and_counted_as_its_kind() -> Result<()> {
    for (fault, field) in [
        (ProxyFault::Drop, "lost"),
        (ProxyFault::Repeat, "duplicated"),
        (ProxyFault::Swap, "out_of_order"),
        (ProxyFault::AlterKey, "altered"),
    ] {
        let Run { exit_code, report, .. } = run_with_fault(fault, FANOUT).await?;
        ensure!(exit_code == Some(1), "{fault:?}: {report:#}");
        for other in ["lost", "duplicated", "out_of_order", "altered"] {
            let count = report["deliveries"][other].as_u64();
            // If the altered message is the first at its seq, all correct ones count as altered.
            let many = (field, other) == ("altered", "altered") && count > Some(1);
            ensure!(count == Some(u64::from(other == field)) || many, "{fault:?}: {other} in {report:#}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn unacknowledged_messages_are_found() -> Result<()> {
    let Run { exit_code, report, .. } = run_with_fault(ProxyFault::DropAcknowledgements, FANOUT).await?;
    ensure!(exit_code == Some(1) && report["acknowledged"] == 0, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_closed_loop_writer_waits_for_its_acknowledgement() -> Result<()> {
    let arguments = "rooms --closed --connections 6 --members 2 --duration 1";
    let Run { exit_code, report, .. } = run_with_fault(ProxyFault::DropAcknowledgements, arguments).await?;
    ensure!(exit_code == Some(1) && report["sent"] == 3, "{report:#}");
    ensure!(report["deliveries"]["delivered"] == 6, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn wrong_history_pages_are_found() -> Result<()> {
    for (fault, problem) in [
        (ProxyFault::RepeatPages, "a page that is not the next"),
        (ProxyFault::AlterPages, "a page with another message than was sent"),
    ] {
        let arguments = "pages --connections 1 --pagers 1 --history 500 --duration 2";
        let Run { exit_code, report, .. } = run_with_fault(fault, arguments).await?;
        let count = report["endings"][problem].as_u64();
        ensure!(exit_code == Some(1) && count > Some(0), "{fault:?}: {report:#}");
        ensure!(report["deliveries"]["altered"] == 0, "deliveries were altered, too: {report:#}");
    }
    Ok(())
}
