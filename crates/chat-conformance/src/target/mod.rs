//! What the suite runs on.

mod address;
mod exec;
mod in_process;

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{Chat, Limits};

use crate::Needs;

pub use address::Address;
pub use exec::Exec;
pub use in_process::{InProcess, Mounted};

/// A way to a server.
#[async_trait]
pub trait Target: Send + Sync {
    /// What reports call it.
    fn name(&self) -> &str;

    /// Why a case with these needs cannot be run, if it cannot.
    fn lacks(&self, needs: Needs) -> Option<&'static str>;

    /// Whether the code of the server is that of this repository.
    fn is_ours(&self) -> bool {
        false
    }

    /// A server for one case: a fresh one wherever this can start one.
    ///
    /// # Errors
    ///
    /// Why there is none.
    async fn start(&self, limits: Limits) -> Result<Server, String>;
}

/// Something that is done later.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A server that runs.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// What `Host` says.
    pub host: String,
    /// Where the chat is.
    pub path: String,
    /// Its limits, or the protocol's if those are not known.
    pub limits: Arc<Limits>,
    /// Whether others use it at the same time.
    pub is_shared: bool,
    /// The chat, if it is in this process.
    pub chat: Option<Chat>,
    /// Begins a drain.
    pub on_drain: Option<Box<dyn Fn() -> Later<bool> + Send + Sync>>,
    /// What ends it once the case is over, and has looked at what the case left behind; an error says that it had
    /// ended by itself.
    pub end: Option<Later<Result<(), String>>>,
}

impl Server {
    /// Begins a drain; true once it is over and nobody was cut off.
    pub(crate) fn drain(&self) -> Later<bool> {
        match &self.on_drain {
            Some(drain) => drain(),
            None => Box::pin(async { false }),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}
