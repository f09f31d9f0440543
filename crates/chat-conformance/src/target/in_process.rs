use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{Builder, Chat, Endpoint, Limits};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::renewable_store::RenewableStore;
use super::served::{Served, server};
use super::{Later, Renew, Server, Target};
use crate::{Conditions, Needs};

/// A mechanism of an adapter, served in this process. Each case gets its own chat.
pub struct InProcess {
    name: String,
    serve: Box<dyn Fn(Mounted) -> Later<()> + Send + Sync>,
    set_up: Box<dyn Fn(Builder) -> Builder + Send + Sync>,
}

/// The server that an adapter must run for one case.
pub struct Mounted {
    /// The chat, at `/ws`.
    pub endpoint: Endpoint,
    /// The listener for connections.
    pub listener: TcpListener,
    /// The limits of the chat.
    pub limits: Arc<Limits>,
    /// A future that completes when the server must stop.
    pub stop: Later<()>,
}

impl InProcess {
    /// A target whose server is `serve`, which must run until `stop` completes.
    pub fn new<F>(name: &str, serve: impl Fn(Mounted) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve = Box::new(move |mounted| Box::pin(serve(mounted)) as Later<()>);
        Self { name: name.to_owned(), serve, set_up: Box::new(|builder| builder) }
    }

    /// Changes the builder of each case's chat, for example to set another store.
    #[must_use]
    pub fn set_up(mut self, set_up: impl Fn(Builder) -> Builder + Send + Sync + 'static) -> Self {
        self.set_up = Box::new(set_up);
        self
    }
}

#[async_trait]
impl Target for InProcess {
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
        let mut builder = (self.set_up)(Chat::builder().limits(conditions.limits_of_server()));
        let mut on_renew = None;
        if conditions.has_renewable_logs {
            let store = RenewableStore::default();
            builder = builder.store(store.clone());
            let renew = move || {
                let store = store.clone();
                Box::pin(async move { store.renew().await }) as Later<()>
            };
            on_renew = Some(Box::new(renew) as Renew);
        }
        let served = self.serve(conditions, builder).await?;
        Ok(server(vec![served], on_renew, Box::pin(async {})))
    }
}

impl InProcess {
    /// Serves a chat for a case with these conditions, on a free port.
    pub(super) async fn serve(&self, conditions: &Conditions, builder: Builder) -> Result<Served, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let chat = conditions.chat(builder).build();
        let limits = Arc::clone(chat.limits());
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = Box::pin(async {
            // A drop of the sender stops the server.
            let _dropped = stopped.await.is_err();
        });
        let endpoint = conditions.endpoint(Endpoint::new(chat.clone()));
        let mounted = Mounted { endpoint, listener, limits, stop: stopped };
        let task = tokio::spawn((self.serve)(mounted));
        Ok(Served { address, chat, stop, task })
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted").field("listener", &self.listener).finish_non_exhaustive()
    }
}
