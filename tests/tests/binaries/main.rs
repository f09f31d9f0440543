//! The chat binaries as their users run them: options, signals, a drain, and a hostile environment.

mod abuse;
mod configuration;
mod connect_flood;
mod drain;
mod exhaustion;
mod refusals;
mod suspension;
mod unprivileged;
