//! Mutated conversations with each adapter's binary, and mutated inputs of the functions that read what clients,
//! proxies, key services and operators write.

mod commands;
mod config;
mod conversations;
mod frames;
mod handshake;
mod names;
mod proxies;
mod stored;
mod tokens;
