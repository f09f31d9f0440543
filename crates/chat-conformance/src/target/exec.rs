use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::Limits;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::{Later, Server, Target};
use crate::Needs;

/// How long a server has to start, and to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// A command that starts a server: each case gets a process of its own.
#[derive(Clone, Debug)]
pub struct Exec {
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
        Ok(Self { command: command.to_owned(), path: path.to_owned() })
    }
}

#[async_trait]
impl Target for Exec {
    fn name(&self) -> &str {
        &self.command
    }

    fn lacks(&self, needs: Needs) -> Option<&'static str> {
        match needs {
            Needs::Address | Needs::Fresh | Needs::Drain => None,
            Needs::Limits => Some("it needs a server with limits that it sets: run it in-process"),
        }
    }

    async fn start(&self, _: Limits) -> Result<Server, String> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.map_err(|error| error.to_string())?;
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let command = self.command.replace("{addr}", &address.to_string());
        let command = format!("exec {}", command.replace("{dir}", &dir.path().to_string_lossy()));
        let child = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let process = Arc::new(Process { child: Mutex::new(child), _dir: dir });
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            if process.ended().is_some() || Instant::now() > deadline {
                return Err(format!("`{command}` does not listen"));
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

    /// Whether it ended well, if it has ended.
    fn ended(&self) -> Option<bool> {
        self.with(|child| child.try_wait().ok().flatten().map(|status| status.success()))
    }

    /// Sends SIGTERM; true once the process has ended well.
    fn drain(self: Arc<Self>) -> Later<bool> {
        let id = self.with(|child| child.id()).to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().is_ok_and(|status| status.success());
        Box::pin(async move {
            let deadline = Instant::now() + PATIENCE;
            while told && Instant::now() < deadline {
                if let Some(well) = self.ended() {
                    return well;
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
