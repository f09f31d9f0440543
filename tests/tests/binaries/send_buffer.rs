use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Client, Daemon};

/// The size of a message, and the number of them: more than the kernel may hold.
const MESSAGE_BYTES: usize = 4_000;
const MESSAGES: usize = 300;

/// The default of `ConnectionLimits::send_buffer_bytes` in the memory of the kernel, and the one packet beyond it that
/// Linux admits.
const MAX_QUEUED: usize = 2 * 128 * 1024 + 64 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_holds_little_output_for_a_client_that_does_not_read() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start_lifted(binary, &["--data", ":memory:"])?;
        let mut silent = Client::open_narrow(daemon.address(), "silent").await?;
        silent.join(None).await?;
        let mut writer = Client::member(daemon.address(), "writer").await?;
        let text = "x".repeat(MESSAGE_BYTES);
        let mut queued = 0;
        for _ in 0..MESSAGES {
            let sent = writer.say(&text).await?;
            ensure!(sent["type"] == "sent", "{binary:?}: {sent}");
            queued = queued.max(longest_queue(daemon.address())?);
        }
        ensure!(queued >= 64 * 1024, "{binary:?}: the client was not behind: {queued} bytes");
        ensure!(queued <= MAX_QUEUED, "{binary:?}: {queued} bytes");
    }
    Ok(())
}

/// Returns the bytes that the kernel holds for the slowest reader of a server.
fn longest_queue(server: SocketAddr) -> Result<usize> {
    let port = format!(":{:04X}", server.port());
    let sockets = fs::read_to_string("/proc/net/tcp")?;
    let of_server = sockets.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next()?;
        local.ends_with(&port).then(|| fields.nth(2)?.split(':').next())?
    });
    let queues = of_server.map(|queue| usize::from_str_radix(queue, 16));
    queues.collect::<Result<Vec<_>, _>>()?.into_iter().max().context("no socket of the server")
}
