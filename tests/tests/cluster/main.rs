//! Several servers of one chat, as processes, on servers of NATS. `nats-server` must be in `PATH`, or `NATS_SERVER`
//! must be its path.

mod balancer;
mod joining;
mod kicks;
mod leaving;
#[path = "../cluster_faults/link.rs"]
mod link;
mod markers;
mod metrics;
mod moderation;
mod moved_chat;
mod nodes;
mod options;
mod outages;
mod participants;
mod purges;
mod retention;
mod searches;
#[path = "../../../crates/chat-jetstream/tests/support/servers.rs"]
mod servers;
mod storm;
mod streams;
mod threads;
mod upgrade;
mod users;
