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
use crate::{Conditions, Needs};

/// The number of bytes of stderr that are kept.
const MAX_STDERR_BYTES: usize = 2_000;

/// The time in which a server must start, and in which it must end.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// A command that starts a server: each case gets a process of its own.
#[derive(Clone, Debug)]
pub struct Exec {
    name: String,
    command: String,
    path: String,
}

impl Exec {
    /// A shell command. The suite replaces `{addr}` by the address to listen on, and `{dir}` by an empty directory for
    /// this server.
    ///
    /// # Errors
    ///
    /// If the command does not contain `{addr}`.
    pub fn new(command: &str, path: &str) -> Result<Self, String> {
        if !command.contains("{addr}") {
            return Err("the command must contain {addr}, the address to listen on".to_owned());
        }
        Ok(Self { name: short(command), command: command.to_owned(), path: path.to_owned() })
    }
}

/// Returns the program without its directory, and the arguments without the address.
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
            Needs::Limits => Some("limits that can be set only for a server in this process"),
            Needs::Host => Some("a host service of its own, which only a server in this process can have"),
        }
    }

    async fn start(&self, _: &Conditions) -> Result<Server, String> {
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
        let stderr = StderrReader::of(&mut child);
        let process = Arc::new(Process { child: Mutex::new(child), _dir: dir });
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = process.ended() {
                let said = stderr.all().await;
                return Err(format!(
                    "the server did not start: `{shown}` ended with {status}; its stderr: {said}"
                ));
            }
            if Instant::now() > deadline {
                let said = stderr.events_so_far();
                return Err(format!(
                    "the server did not start: `{shown}` runs, but nothing listens on {address} after {START_TIMEOUT:?}; \
                     does the command use {{addr}}? Its stderr: {said}"
                ));
            }
            // There is no event for a process that listens.
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Server {
            addresses: vec![address],
            host: address.to_string(),
            path: self.path.clone(),
            limits: Arc::new(Limits::default()),
            is_shared: false,
            chats: Vec::new(),
            on_drain: Some(Box::new(move || Arc::clone(&process).drain())),
            on_renew: None,
            end: None,
        })
    }
}

/// The stderr of a process. A thread reads it, so that the process never waits for a reader.
struct StderrReader {
    said: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl StderrReader {
    fn of(child: &mut Child) -> Self {
        let (said, stderr) = (Arc::new(Mutex::new(Vec::new())), child.stderr.take());
        let heard = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            let (Some(mut stderr), mut buffer) = (stderr, [0; 4_096]) else { return };
            while let Ok(read @ 1..) = stderr.read(&mut buffer) {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MAX_STDERR_BYTES.saturating_sub(heard.len()).min(read);
                heard.extend_from_slice(&buffer[..room]);
            }
        });
        Self { said, reader }
    }

    /// Returns the text up to now.
    fn events_so_far(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if said.is_empty() { "nothing".to_owned() } else { said }
    }

    /// Returns the text of a process that has ended. A child of the process can hold the pipe open: the wait has a
    /// limit.
    async fn all(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.reader.is_finished() && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        self.events_so_far()
    }
}

/// A process that is killed when dropped.
struct Process {
    child: Mutex<Child>,
    // Removed after the process.
    _dir: TempDir,
}

impl Process {
    fn with<T>(&self, look: impl FnOnce(&mut Child) -> T) -> T {
        look(&mut self.child.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the exit status, if the process has ended.
    fn ended(&self) -> Option<ExitStatus> {
        self.with(|child| child.try_wait().ok().flatten())
    }

    /// Sends SIGTERM. The future returns true if the process then ends with success.
    fn drain(self: Arc<Self>) -> Later<bool> {
        let id = self.with(|child| child.id()).to_string();
        let signalled =
            Command::new("kill").args(["-TERM", &id]).status().is_ok_and(|status| status.success());
        Box::pin(async move {
            let deadline = Instant::now() + START_TIMEOUT;
            while signalled && Instant::now() < deadline {
                if let Some(status) = self.ended() {
                    return status.success();
                }
                // There is no event for the end of a process.
                sleep(Duration::from_millis(20)).await;
            }
            false
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.with(|child| {
            // The process may have ended by itself.
            let _gone = child.kill().and_then(|()| child.wait());
        });
    }
}
