//! A reload of the configuration with SIGHUP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use chat_tests::{BINARIES, Binary, Client, Daemon, eventually, request_upgrade};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::users::token;

/// A server with a configuration file.
struct Reloaded {
    daemon: Daemon,
    home: TempDir,
}

impl Reloaded {
    fn start(binary: Binary, options: &str) -> Result<Self> {
        let home = TempDir::new()?;
        fs::write(home.path().join("chatd.toml"), options)?;
        let mut command = binary.hangup_command()?;
        command
            .env("CHATD_CONFIG", home.path().join("chatd.toml"))
            .env_remove("RUST_LOG")
            .current_dir(home.path());
        Ok(Self { daemon: Daemon::spawn(command, binary, &[])?, home })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes the file and sends SIGHUP. Returns the lines of the log when this number of lines with this event is there.
    async fn reload(&self, options: &str, event: &str, number: usize) -> Result<Vec<Value>> {
        let before = self.daemon.log_lines(0)?.len();
        fs::write(self.path("chatd.toml"), options)?;
        self.daemon.signal("HUP")?;
        eventually(|| async {
            let log = self.daemon.log_lines(before)?;
            Ok(log.iter().filter(|line| line["message"] == event).count() >= number)
        })
        .await?;
        self.daemon.log_lines(before)
    }

    async fn status(&self, headers: &str) -> Result<u16> {
        Ok(request_upgrade(self.daemon.address(), headers).await?.1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reloads_origins_limits_and_the_log_level() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let server = Reloaded::start(binary, "command-rate = 50\n")?;
        let mut old = Client::member(server.daemon.address(), "ann").await?;
        ensure!(server.status("Origin: https://a.example\r\n").await? == 403);
        let options = "allow-origin = \"https://a.example\"\nmax-per-user = 1\ncommand-rate = 1\nmemory = \"64M\"\n\
            log-level = \"warn\"\n";
        let log = server.reload(options, "restart the server to change these options", 1).await?;
        let kept = log.iter().find(|line| line["options"] == "memory");
        ensure!(kept.is_some_and(|line| line["level"] == "WARN"), "{log:#?}");
        ensure!(server.status("Origin: https://a.example\r\n").await? == 101);
        let mut new = Client::member(server.daemon.address(), "bob").await?;
        let again = Client::open(server.daemon.address(), "bob").await;
        ensure!(again.is_err_and(|error| error.to_string().contains(" 429 ")), "a second connection of bob");
        // The burst has four tokens.
        let mut is_limited = false;
        for _ in 0..20 {
            is_limited |= new.ask(json!({"type": "ping"})).await?["code"] == "rate_limited";
            if is_limited {
                break;
            }
        }
        ensure!(is_limited, "{binary:?}: a new connection has the old rate");
        for _ in 0..10 {
            ensure!(
                old.ask(json!({"type": "ping"})).await?["type"] == "pong",
                "an open connection keeps its rate"
            );
        }
        let log = server.daemon.stop()?;
        let at = log.iter().position(|line| line["options"] == "memory").unwrap_or_default();
        ensure!(at > 0 && log[at..].iter().all(|line| line["level"] != "INFO"), "{log:#?}");
    }
    Ok(())
}

/// The shell is fast enough to send most of these signals during a reload.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_many_hangups_is_not_lost() -> Result<()> {
    const HANGUPS: &str = r#"for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        echo "allow-origin = \"https://$1-$n.example\"" >chatd.toml; kill -HUP "$0"; done"#;
    let server = Reloaded::start(BINARIES[0], "")?;
    let id = server.daemon.id().to_string();
    for round in 1..=10 {
        let mut shell = Command::new("sh");
        shell.args(["-c", HANGUPS, &id, &round.to_string()]).current_dir(server.home.path());
        ensure!(shell.status()?.success());
        let origin = format!("Origin: https://{round}-20.example\r\n");
        eventually(|| async { Ok(server.status(&origin).await? == 101) }).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reloads_keys_and_users() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let server = Reloaded::start(binary, "")?;
        let [first, second, third] = ["first", "second", "third"].map(|name| server.path(name));
        for key in [&first, &second, &third] {
            ensure!(binary.command()?.args(["token", "--new-key"]).arg(key).output()?.status.success());
        }
        let bearer = |key: &Path| -> Result<String> {
            Ok(format!("Authorization: Bearer {}\r\n", token(binary, key, &["--sub", "7"])?))
        };
        let [first_token, second_token, third_token] = [bearer(&first)?, bearer(&second)?, bearer(&third)?];
        ensure!(server.status("").await? == 101, "a guest");
        server.reload("token-secret = \"first\"\n", "configuration reloaded", 1).await?;
        let mut guest = Client::open(server.daemon.address(), "ann").await?;
        let refused = guest.ask(json!({"type": "join", "room": "lobby"})).await?;
        ensure!(refused["code"] == "hello_required", "a guest, where a token is required: {refused}");
        ensure!(server.status(&first_token).await? == 101);
        ensure!(server.status(&second_token).await? == 401);
        let both = "token-secret = [\"second\", \"first\"]\n";
        server.reload(both, "configuration reloaded", 1).await?;
        ensure!(server.status(&second_token).await? == 101 && server.status(&first_token).await? == 101);
        // Only the content of a file changes.
        fs::copy(&third, &second)?;
        let log = server.reload(both, "configuration reloaded", 1).await?;
        ensure!(log.iter().any(|line| line["changed"] == ""), "{log:#?}");
        ensure!(server.status(&third_token).await? == 101 && server.status(&second_token).await? == 401);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_with_a_mistake_changes_nothing_and_names_it() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let valid = "allow-origin = \"https://a.example\"\n";
        let server = Reloaded::start(binary, valid)?;
        let file = server.path("chatd.toml").display().to_string();
        for (options, mistakes) in [
            (
                "allow-origin = \"https://b.example\"\nmax-per-usr = 5\nlog-level = \"warning\"\n",
                vec![format!("{file}:2: unknown option `max-per-usr`"), format!("{file}:3: log-level: ")],
            ),
            (
                "allow-origin = \"https://b.example\"\ntoken-secret = \"missing\"\n",
                vec!["missing".to_owned()],
            ),
        ] {
            let log = server.reload(options, "configuration not reloaded", mistakes.len()).await?;
            for mistake in mistakes {
                let names =
                    |line: &&Value| line["mistake"].as_str().is_some_and(|text| text.contains(&mistake));
                let line = log.iter().find(names);
                ensure!(
                    line.is_some_and(|line| line["level"] == "ERROR"),
                    "{mistake} is missing in {log:#?}"
                );
            }
            ensure!(server.status("Origin: https://a.example\r\n").await? == 101);
            ensure!(server.status("Origin: https://b.example\r\n").await? == 403);
        }
        let log = server.reload(valid, "configuration reloaded", 1).await?;
        ensure!(log.iter().any(|line| line["changed"] == ""), "{log:#?}");
    }
    Ok(())
}
