//! The targets of the suite: ways to get a server for a case.

mod address;
mod exec;
mod in_process;
mod nodes;
mod renewable_store;
mod served;

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{Chat, Limits};

use crate::{Conditions, Needs};

pub use address::Address;
pub use exec::Exec;
pub use in_process::{InProcess, Mounted};
pub use nodes::{Nodes, Shared};

/// A way to get a server for a case.
#[async_trait]
pub trait Target: Send + Sync {
    /// Returns the name that reports use.
    fn name(&self) -> &str;

    /// Returns the thing that this target lacks for a case with these needs, or `None` if it can run the case.
    fn lacks(&self, needs: Needs) -> Option<&'static str>;

    /// Returns true if the code of the server is in this repository.
    fn is_ours(&self) -> bool {
        false
    }

    /// Returns a server for a case with these conditions. It is a new one, if the target can start one.
    ///
    /// # Errors
    ///
    /// If there is no server. The text gives the reason.
    async fn start(&self, conditions: &Conditions) -> Result<Server, String>;
}

/// A boxed future.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A function that lets the logs of all open rooms start a new epoch.
pub type Renew = Box<dyn Fn() -> Later<()> + Send + Sync>;

/// A running server.
pub struct Server {
    /// The address that it listens on, or those of several nodes. The connections of a case go to them in turn.
    pub addresses: Vec<SocketAddr>,
    /// The value of the header `Host`.
    pub host: String,
    /// The path of the chat.
    pub path: String,
    /// The limits, or the protocol's if those are not known.
    pub limits: Arc<Limits>,
    /// True if other cases use the server at the same time.
    pub is_shared: bool,
    /// The chat, or that of each node, if the server is in this process.
    pub chats: Vec<Chat>,
    /// Starts a drain.
    pub on_drain: Option<Box<dyn Fn() -> Later<bool> + Send + Sync>>,
    /// Lets the logs of all open rooms start a new epoch.
    pub on_renew: Option<Renew>,
    /// Ends the server after the case. The error says that the server had ended by itself.
    pub end: Option<Later<Result<(), String>>>,
}

impl Server {
    /// Starts a drain. The future returns true if the drain ends and abandons no connection.
    pub(crate) fn drain(&self) -> Later<bool> {
        match &self.on_drain {
            Some(drain) => drain(),
            None => Box::pin(async { false }),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
