//! The chat binaries as their users run them: options, signals, a drain, and a hostile environment.

mod abuse;
mod admin;
mod config_file;
mod configuration;
mod connect_flood;
mod credentials;
mod descriptors;
mod drain;
mod exhaustion;
mod health;
mod otlp;
mod plain_connections;
mod proxies;
mod proxy_protocol;
mod refusals;
mod reload;
mod restart;
mod send_buffer;
mod suspension;
mod terminal;
mod tls;
mod unprivileged;
mod users;
mod wss;
