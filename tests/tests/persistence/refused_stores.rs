use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use chat_tests::{Binary, Client, Daemon, Disk};
use tempfile::TempDir;

/// A function that damages the store in a directory.
type Damage = fn(&Path) -> Result<()>;

/// Each damage: its name, its function, and a word of the error.
const DAMAGES: [(&str, Damage, &str); 9] = [
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
    ("removed, but not its mark", |dir| Ok(fs::remove_file(database(dir))?), "missing"),
    (
        "a directory",
        |dir| Ok(fs::remove_file(database(dir)).and_then(|()| fs::create_dir(database(dir)))?),
        "chat.db",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_refused_in_one_line_and_not_changed() -> Result<()> {
    for ((what, damage, word), binary) in DAMAGES.into_iter().zip(Binary::one_per_adapter().cycle()) {
        let home = TempDir::new()?;
        let dir = home.path().join("store");
        create_store(binary, &dir).await?;
        damage(&dir)?;
        let before = contents(&dir);
        check_refused(binary, &dir, what, word)?;
        ensure!(contents(&dir) == before, "{what}: the store was changed");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_directory_is_refused_in_one_line() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        check_refused(binary, &home.path().join("not/there"), "no parent", "not/there")?;
        fs::write(home.path().join("file"), "")?;
        check_refused(binary, &home.path().join("file"), "a file", "file")?;
        let disk = Disk::mount(home.path().join("disk"), "4m")?;
        let store = disk.path().join("store");
        create_store(binary, &store).await?;
        disk.make_read_only()?;
        let before = contents(&store);
        check_refused(binary, &store, "a read-only disk", "Read-only")?;
        check_refused(binary, &disk.path().join("new"), "a read-only disk", "Read-only")?;
        ensure!(contents(&store) == before);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_a_directory_is_refused_and_the_first_continues() -> Result<()> {
    let home = TempDir::new()?;
    for (first, second) in Binary::one_per_adapter().zip(Binary::one_per_adapter().cycle().skip(1)) {
        let daemon = Daemon::start_in(home.path(), first, &[])?;
        let mut client = Client::member(daemon.address(), "ann").await?;
        check_refused(second, home.path(), "in use", "in use")?;
        let sent = client.say("hi").await?;
        ensure!(sent["type"] == "sent", "{sent}");
        client.close(1000).await?;
        daemon.stop()?;
    }
    Ok(())
}

/// Creates a store with some messages and closes it.
async fn create_store(binary: Binary, dir: &Path) -> Result<()> {
    let daemon = Daemon::start_in(dir, binary, &[])?;
    let mut client = Client::member(daemon.address(), "ann").await?;
    for _ in 0..30 {
        client.say(&"x".repeat(500)).await?;
    }
    client.close(1000).await?;
    daemon.stop()?;
    Ok(())
}

/// Checks that a server on this directory exits with one line that contains a word.
fn check_refused(binary: Binary, dir: &Path, what: &str, word: &str) -> Result<()> {
    let Output { status, stdout, stderr } = serve(binary, dir)?;
    let line = String::from_utf8(stderr)?;
    ensure!(status.code() == Some(2), "{what}: {status}: {line}");
    ensure!(line.starts_with("error: ") && line.lines().count() == 1, "{what}: {line}");
    ensure!(line.contains(word), "{what}: {line}");
    ensure!(stdout.is_empty(), "{what}: it prints an address");
    Ok(())
}

/// Runs a server on a directory, for at most a minute.
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
