//! The common part of the servers: the option `--listen`, and the line that says where a server listens.
//!
//! All servers do the same. A member connects to `/ws/ROOM`, and its first text is `joined`. Each text of a member goes
//! to all members of its room, and to the member itself. The server for Socket.IO has events in place of texts.

use std::env;
use std::net::TcpListener;

use anyhow::{Context, Result, bail};

/// Reads the option `--listen ADDRESS`, listens, and prints the URL. The listener does not block.
///
/// # Errors
///
/// Fails if there is another option, or the address is in use.
pub fn listen() -> Result<TcpListener> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let address = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => "127.0.0.1:0",
        ["--listen", address] => address,
        _ => bail!("expected --listen ADDRESS"),
    };
    let listener = TcpListener::bind(address).with_context(|| format!("--listen {address}"))?;
    listener.set_nonblocking(true)?;
    println!("listening on ws://{}/ws", listener.local_addr()?);
    Ok(listener)
}
