use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::Limits;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::{Later, Server, Target};
use crate::Needs;

/// Bytes of what a server says that are kept.
const COMPLAINT: usize = 2_000;

/// How long a server has to start, and to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// A command that starts a server: each case gets a process of its own.
#[derive(Clone, Debug)]
pub struct Exec {
    name: String,
    command: String,
    path: String,
}

impl Exec {
    /// A shell command in which `{addr}` stands for the address to listen on and `{dir}`, where it occurs, for an empty
    /// directory of that server's own.
    ///
    /// # Errors
    ///
    /// If it does not say where the address goes.
    pub fn new(command: &str, path: &str) -> Result<Self, String> {
        if !command.contains("{addr}") {
            return Err("the command must say where the address goes: {addr}".to_owned());
        }
        Ok(Self { name: short(command), command: command.to_owned(), path: path.to_owned() })
    }
}

/// The program without its directory, and its arguments but for the address.
fn short(command: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in command.split_whitespace() {
        if !word.contains("{addr}") {
            words.push(word);
        } else if words.last().is_some_and(|flag| words.len() > 1 && flag.starts_with('-')) {
            words.pop();
        }
    }
    let file = |word: &&str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let program = words.first().map(file).unwrap_or_default();
    std::iter::once(&*program).chain(words.into_iter().skip(1)).collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl Target for Exec {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_ours(&self) -> bool {
        self.name.starts_with("chatd-")
    }

    fn lacks(&self, needs: Needs) -> Option<&'static str> {
        match needs {
            Needs::Address | Needs::Fresh | Needs::Drain => None,
            Needs::Limits => Some("limits that only a server in the same process can be given"),
        }
    }

    async fn start(&self, _: Limits) -> Result<Server, String> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.map_err(|error| error.to_string())?;
        let shown = self.command.replace("{addr}", &address.to_string());
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let shown = shown.replace("{dir}", &dir.path().to_string_lossy());
        let command = format!("exec {shown}");
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the server did not start: {error}"))?;
        let complaints = Complaints::of(&mut child);
        let process = Arc::new(Process { child: Mutex::new(child), _dir: dir });
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = process.ended() {
                let said = complaints.all().await;
                return Err(format!(
                    "the server did not start: `{shown}` ended with {status}; its stderr: {said}"
                ));
            }
            if Instant::now() > deadline {
                let said = complaints.so_far();
                return Err(format!(
                    "the server did not start: `{shown}` runs, but nothing listens on {address} after {PATIENCE:?}; \
                     is that where the command puts the address? Its stderr: {said}"
                ));
            }
            // Nothing tells when a process listens.
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Server {
            address,
            host: address.to_string(),
            path: self.path.clone(),
            limits: Arc::new(Limits::default()),
            is_shared: false,
            chat: None,
            on_drain: Some(Box::new(move || Arc::clone(&process).drain())),
            end: None,
        })
    }
}

/// What a process says on its stderr, which is read on so that it never waits for a reader.
struct Complaints {
    said: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Complaints {
    fn of(child: &mut Child) -> Self {
        let (said, stderr) = (Arc::new(Mutex::new(Vec::new())), child.stderr.take());
        let heard = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            let (Some(mut stderr), mut buffer) = (stderr, [0; 4_096]) else { return };
            while let Ok(read @ 1..) = stderr.read(&mut buffer) {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                let room = COMPLAINT.saturating_sub(heard.len()).min(read);
                heard.extend_from_slice(&buffer[..room]);
            }
        });
        Self { said, reader }
    }

    /// What it has said up to now.
    fn so_far(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if said.is_empty() { "nothing".to_owned() } else { said }
    }

    /// All that a process said that has ended. A child of its own may hold the pipe open, and is not waited for.
    async fn all(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.reader.is_finished() && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        self.so_far()
    }
}

/// A process that is killed when dropped.
struct Process {
    child: Mutex<Child>,
    // Removed after that.
    _dir: TempDir,
}

impl Process {
    fn with<T>(&self, look: impl FnOnce(&mut Child) -> T) -> T {
        look(&mut self.child.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How it ended, if it has ended.
    fn ended(&self) -> Option<ExitStatus> {
        self.with(|child| child.try_wait().ok().flatten())
    }

    /// Sends SIGTERM; true once the process has ended well.
    fn drain(self: Arc<Self>) -> Later<bool> {
        let id = self.with(|child| child.id()).to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().is_ok_and(|status| status.success());
        Box::pin(async move {
            let deadline = Instant::now() + PATIENCE;
            while told && Instant::now() < deadline {
                if let Some(status) = self.ended() {
                    return status.success();
                }
                // Nothing tells when a process has ended.
                sleep(Duration::from_millis(20)).await;
            }
            false
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.with(|child| {
            // It may have ended by itself.
            let _gone = child.kill().and_then(|()| child.wait());
        });
    }
}
