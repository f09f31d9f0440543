use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{Builder, Limits};

use super::served::server;
use super::{InProcess, Later, Renew, Server, Target};
use crate::{Conditions, Needs};

/// The time until a user who has lost the last connection leaves. Many cases wait for it.
const LEAVE_GRACE: Duration = Duration::from_millis(20);

/// Several nodes of one chat, served in this process. Each case gets its own chat.
///
/// The connections of a case go to the nodes in turn, unless its [`Conditions::one_node`] says why they must not.
pub struct Nodes {
    name: String,
    nodes: Vec<InProcess>,
    share: Box<Share>,
}

/// Makes what the nodes of a case share.
type Share = dyn Fn(Limits) -> Later<Result<Shared, String>> + Send + Sync;

/// The store and the bus of the nodes of one chat.
pub struct Shared {
    /// The builder of each node, with its store, its bus and its name.
    pub builders: Vec<Builder>,
    /// Completes when each node knows all others. It is awaited after the chats are built.
    pub ready: Later<Result<(), String>>,
    /// Lets the logs of all open rooms start a new epoch.
    pub on_renew: Renew,
    /// Closes the store. It is awaited after the nodes have stopped.
    pub close: Later<()>,
}

impl Nodes {
    /// A target of several nodes, each served as one of `nodes`.
    ///
    /// `share` makes the store and the bus of one case: a builder for each node. Its argument is the limits of the
    /// chats.
    pub fn new<F>(
        name: &str,
        nodes: impl IntoIterator<Item = InProcess>,
        share: impl Fn(Limits) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Shared, String>> + Send + 'static,
    {
        let share = Box::new(move |limits| Box::pin(share(limits)) as Later<_>);
        Self { name: name.to_owned(), nodes: nodes.into_iter().collect(), share }
    }
}

#[async_trait]
impl Target for Nodes {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn lacks(&self, _: Needs) -> Option<&'static str> {
        None
    }

    async fn start(&self, conditions: &Conditions) -> Result<Server, String> {
        let limits = conditions.limits_of_server().with(|limits| limits.nodes.leave_grace = LEAVE_GRACE);
        let shared = (self.share)(limits.clone()).await?;
        let mut nodes = Vec::new();
        for (node, builder) in self.nodes.iter().zip(shared.builders) {
            nodes.push(node.serve(conditions, builder.limits(limits.clone())).await?);
        }
        shared.ready.await?;
        let mut server = server(nodes, Some(shared.on_renew), shared.close);
        if conditions.one_node.is_some() {
            server.addresses.truncate(1);
        }
        Ok(server)
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("nodes", &self.builders.len()).finish_non_exhaustive()
    }
}
