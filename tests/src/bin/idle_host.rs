//! A chat server that pings idle connections each second. Its argument is the name of an adapter. It prints its address
//! and serves until its standard input ends.

#![expect(clippy::print_stdout, reason = "the program prints its address")]

use std::time::Duration;

use anyhow::{Context, Result};
use chat_core::{Chat, Limits, RateLimits};
use chat_tests::{ADAPTERS, Server};
use tokio::task::spawn_blocking;

const PING_INTERVAL: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<()> {
    let name = std::env::args().nth(1).context("the name of an adapter is missing")?;
    let adapter = ADAPTERS.into_iter().find(|adapter| adapter.name() == name).context("unknown adapter")?;
    let limits = Limits::default().with(|limits| {
        limits.rates = RateLimits::unlimited();
        limits.connection.max_per_user = 0;
        limits.connection.max_per_address = 0;
        limits.connection.ping_interval = PING_INTERVAL;
    });
    let server = Server::start(adapter, &Chat::builder().limits(limits).build()).await?;
    println!("{}", server.address());
    spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}
