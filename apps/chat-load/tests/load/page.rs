//! The page of a run, and the page of several reports.

use std::fs;

use anyhow::{Context, Result, ensure};
use chat_tests::{Affected, Proxy, ProxyFault};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Run, chat_load, run, start_server, url};

const FANOUT: &str = "fanout --connections 3 --senders 1 --rate 50 --duration 1 --patience 2";

/// Returns the values of a row of a table, without the commas of large numbers.
fn cells(page: &str, row: &str) -> Result<Vec<String>> {
    let start = format!("<th scope=\"row\">{row}</th>");
    let (_, rest) = page.split_once(&start).with_context(|| format!("no {row} in {page}"))?;
    let (row, _) = rest.split_once("</tr>").context("no end of the row")?;
    let cells = row.split("</td>").filter_map(|cell| cell.split_once('>'));
    Ok(cells.map(|(_, text)| text.replace(',', "")).collect())
}

/// Checks that a column of the page has the counts of a report.
fn check_counts(page: &str, column: usize, report: &Value) -> Result<()> {
    for (row, count) in [
        ("messages sent", &report["sent"]),
        ("acknowledged", &report["acknowledged"]),
        ("delivered", &report["deliveries"]["delivered"]),
        ("missing", &report["deliveries"]["lost"]),
        ("duplicated", &report["deliveries"]["duplicated"]),
        ("out of order", &report["deliveries"]["out_of_order"]),
    ] {
        ensure!(cells(page, row)?[column].parse::<Value>()? == *count, "{row}: {count} in {page}");
    }
    let longest = report["latencies"]["delivery"]["max"].as_f64().context("no latency")? / 1e3;
    ensure!(cells(page, "delivery, maximum")?[column] == format!("{longest:.2} ms"), "{longest} in {page}");
    Ok(())
}

#[tokio::test]
async fn pages_show_the_figures_of_their_reports_alone_and_side_by_side() -> Result<()> {
    let folder = TempDir::new()?;
    let [good, bad, both] = ["good", "bad", "both"].map(|name| folder.path().join(name));
    let server = start_server().await?;
    let arguments = format!("{FANOUT} --pid {} --html {}", std::process::id(), good.display());
    let Run { exit_code, report: good_report, .. } = run(&url(server.address()), &arguments).await?;
    let page = fs::read_to_string(&good)?;
    ensure!(exit_code == Some(0) && page.contains("<p class=\"badge\">Passed</p>"), "{page}");
    check_counts(&page, 0, &good_report)?;
    let points = good_report["timeline"].as_array().context("no points")?;
    let arrived = points.iter().filter_map(|point| point["latency"]["count"].as_u64()).sum::<u64>();
    ensure!(arrived == 200 && points.iter().all(|point| point["server_rss_kib"].is_u64()), "{points:#?}");
    ensure!(page.matches("<svg viewBox=\"0 0 480 250\"").count() == 4, "not four charts: {page}");

    let proxy = Proxy::start(server.address(), ProxyFault::Drop, Affected::Tenth).await?;
    let arguments = format!("{FANOUT} --html {}", bad.display());
    let Run { exit_code, report: mut bad_report, .. } = run(&url(proxy.address()), &arguments).await?;
    let page = fs::read_to_string(&bad)?;
    ensure!(exit_code == Some(1) && page.contains("<p class=\"badge\">Failed</p>"), "{page}");
    ensure!(page.contains("<li>1 messages were lost</li>"), "{page}");
    check_counts(&page, 0, &bad_report)?;
    let room = bad_report["most_faulty_members"][0]["room"].as_str().context("no room")?;
    ensure!(page.contains(&format!("<td>{room}</td>")), "{page}");

    bad_report["most_faulty_members"][0]["room"] = json!("<script>alert(1)</script>");
    bad_report["failures"] = json!(["<script>alert(2)</script>"]);
    let files = ["axum", "warp <b>"].map(|name| folder.path().join(name).with_extension("json"));
    for (file, report) in files.iter().zip([&good_report, &bad_report]) {
        fs::write(file, report.to_string())?;
    }
    let output = chat_load("report").args(&files).arg("--html").arg(&both).output().await?;
    ensure!(output.status.success(), "{output:?}");
    let page = fs::read_to_string(&both)?;
    ensure!(page.contains("<p class=\"badge\">1 of 2 runs failed</p>"), "{page}");
    ensure!(page.contains("<th scope=\"col\">axum</th><th scope=\"col\">warp &lt;b&gt;</th>"), "{page}");
    check_counts(&page, 0, &good_report)?;
    check_counts(&page, 1, &bad_report)?;
    for text in ["alert(1)", "alert(2)"] {
        ensure!(page.contains(&format!("&lt;script&gt;{text}&lt;/script&gt;")), "{page}");
    }
    ensure!(!page.contains("<script"), "{page}");
    Ok(())
}

#[tokio::test]
async fn a_page_of_no_report_is_refused() -> Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("other.json");
    fs::write(&file, "{}")?;
    let page = folder.path().join("page.html");
    for (arguments, code) in [(vec!["--html"], 1), (vec![], 2)] {
        let mut command = chat_load("report");
        command.arg(&file).args(&arguments);
        if !arguments.is_empty() {
            command.arg(&page);
        }
        let output = command.output().await?;
        ensure!(output.status.code() == Some(code) && !page.exists(), "{output:?}");
        ensure!(String::from_utf8(output.stderr)?.starts_with("error: "));
    }
    Ok(())
}
