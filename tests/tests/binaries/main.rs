//! The chat binaries as their users run them: options, signals, a drain, and a hostile environment.

mod abuse;
mod admin;
mod config_file;
mod configuration;
mod connect_flood;
mod descriptors;
mod drain;
mod exhaustion;
mod plain_connections;
mod proxy_protocol;
mod refusals;
mod reload;
mod send_buffer;
mod suspension;
mod unprivileged;
mod users;
