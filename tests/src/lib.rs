//! Shared parts of the tests that run all adapters: servers in this process, the binaries as processes, a client, a
//! faulty proxy, random scripts with a model of the protocol, and concurrent participants whose histories are checked.

#![expect(clippy::missing_errors_doc, reason = "each function fails if a server or the system misbehaves")]

mod adapters;
mod client;
mod daemon;
mod disk;
mod exports;
mod footprint;
pub mod fuzz;
pub mod history;
mod host_fault;
pub mod k6;
pub mod metrics;
mod nodes;
mod participants;
mod proxy;
mod received_messages;
mod responses;
mod scripts;
mod seed;
mod socket_member;
mod socket_rooms;

pub use adapters::{ADAPTERS, Adapter, Server};
pub use client::{Client, Incoming, eventually, exchange, handshake, request_upgrade, within};
pub use daemon::{BINARIES, Binary, Daemon, StartFailure, check_levels, example, lifted, program};
pub use disk::Disk;
pub use exports::without_ages;
pub use footprint::Footprint;
pub use host_fault::HostFault;
pub use k6::{Summary, check_log};
pub use nodes::{ChatNodes, Nats};
pub use participants::{Plan, plan, run_plan};
pub use proxy::{Affected, Proxy, ProxyFault};
pub use received_messages::ReceivedMessages;
pub use responses::http_responses;
pub use scripts::{Failure, ScriptServer, Step, run_scripts, script};
pub use seed::{runner, seeds};
pub use socket_member::SocketMember;
pub use socket_rooms::{EncodedMessage, SocketRooms};

/// Defines one test for each binary and upgrade mode. Each calls a function with the [`Binary`].
#[macro_export]
macro_rules! for_each_binary {
    ($($test:ident)*) => {
        $crate::for_each_binary! { @modules [$($test)*]
            tungstenite_by_hijack: "chatd-tungstenite" "hijack",
            warp_by_hijack: "chatd-warp" "hijack",
            warp_by_framework: "chatd-warp" "framework",
            actix_by_hijack: "chatd-actix" "hijack",
            actix_by_framework: "chatd-actix" "framework",
            axum_by_hijack: "chatd-axum" "hijack",
            axum_by_framework: "chatd-axum" "framework",
        }
    };
    (@modules $tests:tt $($name:ident: $binary:literal $upgrade:literal,)*) => {
        $($crate::for_each_binary! { @module $tests $name $binary $upgrade })*
    };
    (@module [$($test:ident)*] $name:ident $binary:literal $upgrade:literal) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() -> anyhow::Result<()> {
                    super::$test($crate::Binary { name: $binary, upgrade: $upgrade }).await
                }
            )*
        }
    };
}
