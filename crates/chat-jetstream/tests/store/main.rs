//! Tests of the store with servers that fail, and with what only the servers show.

#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/servers.rs"]
mod servers;

mod ages;
mod bus;
mod changes;
mod erasure;
mod history;
mod known_bounds;
mod leader;
mod leaving;
mod lost_end;
mod moved_streams;
mod moving;
mod notices;
mod opening;
mod paused;
mod purges;
mod rules;
mod search;
mod sizes;
mod stalled;
mod streams;
mod support;
mod threads;
mod trimming;
mod users;
