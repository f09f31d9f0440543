//! The WebSocket front of a chat: from a request to a connection.

mod answer;
mod context;
mod endpoint;
mod guard;
mod handler;
mod probe;
mod proxy_protocol;
mod refused;
mod request_wait;
mod screen;
mod static_file;
mod status_pages;
mod ticket;

pub use answer::Answer;
pub use context::RequestContext;
pub use endpoint::{Decision, Endpoint, UpgradeMode};
pub use guard::{GuardedRequest, UpgradeGuard};
pub use handler::Handler;
pub use proxy_protocol::ProxyProtocol;
pub use request_wait::RequestWait;
pub use screen::screen;
pub use static_file::StaticFile;
pub use status_pages::Readiness;
pub use ticket::{SwitchingProtocols, Upgrade, UpgradeTicket};
