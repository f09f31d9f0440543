//! The users of a binary: tokens, the header of a proxy, guests, and the rule for addresses that others can reach.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Client, Daemon, request_upgrade};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Makes a secret with the task `token --new-key`.
pub(crate) fn new_secret(binary: Binary, home: &TempDir, name: &str) -> Result<PathBuf> {
    let path = home.path().join(name);
    let made = binary.command()?.args(["token", "--new-key"]).arg(&path).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(path)
}

/// Makes a token with the task `token`.
pub(crate) fn token(binary: Binary, key: &Path, arguments: &[&str]) -> Result<String> {
    let made = binary.command()?.args(["token", "--key"]).arg(key).args(arguments).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(String::from_utf8(made.stdout)?.trim().to_owned())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

async fn join(client: &mut Client, room: &str) -> Result<Value> {
    client.ask(json!({"type": "join", "room": room})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gives_the_user_the_rights_and_the_limits() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let (key, previous) = (new_secret(binary, &home, "key")?, new_secret(binary, &home, "previous")?);
        ensure!(fs::metadata(&key)?.permissions().mode() & 0o777 == 0o600);
        let again = binary.command()?.args(["token", "--new-key"]).arg(&key).output()?;
        ensure!(again.status.code() == Some(2), "an existing key is overwritten");

        let keys = format!("{},{}", text(&key)?, text(&previous)?);
        let daemon = Daemon::start(binary, &["--token-secret", &keys])?;
        let mut late = Client::open(daemon.address(), "eve").await?;
        ensure!(join(&mut late, "lobby").await?["code"] == "hello_required", "{binary:?}");
        let eve = token(binary, &key, &["--sub", "eve"])?;
        let welcome = late.ask(json!({"type": "hello", "token": eve})).await?;
        ensure!(welcome["user"]["id"] == "eve" && welcome["expires_at"].is_u64(), "{welcome}");
        ensure!(join(&mut late, "lobby").await?["type"] == "joined", "{binary:?}");
        let other = new_secret(binary, &home, "other")?;
        let forged = token(binary, &other, &["--sub", "ann"])?;
        let (_, status) =
            request_upgrade(daemon.address(), &format!("Authorization: Bearer {forged}\r\n")).await?;
        ensure!(status == 401, "with a token of another key: {status}");

        let rooms = ["--sub", "ann", "--name", "Ann", "--rooms", "lobby=member", "--expires", "10m"];
        let limits = ["--limits", "connections=1,rate=1,burst=4"];
        let ann = token(binary, &key, &[&rooms[..], &limits].concat())?;
        let mut client = Client::with_token(daemon.address(), &ann).await?;
        let welcome = client.event().await?;
        ensure!(welcome["user"] == json!({"id": "ann", "name": "Ann"}), "{welcome}");
        ensure!(join(&mut client, "other").await?["code"] == "forbidden", "{binary:?}");
        ensure!(join(&mut client, "lobby").await?["type"] == "joined", "{binary:?}");
        // The two joins have taken the four tokens of the burst.
        let mut is_limited = false;
        for _ in 0..20 {
            is_limited |= client.ask(json!({"type": "ping"})).await?["code"] == "rate_limited";
            if is_limited {
                break;
            }
        }
        ensure!(is_limited, "{binary:?}: the rate of the token has no effect");
        let header = format!("Authorization: Bearer {ann}\r\n");
        let (_, status) = request_upgrade(daemon.address(), &header).await?;
        ensure!(status == 429, "a second connection of the limit of one: {status}");

        let bob = token(binary, &previous, &["--sub", "bob"])?;
        let mut client = Client::with_token(daemon.address(), &bob).await?;
        client.until("welcome").await?;
        for room in ["other", "lobby", "third"] {
            ensure!(
                join(&mut client, room).await?["type"] == "joined",
                "{room}: the limits of all users hold"
            );
        }
        let log = daemon.stop()?;
        let shown = serde_json::to_string(&log)?;
        ensure!(!shown.contains(&ann) && !shown.contains(&forged), "a token is in the log");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_with_the_secret_names_the_user_and_guests_are_admitted_on_request() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let secret = new_secret(binary, &home, "proxy")?;
        let options = ["--user-header", "X-User", "--proxy-secret", text(&secret)?];
        let shared = fs::read_to_string(&secret)?;
        let shared = shared.trim();
        let daemon = Daemon::start(binary, &[&options[..], &["--guests"]].concat())?;
        for (headers, expected) in [
            (format!("X-User: 7\r\nX-Proxy-Secret: {shared}\r\n"), 101),
            ("X-User: 7\r\nX-Proxy-Secret: guessed\r\n".to_owned(), 401),
            ("X-User: 7\r\n".to_owned(), 401),
            (String::new(), 101),
        ] {
            let (_, status) = request_upgrade(daemon.address(), &headers).await?;
            ensure!(status == expected, "{headers}: {status}");
        }
        let daemon = Daemon::start(binary, &options)?;
        let (_, status) = request_upgrade(daemon.address(), "").await?;
        ensure!(status == 401, "without --guests: {status}");
    }
    Ok(())
}

#[test]
fn an_address_that_others_can_reach_needs_tokens_or_guests() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let key = new_secret(binary, &home, "key")?;
        for address in ["0.0.0.0:0", "[::]:0"] {
            let refused = binary.run(&["--data", ":memory:", "--listen", address])?;
            let line = String::from_utf8(refused.stderr)?;
            ensure!(refused.status.code() == Some(2) && line.lines().count() == 1, "{address}: {line}");
            ensure!(line.contains("--token-secret") && line.contains("--guests"), "{line}");
            for options in [&["--guests"][..], &["--token-secret", text(&key)?]] {
                let mut command = binary.command()?;
                command.args(["--data", ":memory:", "--listen", address]).args(options);
                let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
                let mut line = String::new();
                BufReader::new(server.stdout.take().context("no output")?).read_line(&mut line)?;
                server.kill()?;
                server.wait()?;
                ensure!(line.contains("listens on ws://"), "{address} {options:?}: {line}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_key_that_cannot_be_used_is_named_at_the_start() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let (missing, short) = (home.path().join("missing"), home.path().join("short"));
        fs::write(&short, "short\n")?;
        for (option, path) in [
            ("--token-secret", &missing),
            ("--token-secret", &short),
            ("--token-jwks", &short),
            ("--token-public-key", &short),
        ] {
            let options = ["--data", ":memory:", "--listen", "127.0.0.1:0", option, text(path)?];
            for task in [&[][..], &["config", "check"]] {
                let refused = binary.run(&[&options[..], task].concat())?;
                let log = String::from_utf8(refused.stderr)?;
                let line = log.lines().find(|line| line.starts_with("error: ")).context("no error")?;
                ensure!(refused.status.code() == Some(2) && line.contains(text(path)?), "{option}: {line}");
            }
        }
    }
    Ok(())
}
