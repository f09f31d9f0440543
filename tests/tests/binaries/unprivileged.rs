use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Client, Daemon};
use tempfile::TempDir;

/// The user id of a user without any rights.
const UNPRIVILEGED: u32 = 65_534;

#[tokio::test(flavor = "multi_thread")]
async fn an_unprivileged_user_serves_from_an_own_directory() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let public = PublicDir::new(binary)?;
        let own = public.path("own");
        fs::create_dir(&own)?;
        chown(&own, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
        let store = own.join("store");
        write(public.command(), binary, &store).await?;
        let made = [&store, &store.join("chat.db"), &store.join("chat.mark"), &store.join("chat.lock")];
        for path in made {
            let metadata = fs::metadata(path)?;
            let wanted = if path == &store { 0o700 } else { 0o600 };
            ensure!(
                metadata.uid() == UNPRIVILEGED && metadata.mode() & 0o777 == wanted,
                "{path:?}: {metadata:?}"
            );
        }
        public.check_readable(&store)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_write_permission_gets_one_line_and_changes_nothing() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let public = PublicDir::new(binary)?;
        let store = public.path("store");
        write(binary.command()?, binary, &store).await?;
        let before = contents(&store)?;
        public.check_refused(&["--data", text(&public.path("new"))?], "cannot create")?;
        public.check_refused(&["--data", text(public.home.path())?], "Permission denied")?;

        // The directory is as the server made it: only its owner may enter it.
        public.check_refused(&["--data", text(&store)?], "Permission denied")?;
        public.check_refused(&["check", "--data", text(&store)?], "Permission denied")?;
        public.check_refused(&["export", "lobby", "--data", text(&store)?], "Permission denied")?;

        // Every user may enter the directory, but not read its files.
        allow(&store, 0o755)?;
        public.check_refused(&["--data", text(&store)?], "Permission denied")?;
        public.check_refused(&["check", "--data", text(&store)?], text(&store.join("chat.db"))?)?;
        public.check_refused(&["export", "lobby", "--data", text(&store)?], text(&store.join("chat.db"))?)?;

        // Every user may read the files.
        for (name, _) in &before {
            allow(name, 0o644)?;
        }
        public.check_refused(&["--data", text(&store)?], "Permission denied")?;
        public.check_readable(&store)?;
        ensure!(contents(&store)? == before, "{binary:?} changed the store");
    }
    Ok(())
}

/// A directory that every user may enter, with a program that every user may run.
struct PublicDir {
    home: TempDir,
    program: PathBuf,
}

impl PublicDir {
    fn new(binary: Binary) -> Result<Self> {
        let home = TempDir::new()?;
        allow(home.path(), 0o755)?;
        let program = home.path().join(binary.name);
        // If this process wrote the file, another test that forks could keep it open, and it could not be run.
        let copied = Command::new("cp").arg(binary.command()?.get_program()).arg(&program).status()?;
        ensure!(copied.success(), "{copied}");
        Ok(Self { home, program })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Returns a command that runs the program as the user without rights.
    fn command(&self) -> Command {
        self.unprivileged(Command::new(&self.program))
    }

    fn unprivileged(&self, mut command: Command) -> Command {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED).current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// Checks that the program exits with one line that contains a word.
    fn check_refused(&self, arguments: &[&str], word: &str) -> Result<()> {
        // If the program is not refused, it serves until the timeout.
        let mut command = self.unprivileged(Command::new("timeout"));
        command.arg("60").arg(&self.program).args(arguments).env("CHATD_LISTEN", "127.0.0.1:0");
        let output = command.output()?;
        let line = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2), "{arguments:?}: {}: {line}", output.status);
        ensure!(line.starts_with("error: ") && line.lines().count() == 1, "{arguments:?}: {line}");
        ensure!(line.contains(word), "{arguments:?}: {line}");
        ensure!(!line.contains("immutable"), "an internal file name: {line}");
        ensure!(output.stdout.is_empty(), "{arguments:?}");
        Ok(())
    }

    /// Checks that the user can run `check` and `export` on the store that [`write`] made.
    fn check_readable(&self, store: &Path) -> Result<()> {
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

/// Writes one message into a store.
async fn write(command: Command, binary: Binary, store: &Path) -> Result<()> {
    let daemon = Daemon::spawn(command, binary, &["--data", text(store)?])?;
    let mut client = Client::member(daemon.address(), "ann").await?;
    let sent = client.say("hi").await?;
    ensure!(sent["type"] == "sent", "{sent}");
    client.close(1000).await?;
    daemon.stop()?;
    Ok(())
}

fn allow(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

/// Returns the files of a directory with their content.
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
    path.to_str().context("a path that is not UTF-8")
}
