use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The time for servers to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The name of the configuration in the directory of a server.
const CONFIG: &str = "nats.conf";

/// A user who may not remove messages, nor see the other nodes, and the password.
pub(crate) const NO_ERASURE: &str = "no_erasure";

/// A user who does not see the other nodes of the stream `chat` and is not seen by them, and the password.
pub(crate) const ALONE: &str = "alone";

/// Servers of NATS on loopback, each with a directory of its own. They end with this value.
pub(crate) struct Servers {
    servers: Vec<Server>,
    _dir: TempDir,
}

struct Server {
    /// `None` while it does not run.
    process: Option<Child>,
    home: PathBuf,
    port: u16,
}

impl Servers {
    /// Starts one server, or three of one cluster.
    ///
    /// # Panics
    ///
    /// If `nats-server` is not installed, or the servers are not ready in time.
    pub(crate) fn start(count: usize) -> Self {
        Self::start_with(count, |_| {})
    }

    /// Starts servers with a change of the configuration of each.
    pub(crate) fn start_with(count: usize, change: impl Fn(&mut Value)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ports = free_ports(2 * count);
        let routes: Vec<_> = ports[count..].iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let servers = (0..count).map(|number| {
            let home = dir.path().join(format!("n{number}"));
            fs::create_dir(&home).expect("a directory");
            let cluster = if count == 1 { Value::Null } else {
                json!({ "name": "chat", "listen": format!("127.0.0.1:{}", ports[count + number]), "routes": routes })
            };
            let mut config = json!({
                "server_name": format!("n{number}"),
                "listen": format!("127.0.0.1:{}", ports[number]),
                "authorization": { "users": [
                    { "user": "all", "password": "all" },
                    { "user": NO_ERASURE, "password": NO_ERASURE, "permissions": {
                        "publish": { "deny": ["$JS.API.STREAM.MSG.DELETE.>", "chat.n.*"] },
                        "subscribe": { "deny": "chat.n.*" } } },
                    { "user": ALONE, "password": ALONE, "permissions": {
                        "publish": { "deny": "chat.n.*" }, "subscribe": { "deny": "chat.n.*" } } },
                ] },
                "no_auth_user": "all",
                "jetstream": { "store_dir": home, "max_mem": 268_435_456, "max_file": 4_294_967_296_u64 },
            });
            if !cluster.is_null() {
                config["cluster"] = cluster;
            }
            change(&mut config);
            fs::write(home.join(CONFIG), config.to_string()).expect("a file");
            Server { process: None, home, port: ports[number] }
        });
        let mut servers = Self { servers: servers.collect(), _dir: dir };
        (0..count).for_each(|number| servers.revive(number));
        servers
    }

    /// Returns the addresses of the servers.
    pub(crate) fn addresses(&self) -> String {
        let addresses: Vec<_> =
            self.servers.iter().map(|server| format!("nats://127.0.0.1:{}", server.port)).collect();
        addresses.join(",")
    }

    /// Returns the port of a server.
    pub(crate) fn port(&self, number: usize) -> u16 {
        self.servers[number].port
    }

    /// Kills a server without a warning.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(mut process) = self.servers[number].process.take() {
            process.kill().expect("a process that can be killed");
            process.wait().expect("a process that ends");
        }
    }

    /// Starts a server that does not run.
    pub(crate) fn revive(&mut self, number: usize) {
        let process = spawn(&self.home(number).join(CONFIG));
        self.servers[number].process = Some(process);
    }

    /// Returns the directory of a server.
    pub(crate) fn home(&self, number: usize) -> &Path {
        &self.servers[number].home
    }

    /// Waits until the servers can create a stream of this number of copies.
    pub(crate) async fn ready(&self) -> Client {
        let until = Instant::now() + START_TIMEOUT;
        loop {
            if let Ok(client) = async_nats::connect(self.addresses().split(',').collect::<Vec<_>>()).await {
                let name = "ready";
                let replicas = self.servers.len();
                let config = json!({ "name": name, "subjects": [name], "num_replicas": replicas, "storage": "memory" });
                let made = request(&client, &format!("STREAM.CREATE.{name}"), &config).await;
                if made.is_some_and(|made| made["error"].is_null()) {
                    return client;
                }
            }
            assert!(Instant::now() < until, "nats-server is not ready within {START_TIMEOUT:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        (0..self.servers.len()).for_each(|number| self.kill(number));
    }
}

/// Sends a request of the JetStream API.
pub(crate) async fn request(client: &Client, method: &str, query: &Value) -> Option<Value> {
    let answer = client.request(format!("$JS.API.{method}"), query.to_string().into()).await.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}

fn spawn(config: &Path) -> Child {
    let command = std::env::var_os("NATS_SERVER").unwrap_or_else(|| "nats-server".into());
    let spawned =
        Command::new(command).arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match spawned {
        Ok(process) => process,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!(
                "nats-server is not installed: run tests/provide, and put the directory that it prints into PATH"
            )
        }
        Err(error) => panic!("nats-server cannot be started: {error}"),
    }
}

/// Returns ports that are free now.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect()
}
