use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Footprint, eventually, exchange};

/// A chat binary with one of its upgrade modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The name of the package and of the program.
    pub name: &'static str,
    /// The value of `--upgrade`.
    pub upgrade: &'static str,
}

/// Every binary with each of its upgrade modes.
pub const BINARIES: [Binary; 7] = [
    Binary { name: "chatd-tungstenite", upgrade: "hijack" },
    Binary { name: "chatd-warp", upgrade: "hijack" },
    Binary { name: "chatd-warp", upgrade: "framework" },
    Binary { name: "chatd-actix", upgrade: "hijack" },
    Binary { name: "chatd-actix", upgrade: "framework" },
    Binary { name: "chatd-axum", upgrade: "hijack" },
    Binary { name: "chatd-axum", upgrade: "framework" },
];

/// Returns the arguments that lift the limits of one client, for load that comes from a few connections or from one
/// address on purpose.
pub fn lifted() -> Vec<&'static str> {
    include_str!("../../apps/chat-load/lifted-limits").split_whitespace().collect()
}

impl Binary {
    /// Returns one binary for each adapter.
    pub fn one_per_adapter() -> impl Iterator<Item = Self> + Clone {
        BINARIES.into_iter().filter(|binary| binary.upgrade == "hijack")
    }

    /// Returns the name of the adapter.
    pub fn adapter(&self) -> &'static str {
        self.name.trim_start_matches("chatd-")
    }

    /// Returns a command that runs the binary, built with the profile of the tests.
    pub fn command(&self) -> Result<Command> {
        program(self.name)
    }

    /// Returns a command that runs the binary with the default action of SIGHUP, even if these tests run under `nohup`.
    pub fn hangup_command(&self) -> Result<Command> {
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP").arg(self.command()?.get_program());
        Ok(command)
    }

    /// Runs the binary with these arguments until it exits.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command()?.args(arguments).stdin(Stdio::null()).output()?)
    }

    /// Runs `check` on the store in a directory.
    pub fn check_store(&self, dir: &Path) -> Result<()> {
        let output = self.command()?.arg("check").arg("--data").arg(dir).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        Ok(())
    }
}

/// Returns a command that runs an example of this workspace, built with the profile of the tests. With `CHAT_BUILT`, it
/// is built already.
pub fn example(name: &str) -> Result<Command> {
    built(Path::new("examples").join(name), &["--workspace", "--examples"])
}

/// Returns a command that runs a program of this workspace, built with the profile of the tests. With `CHAT_BUILT`, it
/// is built already.
pub fn program(name: &str) -> Result<Command> {
    let is_daemon = BINARIES.iter().any(|binary| binary.name == name);
    let packages: &[&str] = if profile()?.ends_with("release") && is_daemon {
        &["-p", "chatd-actix", "-p", "chatd-axum", "-p", "chatd-tungstenite", "-p", "chatd-warp"]
    } else {
        // A build of one package alone would use other features and build its dependencies again.
        &["--workspace", "--bins"]
    };
    built(Path::new(name), packages)
}

/// Returns the folder of the profile of the tests.
fn profile() -> Result<PathBuf> {
    // A test is in target/<profile>/deps, a program in target/<profile>.
    let executable = env::current_exe()?;
    let mut folders = executable.ancestors().skip(1).skip_while(|folder| folder.ends_with("deps"));
    Ok(folders.next().context("no profile folder")?.to_owned())
}

/// Builds what these arguments of cargo name, once, and returns a command that runs a program in the folder of the
/// profile.
fn built(program: impl AsRef<Path>, packages: &'static [&'static str]) -> Result<Command> {
    static BUILT: Mutex<Vec<&[&str]>> = Mutex::new(Vec::new());
    let profile = profile()?;
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if env::var_os("CHAT_BUILT").is_none() && !built.contains(&packages) {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet"]).args(packages);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        if !cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status()?.success() {
            bail!("the binaries do not build");
        }
        built.push(packages);
    }
    Ok(Command::new(profile.join(program)))
}

/// The lines of standard error so far, and the thread that reads them.
#[derive(Debug)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    fn read(errors: ChildStderr) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            // A log that is not UTF-8 is cut short, which the tests notice.
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { lines, reader: Some(reader) }
    }

    /// Returns the lines from a line number on.
    fn from(&self, first: usize) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().skip(first).cloned().collect()
    }

    /// Returns all lines when the process has ended.
    fn wait(&mut self) -> Vec<String> {
        let _read = self.reader.take().map(JoinHandle::join);
        self.from(0)
    }
}

/// The end of a binary that did not start to serve.
#[derive(Debug)]
pub struct StartFailure {
    /// The exit status.
    pub status: ExitStatus,
    /// The content of standard error.
    pub log: String,
}

/// A running chat binary. It is killed when it is dropped.
#[derive(Debug)]
pub struct Daemon {
    binary: Binary,
    child: Child,
    address: SocketAddr,
    log: Log,
    /// The default store, removed at the end.
    data: TempDir,
}

impl Daemon {
    /// Starts a binary on a free port, with JSON logs and further arguments. Its store is a temporary directory unless
    /// the arguments name one, or a cluster. It does not ignore SIGHUP.
    pub fn start(binary: Binary, arguments: &[&str]) -> Result<Self> {
        Self::spawn(binary.hangup_command()?, binary, arguments)
    }

    /// Starts a binary without the limits of one client, for load on purpose.
    pub fn start_lifted(binary: Binary, arguments: &[&str]) -> Result<Self> {
        Self::start(binary, &[&lifted(), arguments].concat())
    }

    /// Starts a binary with its store in a directory.
    pub fn start_in(dir: &Path, binary: Binary, arguments: &[&str]) -> Result<Self> {
        let mut command = binary.command()?;
        command.arg("--data").arg(dir);
        Self::spawn(command, binary, arguments)
    }

    /// Starts a binary with a command that runs it, such as `prlimit`.
    pub fn spawn(command: Command, binary: Binary, arguments: &[&str]) -> Result<Self> {
        match Self::attempt(command, binary, arguments)? {
            Ok(daemon) => Ok(daemon),
            Err(StartFailure { status, log }) => bail!("it prints no address: {status}: {log}"),
        }
    }

    /// Starts a binary with a listening socket, as systemd does, and with its store in a directory.
    pub fn start_on(socket: OwnedFd, dir: &Path, binary: Binary, arguments: &[&str]) -> Result<Self> {
        let program = binary.command()?;
        let mut command = Command::new("sh");
        // The socket comes as standard input. systemd passes it as descriptor 3.
        command.arg("-c").arg("exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"");
        command.arg(program.get_program()).arg("--data").arg(dir);
        match Self::attempt_with(command, binary, arguments, socket.into())? {
            Ok(daemon) => Ok(daemon),
            Err(StartFailure { status, log }) => bail!("it prints no address: {status}: {log}"),
        }
    }

    /// Starts a binary that may exit instead of serving.
    pub fn attempt(
        command: Command,
        binary: Binary,
        arguments: &[&str],
    ) -> Result<Result<Self, StartFailure>> {
        Self::attempt_with(command, binary, arguments, Stdio::null())
    }

    fn attempt_with(
        mut command: Command,
        binary: Binary,
        arguments: &[&str],
        input: Stdio,
    ) -> Result<Result<Self, StartFailure>> {
        let data = TempDir::new()?;
        // A cluster has the rooms. An empty variable counts as not set.
        let is_in_cluster = arguments.contains(&"--cluster");
        let mut child = command
            .env("CHATD_DATA", if is_in_cluster { Path::new("") } else { data.path() })
            .args(["--listen", "127.0.0.1:0", "--log-format", "json", "--upgrade", binary.upgrade])
            .args(arguments)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = Log::read(child.stderr.take().context("no standard error")?);
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        if line.is_empty() {
            let status = child.wait()?;
            let log = log.wait().into_iter().map(|line| line + "\n").collect();
            return Ok(Err(StartFailure { status, log }));
        }
        let address = line.split("://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.context("it prints no address")?.parse()?;
        Ok(Ok(Self { binary, child, address, log, data }))
    }

    /// Returns the binary.
    pub fn binary(&self) -> Binary {
        self.binary
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the JSON of `/readyz`.
    pub async fn ready(&self) -> Result<Value> {
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = String::from_utf8(exchange(self.address, request).await?)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        serde_json::from_str(body).with_context(|| answer.clone())
    }

    /// Waits until `/readyz` counts this many sessions and, if that is zero, no connection.
    pub async fn sessions(&self, wanted: u64) -> Result<()> {
        eventually(|| async {
            let ready = self.ready().await?;
            Ok(ready["sessions"] == wanted && (wanted > 0 || ready["connections"] == 0))
        })
        .await
    }

    /// Returns the resources that the process uses.
    pub fn footprint(&self) -> Result<Footprint> {
        Footprint::of(self.id(), self.data.path())
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status()?;
        if sent.success() { Ok(()) } else { bail!("kill -{name} failed") }
    }

    /// Waits until the process exits. Returns its status and the lines of its log.
    pub fn wait(mut self) -> Result<(ExitStatus, Vec<Value>)> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("it does not exit");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Ok((status, parse_lines(&self.log.wait())?))
    }

    /// Returns the lines of the log so far, from a line number on.
    pub fn log_lines(&self, first: usize) -> Result<Vec<Value>> {
        parse_lines(&self.log.from(first))
    }

    /// Kills the process with SIGKILL and returns its log.
    pub fn crash(mut self) -> Result<Vec<Value>> {
        self.child.kill()?;
        match self.wait()? {
            (status, log) if status.code().is_none() => Ok(log),
            (status, log) => bail!("ended with {status}: {log:#?}"),
        }
    }

    /// Stops the process with SIGTERM and returns its log.
    pub fn stop(self) -> Result<Vec<Value>> {
        self.signal("TERM")?;
        match self.wait()? {
            (status, log) if status.success() => Ok(log),
            (status, log) => bail!("ended with {status}: {log:#?}"),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The process may have exited already.
        let _exited = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn parse_lines(lines: &[String]) -> Result<Vec<Value>> {
    lines.iter().map(|line| serde_json::from_str(line).with_context(|| line.clone())).collect()
}

/// Checks that every line of a log has the level `INFO`.
pub fn check_levels(log: &[Value]) -> Result<()> {
    let other: Vec<_> = log.iter().filter(|line| line["level"] != "INFO").collect();
    ensure!(other.is_empty(), "{other:#?}");
    Ok(())
}
