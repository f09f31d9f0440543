//! Nodes of an earlier version that are replaced by this one, one after the other, and come back, while clients write.
//!
//! `CHAT_NODE_OLD` is the path of `chatd-axum` of the earlier version, with the feature `cluster`.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chat_proto::RoomName;
use chat_tests::{Client, Daemon, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::balancer::Balancer;
use crate::moderation::{done, restrict, secret, user};
use crate::nodes::{AXUM, node_of, servers, state};
use crate::outages::stored;
use crate::participants::{Participants, Watcher};
use crate::servers::Servers;

/// The messages that each group of participants must have acknowledged before and after each step.
const ENOUGH: usize = 30;

/// Longer than the time in which users of a node that has failed leave: 4 s until it counts as failed, then 10 s.
const LEAVE_TIME: Duration = Duration::from_secs(16);

/// The nodes that are replaced, in turn, and the versions that they have afterwards.
const STEPS: [(usize, Version); 4] =
    [(0, Version::New), (1, Version::New), (0, Version::Old), (1, Version::Old)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Old,
    New,
}

/// A cluster whose nodes have versions.
struct Cluster {
    servers: Servers,
    tokens: String,
    old: OsString,
    nodes: Vec<Daemon>,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a binary of an earlier version: CHAT_NODE_OLD"]
async fn nodes_of_an_earlier_version_are_replaced_and_come_back_without_a_loss() -> Result<()> {
    let old = env::var_os("CHAT_NODE_OLD").context("CHAT_NODE_OLD is not set")?;
    let ((servers, _client), home) = (servers(3).await, TempDir::new()?);
    let mut cluster = Cluster { servers, tokens: secret(home.path())?, old, nodes: Vec::new() };
    for name in ["a", "b"] {
        cluster.nodes.push(cluster.start(name, Version::Old)?);
    }
    cluster.all_know_each_other().await?;
    let room = "hall".parse::<RoomName>()?;
    let [a, b] = cluster.addresses()?;
    let balancers = [Balancer::start(&[a, b]).await?, Balancer::start(&[b, a]).await?];
    let mut groups = Vec::new();
    for balancer in &balancers {
        let number = groups.len();
        groups.push(Participants::start(&balancer.url(), &room, number..number + 1).await?);
    }
    create_staff(&cluster.nodes[0]).await?;
    let mut known = exercise(&cluster.nodes, 0, Vec::new()).await?;

    for (step, (number, version)) in (1..).zip(STEPS) {
        for group in &mut groups {
            group.progress(ENOUGH).await?;
        }
        let names: BTreeSet<_> = (0..groups.len()).map(|number| format!("client-{number}")).collect();
        let stays = cluster.addresses()?[1 - number];
        let mut watcher = Watcher::start(stays, &room, "watcher").await?;
        watcher.mark();
        let begun = Instant::now();
        balancers.iter().for_each(|balancer| balancer.set(&[stays]));
        cluster.replace(number, version).await?;
        let lasted = begun.elapsed();
        let [a, b] = cluster.addresses()?;
        balancers[0].set(&[a, b]);
        balancers[1].set(&[b, a]);
        // The others are on the node that stays. Now both versions have writers.
        let next = groups.len();
        groups.push(Participants::start(&balancers[number].url(), &room, next..next + 1).await?);
        for group in &mut groups {
            group.progress(ENOUGH).await?;
        }
        known = exercise(&cluster.nodes, step, known).await?;
        let [present, moved] = watcher.finish(&room, LEAVE_TIME).await?;
        ensure!(moved.is_disjoint(&names) && present.is_superset(&names), "{present:?} {moved:?}");
        println!(
            "step {step}, node {number} is {version:?}: replaced in {lasted:?}, nobody has left or joined"
        );
    }

    let (mut acknowledged, mut unavailable) = (BTreeMap::new(), 0);
    for group in groups {
        unavailable += group.unavailable();
        acknowledged.extend(group.finish().await?);
    }
    for node in &cluster.nodes {
        ensure!(stored(node, &room).await? == acknowledged, "{unavailable} sends were unavailable");
    }
    for node in cluster.nodes {
        check_log(&block_in_place(|| node.stop())?)?;
    }
    println!("{} messages are stored once each, {unavailable} sends were unavailable", acknowledged.len());
    Ok(())
}

impl Cluster {
    fn start(&self, name: &str, version: Version) -> Result<Daemon> {
        let command = match version {
            Version::Old => Command::new(&self.old),
            Version::New => AXUM.command()?,
        };
        node_of(command, AXUM, name, &self.servers, &["--guests", "--token-secret", &self.tokens])
    }

    /// Replaces a node as an operator does: SIGTERM, a new start, and a wait until it is ready.
    async fn replace(&mut self, number: usize, version: Version) -> Result<()> {
        let node = self.nodes.remove(number);
        let log = block_in_place(|| node.stop())?;
        let drained = log.iter().find(|line| line["message"] == "drain finished").context("no drain")?;
        ensure!(drained["abandoned"] == 0, "{drained}");
        check_log(&log)?;
        self.nodes.insert(number, self.start(["a", "b"][number], version)?);
        self.all_know_each_other().await
    }

    async fn all_know_each_other(&self) -> Result<()> {
        for node in &self.nodes {
            eventually(|| async {
                Ok(node.ready().await?["ready"] == true && state(node).await?["nodes"] == 2)
            })
            .await?;
        }
        Ok(())
    }

    fn addresses(&self) -> Result<[std::net::SocketAddr; 2]> {
        let addresses: Vec<_> = self.nodes.iter().map(Daemon::address).collect();
        addresses.try_into().ok().context("two nodes")
    }
}

/// Creates a room for members.
async fn create_staff(node: &Daemon) -> Result<()> {
    let mut ann = user(node, "ann").await?;
    done(&ann.ask(json!({"type": "create", "room": "staff", "join": "members"})).await?)?;
    ensure!(ann.ask(json!({"type": "join", "room": "staff"})).await?["type"] == "joined");
    done(&ann.ask(json!({"type": "role", "room": "staff", "user": "bob", "role": "member"})).await?)
}

/// Lets users of both nodes write, change and moderate. Each sees what the other one has done, and both read what
/// `known` has, in the same form. Returns all messages.
async fn exercise(nodes: &[Daemon], step: usize, known: Vec<Value>) -> Result<Vec<Value>> {
    let (one, other) = (&nodes[step % 2], &nodes[(step + 1) % 2]);
    let (mut ann, mut bob, mut zoe) =
        (user(one, "ann").await?, user(other, "bob").await?, user(other, "zoe").await?);
    let join = json!({"type": "join", "room": "staff"});
    for (client, role) in [(&mut ann, "owner"), (&mut bob, "member")] {
        let joined = client.ask(join.clone()).await?;
        ensure!(joined["type"] == "joined" && joined["role"] == role, "{joined}");
    }
    let refused = zoe.ask(join).await?;
    ensure!(refused["code"] == "forbidden", "{refused}");

    let seq = send(&mut ann, json!({"body": {"text": format!("step {step}")}})).await?;
    while bob.until("message").await?["seq"] != seq {}
    done(&bob.ask(change("react", seq, json!({"reaction": "+1", "on": true}))).await?)?;
    while ann.until("changed").await?["what"] != "reactions" {}
    done(&ann.ask(change("edit", seq, json!({"body": {"text": format!("edited in {step}")}}))).await?)?;
    while bob.until("changed").await?["what"] != "edited" {}

    restrict(&mut ann, "bob", "mute").await?;
    let refused = bob.ask(json!({"type": "send", "room": "staff", "body": {"text": "muted"}})).await?;
    ensure!(refused["code"] == "muted", "{refused}");
    restrict(&mut ann, "bob", "none").await?;
    send(&mut bob, json!({"body": {"text": "answer"}, "thread": seq})).await?;
    let gone = send(&mut bob, json!({"body": {"text": "gone"}})).await?;
    done(&ann.ask(change("delete", gone, json!({}))).await?)?;
    while bob.until("changed").await?["what"] != "deleted" {}

    let (read, on_other) = (messages(&mut ann).await?, messages(&mut bob).await?);
    ensure!(read == on_other, "{read:#?} {on_other:#?}");
    ensure!(read.len() == known.len() + 3 && read.starts_with(&known), "{read:#?} after {known:#?}");
    let root = read.iter().find(|message| message["seq"] == seq).context("the message")?;
    ensure!(root["body"]["text"] == format!("edited in {step}") && root["replies"]["count"] == 1, "{root}");
    ensure!(root["reactions"][0]["users"][0]["id"] == "bob", "{root}");
    Ok(read)
}

/// Sends a message to the room `staff`. Returns its position.
async fn send(client: &mut Client, mut fields: Value) -> Result<u64> {
    (fields["type"], fields["room"]) = (json!("send"), json!("staff"));
    let sent = client.ask(fields).await?;
    sent["seq"].as_u64().with_context(|| sent.to_string())
}

/// Returns a command that changes a message of the room `staff`.
fn change(kind: &str, seq: u64, mut fields: Value) -> Value {
    (fields["type"], fields["room"], fields["seq"]) = (json!(kind), json!("staff"), json!(seq));
    fields
}

/// Reads all messages of the room `staff`.
async fn messages(client: &mut Client) -> Result<Vec<Value>> {
    let page = client.ask(json!({"type": "history", "room": "staff", "after": 0})).await?;
    ensure!(page["more"] != true, "{page}");
    page["messages"].as_array().cloned().with_context(|| page.to_string())
}

/// Checks that a node has reported no error.
fn check_log(log: &[Value]) -> Result<()> {
    let errors: Vec<_> = log.iter().filter(|line| line["level"] == "ERROR").collect();
    ensure!(errors.is_empty(), "{errors:#?}");
    Ok(())
}
