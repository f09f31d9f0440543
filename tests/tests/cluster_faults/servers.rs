//! Three servers of NATS, each of which reaches the others over links that can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::{Client, ConnectOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::link::Link;
use crate::version::Version;
use chat_tests::Disk;

/// The number of servers of the cluster.
pub(crate) const COUNT: usize = 3;

/// The time for servers to be ready, and for a copy of the stream to be current.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The size of the disk of a server that gets full.
const SMALL_DISK: &str = "96m";

/// Servers of NATS that sync each message. They end with this value.
pub(crate) struct Servers {
    servers: Vec<Server>,
    /// The links between two servers, by the numbers of both.
    routes: BTreeMap<(usize, usize), Link>,
    /// The number of the server with a small disk. The disk is unmounted before the directory is removed.
    small: Option<(usize, Disk)>,
    dir: TempDir,
}

struct Server {
    /// `None` while it does not run.
    process: Option<Child>,
    version: Version,
    home: PathBuf,
    port: u16,
    route_port: u16,
}

impl Servers {
    /// Starts the servers. If a number is given, that server has a small disk.
    pub(crate) async fn start(version: Version, small: Option<usize>) -> Result<Self> {
        let dir = TempDir::new()?;
        let small = small.map(|number| {
            Disk::mount(dir.path().join(format!("n{number}")), SMALL_DISK).map(|disk| (number, disk))
        });
        let mut servers =
            Self { servers: Vec::new(), routes: BTreeMap::new(), small: small.transpose()?, dir };
        for _ in 0..COUNT {
            servers.prepare(version)?;
        }
        for number in 0..COUNT {
            servers.configure(number, &(0..COUNT).collect()).await?;
            servers.revive(number)?;
        }
        let client = servers.client().await?;
        let config =
            json!({ "name": "ready", "subjects": ["ready"], "num_replicas": COUNT, "storage": "memory" });
        eventually(|| async {
            let made = request(&client, "STREAM.CREATE.ready", &config).await;
            Ok(made.is_ok_and(|made| made["error"].is_null()))
        })
        .await
        .context("the servers are not ready")?;
        request(&client, "STREAM.DELETE.ready", &json!({})).await?;
        Ok(servers)
    }

    fn prepare(&mut self, version: Version) -> Result<()> {
        let home = self.dir.path().join(format!("n{}", self.servers.len()));
        fs::create_dir_all(&home)?;
        self.servers.push(Server {
            process: None,
            version,
            home,
            port: free_port(),
            route_port: free_port(),
        });
        Ok(())
    }

    /// Writes the configuration of a server that reaches others over links of its own.
    async fn configure(&mut self, number: usize, others: &BTreeSet<usize>) -> Result<()> {
        let mut routes = Vec::new();
        for &other in others.iter().filter(|&&other| other != number) {
            let link = Link::start(self.servers[other].route_port).await?;
            routes.push(format!("nats://{}", link.address()));
            self.routes.insert((number, other), link);
        }
        let Server { home, port, route_port, .. } = &self.servers[number];
        let config = json!({
            "server_name": format!("n{number}"),
            "listen": format!("127.0.0.1:{port}"),
            "accounts": { "$SYS": { "users": [{ "user": "system", "password": "system" }] } },
            "jetstream": {
                "store_dir": home,
                "max_mem": 268_435_456,
                "max_file": 4_294_967_296_u64,
                "sync_interval": "always",
            },
            "cluster": {
                "name": "chat",
                "listen": format!("127.0.0.1:{route_port}"),
                "routes": routes,
                // Otherwise nodes and servers would learn of ways around the links. Nothing listens on this port.
                "no_advertise": true,
                "advertise": "127.0.0.1:1",
            },
        });
        Ok(fs::write(config_file(home), config.to_string())?)
    }

    /// Returns the port of a server for clients.
    pub(crate) fn port(&self, number: usize) -> u16 {
        self.servers[number].port
    }

    /// Kills a server without a warning.
    pub(crate) fn kill(&mut self, number: usize) -> Result<()> {
        if let Some(mut process) = self.servers[number].process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Starts a server that does not run.
    pub(crate) fn revive(&mut self, number: usize) -> Result<()> {
        let server = &mut self.servers[number];
        let mut command = server.version.command()?;
        let log = fs::OpenOptions::new().create(true).append(true).open(server.home.with_extension("log"))?;
        command.arg("-c").arg(config_file(&server.home)).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().with_context(|| format!("{command:?}: run tests/provide"))?;
        server.process = Some(process);
        Ok(())
    }

    /// Restarts a server with the newest version.
    pub(crate) fn upgrade(&mut self, number: usize) -> Result<()> {
        self.kill(number)?;
        self.servers[number].version = Version::New;
        self.revive(number)
    }

    /// Sends a signal to a server, such as `STOP`.
    pub(crate) fn signal(&self, number: usize, name: &str) -> Result<()> {
        let process = self.servers[number].process.as_ref().context("it does not run")?;
        let sent = Command::new("kill").arg(format!("-{name}")).arg(process.id().to_string()).status()?;
        ensure!(sent.success(), "kill -{name} failed");
        Ok(())
    }

    /// Fills the small disk.
    pub(crate) fn fill_disk(&self) -> Result<()> {
        let (_, disk) = self.small.as_ref().context("no server has a small disk")?;
        disk.fill()
    }

    /// Makes space on the small disk, and restarts its server, which does not use the disk again by itself.
    pub(crate) fn free_disk(&mut self) -> Result<()> {
        let (number, disk) = self.small.as_ref().context("no server has a small disk")?;
        disk.free()?;
        let number = *number;
        self.kill(number)?;
        self.revive(number)
    }

    /// Lets nothing pass between a server and the others.
    pub(crate) fn isolate(&self, number: usize) {
        self.routes_of(number).for_each(Link::silence);
    }

    /// Ends the isolation of a server.
    pub(crate) fn reunite(&self, number: usize) {
        self.routes_of(number).for_each(Link::open);
    }

    fn routes_of(&self, number: usize) -> impl Iterator<Item = &Link> {
        let is_of = move |&(one, other): &(usize, usize)| one == number || other == number;
        self.routes.iter().filter(move |(ends, _)| is_of(ends)).map(|(_, link)| link)
    }

    /// Replaces a server that never returns by a new one with an empty disk.
    pub(crate) async fn replace(&mut self, lost: usize) -> Result<()> {
        self.kill(lost)?;
        self.prepare(Version::New)?;
        let number = self.servers.len() - 1;
        let others: BTreeSet<_> = (0..number).filter(|&other| other != lost).collect();
        self.configure(number, &others).await?;
        self.revive(number)?;
        let system = ConnectOptions::with_user_and_password("system".to_owned(), "system".to_owned());
        let system = system.connect(self.addresses()).await?;
        let peer = json!({ "peer": format!("n{lost}") });
        // Without a leader of the servers, nobody answers.
        eventually(|| async {
            let removed = request(&system, "SERVER.REMOVE", &peer).await;
            Ok(removed.is_ok_and(|removed| removed["success"] == true))
        })
        .await
        .context("the lost server is not removed")
    }

    /// Connects to the servers that run, without a link.
    pub(crate) async fn client(&self) -> Result<Client> {
        let until = Instant::now() + READY_TIMEOUT;
        loop {
            match async_nats::connect(self.addresses()).await {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > until => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn addresses(&self) -> Vec<String> {
        let running = self.servers.iter().filter(|server| server.process.is_some());
        running.map(|server| format!("nats://127.0.0.1:{}", server.port)).collect()
    }

    /// Returns the number of the server that leads the stream, once there is one.
    pub(crate) async fn leader(&self) -> Result<usize> {
        let client = self.client().await?;
        let until = Instant::now() + READY_TIMEOUT;
        loop {
            let info = request(&client, "STREAM.INFO.chat", &json!({})).await;
            if let Some(leader) = info.as_ref().ok().and_then(|info| info["cluster"]["leader"].as_str()) {
                return Ok(leader.trim_start_matches('n').parse()?);
            }
            ensure!(Instant::now() < until, "no leader within {READY_TIMEOUT:?}: {info:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until each server that runs has a current copy of the stream.
    pub(crate) async fn wait_until_current(&self) -> Result<()> {
        let client = self.client().await?;
        let running: BTreeSet<_> = (0..self.servers.len())
            .filter(|&number| self.servers[number].process.is_some())
            .map(|number| format!("n{number}"))
            .collect();
        eventually(|| async {
            let Ok(info) = request(&client, "STREAM.INFO.chat", &json!({})).await else { return Ok(false) };
            let cluster = &info["cluster"];
            let replicas = cluster["replicas"].as_array().map_or(&[][..], Vec::as_slice);
            let current = replicas.iter().filter(|it| it["current"] == true && it["offline"] != true);
            let names = current.filter_map(|it| it["name"].as_str()).chain(cluster["leader"].as_str());
            Ok(names.map(ToOwned::to_owned).collect::<BTreeSet<_>>() == running)
        })
        .await
        .context("the copies of the stream are not current")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // It may have ended already.
            let _ended =
                server.process.take().map(|mut process| process.kill().and_then(|()| process.wait()));
        }
    }
}

fn config_file(home: &Path) -> PathBuf {
    home.with_extension("conf")
}

/// Sends a request of the JetStream API.
async fn request(client: &Client, method: &str, query: &Value) -> Result<Value> {
    let answer = client.request(format!("$JS.API.{method}"), query.to_string().into()).await?;
    Ok(serde_json::from_slice(&answer.payload)?)
}

/// Polls a condition that nothing announces.
async fn eventually<F: Future<Output = Result<bool>>>(holds: impl Fn() -> F) -> Result<()> {
    let until = Instant::now() + READY_TIMEOUT;
    while !holds().await? {
        ensure!(Instant::now() < until, "not within {READY_TIMEOUT:?}");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Returns a port that is free, and that the system gives to nobody else: a server that was killed needs it again.
fn free_port() -> u16 {
    static GIVEN: LazyLock<Mutex<BTreeSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = fastrand::u16(10_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && given.insert(port) {
            return port;
        }
    }
}
