//! The calls, examined by schemathesis against their OpenAPI document.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Client};
use serde_json::json;
use tokio::process::Command;
use tokio::time::{Instant, sleep_until, timeout};

use super::tickets::{issue, refused};
use super::{Server, TOKEN};

/// Time for one examination.
const PATIENCE: Duration = Duration::from_secs(180);

/// The checks that do not apply. The document does not state all rules about names and texts, so a server may refuse
/// what the document allows, and accept the name of a room that is in another script.
const NOT_CHECKED: &str = "positive_data_acceptance,negative_data_rejection";

/// The environment variable `SCHEMATHESIS` names the program; it defaults to `schemathesis`.
#[tokio::test(flavor = "multi_thread")]
async fn the_calls_keep_what_their_openapi_document_says_and_a_ticket_expires() -> Result<()> {
    let server = Server::start(BINARIES[0], &["--tickets"]).await?;
    // The examination takes about as long as the ticket is valid.
    let (ticket, expires_in_ms) = issue(&server, json!({"sub": "7"})).await?;
    let expired = Instant::now() + Duration::from_millis(expires_in_ms);
    let folder = tempfile::tempdir()?;
    let program = env::var_os("SCHEMATHESIS").map_or_else(|| PathBuf::from("schemathesis"), PathBuf::from);
    let mut command = Command::new(&program);
    command.arg("run").arg(format!("http://{}/openapi.json", server.admin));
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}")]);
    // A drain would end the server.
    command.args(["--exclude-path", "/v1/drain", "--exclude-checks", NOT_CHECKED]);
    command.args([
        "--max-examples",
        "20",
        "--phases",
        "examples,coverage,fuzzing",
        "--seed",
        "1",
        "--no-color",
    ]);
    command.current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .context("schemathesis does not exit")?
        .with_context(|| format!("{} does not run: tests/provide installs it", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    let health = server.request("GET", "/healthz", "", "").await?;
    ensure!(health.status == 200, "{health:?}");
    sleep_until(expired).await;
    let address = server.daemon.address();
    ensure!(refused(address, &format!("?ticket={ticket}")).await? == refused(address, "").await?);
    let (ticket, _) = issue(&server, json!({"sub": "7"})).await?;
    Client::with_ticket(address, &ticket).await?;
    server.daemon.stop()?;
    Ok(())
}
