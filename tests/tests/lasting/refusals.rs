use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use chat_tests::{Binary, Client, Daemon};
use serde_json::json;
use tempfile::TempDir;

use crate::conversation::text;
use crate::disk::Disk;
use crate::programs;

/// A way to spoil the store in a directory.
type Spoil = fn(&Path) -> Result<()>;

/// What is refused, and a word of the line that says so.
const SPOILT: [(&str, Spoil, &str); 9] = [
    ("cut to nothing", |dir| overwrite(dir, |_| Vec::new()), "empty"),
    ("cut in half", |dir| overwrite(dir, |bytes| bytes[..bytes.len() / 2].to_vec()), "damaged"),
    ("garbage", |dir| overwrite(dir, |bytes| vec![0xa5; bytes.len()]), "not a chat store"),
    ("a page of zeros", |dir| overwrite(dir, |bytes| zeroed(bytes, 4_096..8_192)), "damaged"),
    (
        "a newer schema",
        |dir| overwrite(dir, |bytes| replaced(bytes, 60, &99_u32.to_be_bytes())),
        "newer version",
    ),
    ("of another program", |dir| overwrite(dir, |bytes| replaced(bytes, 68, b"shop")), "another program"),
    ("a file of text", |dir| overwrite(dir, |_| b"Dear diary, ".repeat(100)), "not a chat store"),
    ("gone, its mark is not", |dir| Ok(fs::remove_file(database(dir))?), "missing"),
    (
        "a directory",
        |dir| Ok(fs::remove_file(database(dir)).and_then(|()| fs::create_dir(database(dir)))?),
        "chat.db",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_as_it_was_left_is_refused_in_one_line_and_not_touched() -> Result<()> {
    for ((what, spoil, word), binary) in SPOILT.into_iter().zip(programs().into_iter().cycle()) {
        let home = TempDir::new()?;
        let dir = home.path().join("store");
        write_into(binary, &dir).await?;
        spoil(&dir)?;
        let before = contents(&dir);
        refused(binary, &dir, what, word)?;
        ensure!(contents(&dir) == before, "{what}: it was changed");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_where_nothing_can_be_kept_is_refused_in_one_line() -> Result<()> {
    for binary in programs() {
        let home = TempDir::new()?;
        refused(binary, &home.path().join("not/there"), "no parent", "not/there")?;
        fs::write(home.path().join("file"), "")?;
        refused(binary, &home.path().join("file"), "a file", "file")?;
        let disk = Disk::mount(home.path().join("disk"), "4m")?;
        let store = disk.path().join("store");
        write_into(binary, &store).await?;
        disk.close()?;
        let before = contents(&store);
        refused(binary, &store, "a disk for reading", "Read-only")?;
        refused(binary, &disk.path().join("new"), "a disk for reading", "Read-only")?;
        ensure!(contents(&store) == before);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_directory_is_refused_and_the_first_unhurt() -> Result<()> {
    let home = TempDir::new()?;
    for (first, second) in programs().into_iter().zip(programs().into_iter().cycle().skip(1)) {
        let daemon = Daemon::start(first, &["--data", text(home.path())?])?;
        let mut client = Client::connect(daemon.address(), "ann").await?;
        client.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
        refused(second, home.path(), "in use", "in use")?;
        let sent = client.ask(json!({"type": "send", "room": "lobby", "body": {"text": "hi"}}), "s").await?;
        ensure!(sent["type"] == "sent", "{sent}");
        client.close(1000).await?;
        daemon.stop()?;
    }
    Ok(())
}

/// A store with some messages, closed in order.
async fn write_into(binary: Binary, dir: &Path) -> Result<()> {
    let daemon = Daemon::start(binary, &["--data", text(dir)?])?;
    let mut client = Client::connect(daemon.address(), "ann").await?;
    client.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    for _ in 0..30 {
        let body = json!({"text": "x".repeat(500)});
        client.ask(json!({"type": "send", "room": "lobby", "body": body}), "s").await?;
    }
    client.close(1000).await?;
    daemon.stop()?;
    Ok(())
}

fn refused(binary: Binary, dir: &Path, what: &str, word: &str) -> Result<()> {
    let Output { status, stdout, stderr } = serve(binary, dir)?;
    let line = String::from_utf8(stderr)?;
    ensure!(status.code() == Some(2), "{what}: {status}: {line}");
    ensure!(line.starts_with("error: ") && line.lines().count() == 1, "{what}: {line}");
    ensure!(line.contains(word), "{what}: {line}");
    ensure!(stdout.is_empty(), "{what}: it says that it listens");
    Ok(())
}

/// Serves from a directory, for a minute at most.
fn serve(binary: Binary, dir: &Path) -> Result<Output> {
    let mut command = Command::new("timeout");
    command.arg("60").arg(binary.command()?.get_program());
    Ok(command.args(["--listen", "127.0.0.1:0", "--data"]).arg(dir).output()?)
}

fn database(dir: &Path) -> PathBuf {
    dir.join("chat.db")
}

fn overwrite(dir: &Path, change: impl Fn(&[u8]) -> Vec<u8>) -> Result<()> {
    let bytes = fs::read(database(dir))?;
    Ok(fs::write(database(dir), change(&bytes))?)
}

fn zeroed(bytes: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[range].fill(0);
    bytes
}

fn replaced(bytes: &[u8], at: usize, by: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + by.len()].copy_from_slice(by);
    bytes
}

fn contents(dir: &Path) -> Vec<Option<Vec<u8>>> {
    ["chat.db", "chat.db-wal", "chat.mark"].map(|name| fs::read(dir.join(name)).ok()).into()
}
