use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use chat_core::{Limits, Store};
use chat_jetstream::{JetStreamStore, OpenError, Options};

use crate::proxy::Proxy;
use crate::servers::Servers;
use crate::support::{Opened, eventually, node};

/// The server loses what it has stored after a copy of its directory was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_has_lost_its_end_starts_a_new_epoch() {
    let mut servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    for text in ["1", "2", "3"] {
        lobby.say(text).await;
    }
    let before = lobby.room.bounds().await.expect("bounds");
    copy(&mut servers);
    servers.ready().await;
    for text in ["lost", "lost too"] {
        while lobby.append(text, Some(text)).await.is_err() {}
    }
    restore(&mut servers);
    lobby.is_renewed().await;
    let after = lobby.room.bounds().await.expect("bounds");
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((after.head, after.first), (3, 1));
    // The keys of the lost messages are lost too.
    let again = lobby.append("lost", Some("lost")).await.expect("a receipt");
    assert_eq!((again.seq, again.duplicate, &again.epoch), (4, false, &after.epoch));
    let texts: Vec<_> = lobby.texts().await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["1", "2", "3", "lost"]);
}

/// The older copy has the metadata of the first epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_loss_brings_no_earlier_epoch_back() {
    let mut servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    lobby.say("1").await;
    copy(&mut servers);
    servers.ready().await;
    let mut epochs = BTreeSet::from([lobby.room.bounds().await.expect("bounds").epoch]);
    for text in ["lost", "lost too"] {
        while lobby.append(text, Some(text)).await.is_err() {}
        let present = lobby.room.bounds().await.expect("bounds").epoch;
        restore(&mut servers);
        eventually("another epoch", || async {
            lobby.room.bounds().await.is_ok_and(|bounds| bounds.epoch != present)
        })
        .await;
        let after = lobby.room.bounds().await.expect("bounds");
        assert_eq!(after.head, 1);
        assert!(epochs.insert(after.epoch), "an epoch comes back");
    }
}

/// Another node, which knows nothing of the lost messages, stores more than were lost before this node looks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_end_is_noticed_although_the_stream_is_longer_than_before() {
    let mut servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let way = Proxy::start(servers.port(0)).await;
    let options = Options::default().with(|options| options.replicas = 1);
    let store = JetStreamStore::open(&way.address(), options).await.expect("a store");
    let lobby = Opened::open(&store, "lobby", &limits).await;
    lobby.say("1").await;
    let before = lobby.room.bounds().await.expect("bounds");
    copy(&mut servers);
    servers.ready().await;
    while lobby.append("lost", None).await.is_err() {}
    way.set_open(false);
    restore(&mut servers);
    servers.ready().await;
    let other = node(&servers, |_| {}).await;
    let on_other = Opened::open(&other, "lobby", &limits).await;
    for seq in 2..=9 {
        assert_eq!(on_other.say("other").await, seq);
    }
    way.set_open(true);
    lobby.is_renewed().await;
    let after = lobby.room.bounds().await.expect("bounds");
    assert!(after.epoch != before.epoch && after.head == 9, "{after:?}");
    on_other.is_renewed().await;
    assert_eq!(on_other.room.bounds().await.expect("bounds"), after);
    assert_eq!(lobby.say("more").await, 10);
}

/// All servers of the chat are closed while the stream loses its end. One of them remembers the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_directory_notices_a_loss_that_happened_while_it_did_not_run() {
    let mut servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("state");
    let open = async |servers: &Servers| {
        let store = node(servers, |options| options.state_dir = Some(dir.clone())).await;
        let lobby = Opened::open(&store, "lobby", &limits).await;
        let bounds = lobby.room.bounds().await.expect("bounds");
        (store, lobby, bounds)
    };
    let (store, lobby, first) = open(&servers).await;
    lobby.say("1").await;
    copy(&mut servers);
    servers.ready().await;
    while lobby.append("lost", None).await.is_err() {}
    let shared = Options::default().with(|options| {
        (options.replicas, options.state_dir) = (1, Some(dir.clone()));
    });
    let second = JetStreamStore::open(&servers.addresses(), shared).await;
    assert!(matches!(second, Err(OpenError::StateInUse(_))), "{second:?}");
    store.close().await.expect("closed");
    drop(lobby);
    // A restart without a loss changes nothing.
    let (store, lobby, again) = open(&servers).await;
    assert_eq!((&again.epoch, again.head), (&first.epoch, 2));
    store.close().await.expect("closed");
    drop(lobby);
    restore(&mut servers);
    servers.ready().await;
    let (store, lobby, after) = open(&servers).await;
    assert!(after.epoch != first.epoch && after.head == 1, "{after:?}");
    assert_eq!(lobby.say("more").await, 2);
    store.close().await.expect("closed");
    drop(lobby);
    // The older copy has the first epoch. A mark of the second one shows the loss.
    restore(&mut servers);
    servers.ready().await;
    let (store, lobby, second) = open(&servers).await;
    assert!(![&first.epoch, &after.epoch].contains(&&second.epoch) && second.head == 1, "{second:?}");
    store.close().await.expect("closed");
    drop(lobby);
    // A damaged mark counts as none.
    fs::write(dir.join("chat.mark"), "chat-mark-1 a b 9 0").expect("written");
    let (store, _lobby, last) = open(&servers).await;
    assert_eq!(last.epoch, second.epoch);
    store.close().await.expect("closed");
}

/// Stops the server, copies its directory, and starts it again.
pub(crate) fn copy(servers: &mut Servers) {
    servers.kill(0);
    let home = servers.home(0);
    let status = Command::new("cp").arg("-r").arg(home).arg(home.with_extension("copy")).status();
    assert!(status.expect("a command that can be started").success());
    servers.revive(0);
}

/// Stops the server, replaces its directory by the copy, and starts it again.
pub(crate) fn restore(servers: &mut Servers) {
    servers.kill(0);
    let home = servers.home(0);
    fs::remove_dir_all(home).expect("a directory that can be removed");
    let status = Command::new("cp").arg("-r").arg(home.with_extension("copy")).arg(home).status();
    assert!(status.expect("a command that can be started").success());
    servers.revive(0);
}
