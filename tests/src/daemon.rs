use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Footprint, exchange};

/// One of the chat binaries, and how it gets its connections.
#[derive(Clone, Copy, Debug)]
pub struct Binary {
    /// The name of the package and the program.
    pub name: &'static str,
    /// What `--upgrade` is given.
    pub upgrade: &'static str,
}

/// Every binary with each of its mechanisms.
pub const BINARIES: [Binary; 7] = [
    Binary { name: "chatd-tungstenite", upgrade: "hijack" },
    Binary { name: "chatd-warp", upgrade: "hijack" },
    Binary { name: "chatd-warp", upgrade: "context" },
    Binary { name: "chatd-actix", upgrade: "hijack" },
    Binary { name: "chatd-actix", upgrade: "context" },
    Binary { name: "chatd-axum", upgrade: "hijack" },
    Binary { name: "chatd-axum", upgrade: "context" },
];

impl Binary {
    /// The name without what all have in common.
    pub fn adapter(&self) -> &'static str {
        self.name.trim_start_matches("chatd-")
    }

    /// A command that runs the binary, built as these tests are.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub fn command(&self) -> Result<Command> {
        program(self.name)
    }

    /// Runs the binary with these arguments until it ends by itself.
    ///
    /// # Errors
    ///
    /// If it cannot be run.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command()?.args(arguments).stdin(Stdio::null()).output()?)
    }
}

/// A command that runs a program of this workspace, built as these tests are.
///
/// # Errors
///
/// If it cannot be built.
pub fn program(name: &str) -> Result<Command> {
    static BUILT: Mutex<Vec<&[&str]>> = Mutex::new(Vec::new());
    // A test sits in target/<profile>/deps, a program in target/<profile>.
    let executable = env::current_exe()?;
    let mut folders = executable.ancestors().skip(1).skip_while(|folder| folder.ends_with("deps"));
    let profile = folders.next().context("no profile folder")?;
    let is_release = profile.ends_with("release");
    let packages: &[&str] = if is_release && BINARIES.iter().any(|binary| binary.name == name) {
        &["-p", "chatd-actix", "-p", "chatd-axum", "-p", "chatd-tungstenite", "-p", "chatd-warp"]
    } else {
        // The whole workspace, as the tests are built: for one package, its dependencies would have other
        // features and be built again.
        &["--workspace", "--bins"]
    };
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !built.contains(&packages) {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet"]).args(packages);
        if is_release {
            cargo.arg("--release");
        }
        if !cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status()?.success() {
            bail!("the binaries do not build");
        }
        built.push(packages);
    }
    Ok(Command::new(profile.join(name)))
}

/// How a binary ended that has not started to serve.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard error.
    pub log: String,
}

/// A running chat binary; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    binary: Binary,
    child: Child,
    address: SocketAddr,
    log: Option<JoinHandle<String>>,
    /// Removed at the end.
    data: TempDir,
}

impl Daemon {
    /// Starts a binary on a free port, with JSON logs and further arguments; its rooms are in a directory of its own
    /// unless those name one.
    ///
    /// # Errors
    ///
    /// If it does not say where it listens.
    pub fn start(binary: Binary, arguments: &[&str]) -> Result<Self> {
        Self::spawn(binary.command()?, binary, arguments)
    }

    /// Starts a binary by a command that runs it, such as one that limits it first.
    ///
    /// # Errors
    ///
    /// If it does not say where it listens.
    pub fn spawn(command: Command, binary: Binary, arguments: &[&str]) -> Result<Self> {
        match Self::attempt(command, binary, arguments)? {
            Ok(daemon) => Ok(daemon),
            Err(Refusal { status, log }) => bail!("it does not say where it listens: {status}: {log}"),
        }
    }

    /// The same of a binary that may refuse to start.
    ///
    /// # Errors
    ///
    /// If it can not even be run.
    pub fn attempt(
        mut command: Command,
        binary: Binary,
        arguments: &[&str],
    ) -> Result<Result<Self, Refusal>> {
        let data = TempDir::new()?;
        let mut child = command
            .env("CHATD_DATA", data.path())
            .args(["--listen", "127.0.0.1:0", "--log-format", "json", "--upgrade", binary.upgrade])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut errors = child.stderr.take().context("no standard error")?;
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            // A log that is not UTF-8 shows up as one that is cut short.
            let _cut = errors.read_to_string(&mut log);
            log
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        if line.is_empty() {
            return Ok(Err(Refusal { status: child.wait()?, log: log.join().unwrap_or_default() }));
        }
        let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.context("it does not say where it listens")?.parse()?;
        Ok(Ok(Self { binary, child, address, log: Some(log), data }))
    }

    /// What it runs.
    pub fn binary(&self) -> Binary {
        self.binary
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What `/readyz` says.
    ///
    /// # Errors
    ///
    /// If that is not JSON.
    pub async fn ready(&self) -> Result<Value> {
        let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = String::from_utf8(exchange(self.address, request).await?)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        serde_json::from_str(body).with_context(|| answer.clone())
    }

    /// Waits until `/readyz` counts this many sessions and, if none, no connection either.
    ///
    /// # Errors
    ///
    /// If it does not come to that.
    pub async fn sessions(&self, wanted: u64) -> Result<()> {
        crate::within(async {
            loop {
                let ready = self.ready().await?;
                if ready["sessions"] == wanted && (wanted > 0 || ready["connections"] == 0) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await?
    }

    /// What the process holds and has used so far.
    ///
    /// # Errors
    ///
    /// If it is gone, or the system is not Linux.
    pub fn footprint(&self) -> Result<Footprint> {
        Footprint::of(self.id(), self.data.path())
    }

    /// Sends a signal by its name, like `TERM`.
    ///
    /// # Errors
    ///
    /// If it cannot be sent.
    pub fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status()?;
        if sent.success() { Ok(()) } else { bail!("kill -{name} failed") }
    }

    /// Waits for the end: how it ended, and the log, one object a line.
    ///
    /// # Errors
    ///
    /// If it does not end within 30 s, or a line of the log is no JSON object.
    pub fn wait(mut self) -> Result<(ExitStatus, Vec<Value>)> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("it does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let log = self.log.take().and_then(|log| log.join().ok()).context("no log")?;
        let lines = log.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
        Ok((status, lines.collect::<Result<_>>()?))
    }

    /// Ends it as a crash would, with SIGKILL, and returns its log up to then.
    ///
    /// # Errors
    ///
    /// If it has ended before, or a line of the log is no JSON object.
    pub fn crash(mut self) -> Result<Vec<Value>> {
        self.child.kill()?;
        match self.wait()? {
            (status, log) if status.code().is_none() => Ok(log),
            (status, log) => bail!("ended with {status}: {log:#?}"),
        }
    }

    /// Ends it with SIGTERM and returns its log.
    ///
    /// # Errors
    ///
    /// If it ends with another code than 0.
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
        // It may have ended by itself.
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}
