use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Client, Daemon};
use serde_json::json;
use tempfile::TempDir;

use crate::programs;

/// A user who may do nothing that root may: neither in the system nor in root's files.
const NOBODY: u32 = 65_534;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_not_root_serves_from_a_directory_of_their_own() -> Result<()> {
    for binary in programs() {
        let place = Place::new(binary)?;
        let own = place.path("own");
        fs::create_dir(&own)?;
        chown(&own, Some(NOBODY), Some(NOBODY))?;
        let store = own.join("store");
        write(place.command(), binary, &store).await?;
        let made = [&store, &store.join("chat.db"), &store.join("chat.mark"), &store.join("chat.lock")];
        for path in made {
            let metadata = fs::metadata(path)?;
            let wanted = if path == &store { 0o700 } else { 0o600 };
            ensure!(metadata.uid() == NOBODY && metadata.mode() & 0o777 == wanted, "{path:?}: {metadata:?}");
        }
        place.looks(&store)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_write_is_told_so_in_one_line_and_changes_nothing() -> Result<()> {
    for binary in programs() {
        let place = Place::new(binary)?;
        let store = place.path("store");
        write(binary.command()?, binary, &store).await?;
        let before = contents(&store)?;
        place.refused(&["--data", text(&place.path("new"))?], "cannot make the directory")?;
        place.refused(&["--data", text(place.home.path())?], "Permission denied")?;

        // May not be entered, as it was made.
        place.refused(&["--data", text(&store)?], "Permission denied")?;
        place.refused(&["check", "--data", text(&store)?], "Permission denied")?;
        place.refused(&["export", "lobby", "--data", text(&store)?], "Permission denied")?;

        // May be entered, and nothing in it be read.
        allow(&store, 0o755)?;
        place.refused(&["--data", text(&store)?], "Permission denied")?;
        place.refused(&["check", "--data", text(&store)?], text(&store.join("chat.db"))?)?;
        place.refused(&["export", "lobby", "--data", text(&store)?], text(&store.join("chat.db"))?)?;

        // May be read.
        for (name, _) in &before {
            allow(name, 0o644)?;
        }
        place.refused(&["--data", text(&store)?], "Permission denied")?;
        place.looks(&store)?;
        ensure!(contents(&store)? == before, "{binary:?} has changed it");
    }
    Ok(())
}

/// A directory that everybody may enter, with a program in it that everybody may run.
struct Place {
    home: TempDir,
    program: PathBuf,
}

impl Place {
    fn new(binary: Binary) -> Result<Self> {
        let home = TempDir::new()?;
        allow(home.path(), 0o755)?;
        let program = home.path().join(binary.name);
        // Written by this process, it could not be run while another test starts one.
        let copied = Command::new("cp").arg(binary.command()?.get_program()).arg(&program).status()?;
        ensure!(copied.success(), "{copied}");
        Ok(Self { home, program })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs the program as the user.
    fn command(&self) -> Command {
        self.as_nobody(Command::new(&self.program))
    }

    fn as_nobody(&self, mut command: Command) -> Command {
        command.uid(NOBODY).gid(NOBODY).current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// Sees that the user is told of what is in a line with this word, and no more.
    fn refused(&self, arguments: &[&str], word: &str) -> Result<()> {
        // Were it not refused, it would serve, for a minute at most.
        let mut command = self.as_nobody(Command::new("timeout"));
        command.arg("60").arg(&self.program).args(arguments).env("CHATD_LISTEN", "127.0.0.1:0");
        let output = command.output()?;
        let line = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2), "{arguments:?}: {}: {line}", output.status);
        ensure!(line.starts_with("error: ") && line.lines().count() == 1, "{arguments:?}: {line}");
        ensure!(line.contains(word), "{arguments:?}: {line}");
        ensure!(!line.contains("immutable"), "the name that SQLite was given: {line}");
        ensure!(output.stdout.is_empty(), "{arguments:?}");
        Ok(())
    }

    /// Sees that the user can look at what [`write`] has written.
    fn looks(&self, store: &Path) -> Result<()> {
        for (arguments, word) in [(&["check"][..], ": sound;"), (&["export", "lobby"], "\"hi\"")] {
            let output = self.command().args(arguments).arg("--data").arg(store).output()?;
            let shown = String::from_utf8(output.stdout)?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
            ensure!(shown.contains(word) && shown.lines().count() == 1, "{arguments:?}: {shown}");
        }
        Ok(())
    }
}

/// Leaves one message in a store.
async fn write(command: Command, binary: Binary, store: &Path) -> Result<()> {
    let daemon = Daemon::spawn(command, binary, &["--data", text(store)?])?;
    let mut client = Client::connect(daemon.address(), "ann").await?;
    client.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    let sent = client.ask(json!({"type": "send", "room": "lobby", "body": {"text": "hi"}}), "s").await?;
    ensure!(sent["type"] == "sent", "{sent}");
    client.close(1000).await?;
    daemon.stop()?;
    Ok(())
}

fn allow(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

/// The files of a directory, and what is in them.
fn contents(dir: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        files.push((path.clone(), fs::read(path)?));
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}
