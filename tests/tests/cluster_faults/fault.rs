use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;

use crate::cluster::{Clock, Cluster};
use crate::servers::{COUNT, Servers};
use crate::version::Version;

/// The nodes of a cluster. A fault of a node hits one of them.
const NODES: usize = 2;

/// One failure of a part of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// `kill -9` of the server that leads the stream.
    LeaderKilled,
    /// The server that leads the stream is stopped, and continued.
    LeaderStopped,
    /// `kill -9` of all servers.
    ServersKilled,
    /// `kill -9` of a node, which starts again with its name.
    NodeKilled,
    /// Nothing passes between a node and the servers. What was sent arrives later.
    NodeCutOff,
    /// Nothing passes between a server and the other two. What was sent arrives later.
    ServerCutOff,
    /// The disk of a server is full. It is restarted when there is space again.
    DiskFull,
    /// A server is removed for good, and another one is added with an empty disk.
    ServerReplaced,
    /// The clock of a node moves by up to ten minutes, and back.
    ClockMoved,
    /// The servers are replaced one after the other by those of the newest version.
    ServersUpgraded,
}

impl Fault {
    pub(crate) const ALL: [Self; 10] = [
        Self::LeaderKilled,
        Self::NodeCutOff,
        Self::ServerReplaced,
        Self::ServerCutOff,
        Self::DiskFull,
        Self::LeaderStopped,
        Self::ServersUpgraded,
        Self::ServersKilled,
        Self::NodeKilled,
        Self::ClockMoved,
    ];

    /// Returns the seconds for which the fault lasts.
    fn seconds(self) -> RangeInclusive<u64> {
        match self {
            Self::NodeKilled | Self::LeaderKilled => 1..=15,
            // Both ends of a connection notice after 10 to 15 s, and other nodes after 4 s.
            Self::NodeCutOff | Self::ServerCutOff | Self::LeaderStopped => 3..=25,
            Self::DiskFull => 3..=12,
            Self::ServersKilled | Self::ServerReplaced | Self::ClockMoved | Self::ServersUpgraded => 1..=6,
        }
    }

    /// Returns the time for which the fault lasts.
    pub(crate) fn duration(self, random: &mut Rng) -> Duration {
        Duration::from_secs(random.u64(self.seconds()))
    }

    /// Starts the cluster that gets the fault.
    pub(crate) async fn cluster(self, random: &mut Rng) -> Result<Cluster> {
        let version = if self == Self::ServersUpgraded { Version::Old } else { Version::New };
        let small = (self == Self::DiskFull).then(|| random.usize(..COUNT));
        let mut cluster = Cluster::new(Servers::start(version, small).await?);
        for number in 0..NODES {
            let has_clock = self == Self::ClockMoved && number == 0;
            cluster.add_node(has_clock.then(Clock::new).transpose()?).await?;
        }
        Ok(cluster)
    }

    /// Lets the fault begin. Returns the number of the server or node that it hits.
    pub(crate) async fn begin(self, cluster: &mut Cluster, random: &mut Rng) -> Result<usize> {
        let (node, server) = (random.usize(..NODES), random.usize(..COUNT));
        match self {
            Self::LeaderKilled | Self::LeaderStopped => {
                let leader = cluster.servers.leader().await?;
                match self {
                    Self::LeaderKilled => cluster.servers.kill(leader)?,
                    _ => cluster.servers.signal(leader, "STOP")?,
                }
                return Ok(leader);
            }
            Self::ServersKilled => {
                for number in 0..COUNT {
                    cluster.servers.kill(number)?;
                }
            }
            Self::NodeKilled => {
                cluster.kill_node(node)?;
                return Ok(node);
            }
            Self::NodeCutOff => {
                cluster.cut_off_node(node);
                return Ok(node);
            }
            Self::ServerCutOff => {
                // The leader is the interesting one.
                let cut_off = if random.bool() { cluster.servers.leader().await? } else { server };
                cluster.servers.isolate(cut_off);
                return Ok(cut_off);
            }
            Self::DiskFull => cluster.servers.fill_disk()?,
            Self::ServerReplaced => cluster.servers.replace(server).await?,
            Self::ClockMoved => {
                let seconds = random.i64(60..=600);
                cluster.move_clock(0, if random.bool() { seconds } else { -seconds })?;
            }
            Self::ServersUpgraded => cluster.servers.upgrade(server)?,
        }
        Ok(server)
    }

    /// Lets the fault end. `hit` is the number that [`begin`](Self::begin) has returned.
    pub(crate) async fn end(self, cluster: &mut Cluster, hit: usize) -> Result<()> {
        match self {
            Self::LeaderKilled => cluster.servers.revive(hit)?,
            Self::LeaderStopped => cluster.servers.signal(hit, "CONT")?,
            Self::ServersKilled => {
                for number in 0..COUNT {
                    cluster.servers.revive(number)?;
                }
            }
            Self::NodeKilled => cluster.start_node(hit)?,
            Self::NodeCutOff => cluster.reconnect_node(hit),
            Self::ServerCutOff => cluster.servers.reunite(hit),
            Self::DiskFull => cluster.servers.free_disk()?,
            Self::ServerReplaced => {}
            Self::ClockMoved => cluster.move_clock(0, 0)?,
            Self::ServersUpgraded => {
                for number in (0..COUNT).filter(|&number| number != hit) {
                    cluster.servers.wait_until_current().await?;
                    cluster.servers.upgrade(number)?;
                }
            }
        }
        cluster.servers.wait_until_current().await
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LeaderKilled => "leader_killed",
            Self::LeaderStopped => "leader_stopped",
            Self::ServersKilled => "servers_killed",
            Self::NodeKilled => "node_killed",
            Self::NodeCutOff => "node_cut_off",
            Self::ServerCutOff => "server_cut_off",
            Self::DiskFull => "disk_full",
            Self::ServerReplaced => "server_replaced",
            Self::ClockMoved => "clock_moved",
            Self::ServersUpgraded => "servers_upgraded",
        })
    }
}
