//! The chat binaries as their users run them: options, signals, a drain, and a hostile environment.

mod abuse;
mod admin;
mod configuration;
mod connect_flood;
mod descriptors;
mod drain;
mod exhaustion;
mod plain_connections;
mod proxy_protocol;
mod refusals;
mod send_buffer;
mod suspension;
mod unprivileged;
