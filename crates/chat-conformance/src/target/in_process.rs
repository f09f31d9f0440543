use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{Builder, Chat, Endpoint, Limits};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::renewable_store::RenewableStore;
use super::{Later, Server, Target};
use crate::{Conditions, Needs};

/// The time limit of a drain, after which the server abandons connections.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(6);

/// The time in which a server must stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

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
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let mut builder = (self.set_up)(Chat::builder().limits(conditions.limits_of_server()));
        let mut on_renew = None;
        if conditions.has_renewable_logs {
            let store = RenewableStore::default();
            builder = builder.store(store.clone());
            let renew = move || {
                let store = store.clone();
                Box::pin(async move { store.renew().await }) as Later<()>
            };
            on_renew = Some(Box::new(renew) as Box<dyn Fn() -> Later<()> + Send + Sync>);
        }
        let chat = conditions.chat(builder).build();
        let limits = Arc::clone(chat.limits());
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = Box::pin(async {
            // A drop of the sender stops the server.
            let _dropped = stopped.await.is_err();
        });
        let endpoint = conditions.endpoint(Endpoint::new(chat.clone()));
        let mounted = Mounted { endpoint, listener, limits: Arc::clone(&limits), stop: stopped };
        let served = tokio::spawn((self.serve)(mounted));
        let end = async move {
            let was_over = served.is_finished();
            drop(stop);
            match timeout(STOP_TIMEOUT, served).await {
                Ok(Err(error)) if error.is_panic() => Err(format!(
                    "the server did not run: `serve` ended with {}",
                    chat_suite::panic_text(&*error.into_panic())
                )),
                Ok(Ok(())) if was_over => {
                    Err("the server did not run: `serve` returned, but must await `stop`".to_owned())
                }
                // The suite does not test the stop of a server.
                _ => Ok(()),
            }
        };
        let draining = chat.clone();
        let on_drain = move || {
            let chat = draining.clone();
            let drained = tokio::spawn(async move { chat.drain(DRAIN_TIMEOUT).await });
            Box::pin(async { drained.await.is_ok_and(|drained| drained.abandoned == 0) }) as Later<bool>
        };
        Ok(Server {
            address,
            host: "chat.test".to_owned(),
            path: "/ws".to_owned(),
            limits,
            is_shared: false,
            chat: Some(chat),
            on_drain: Some(Box::new(on_drain)),
            on_renew,
            end: Some(Box::pin(end)),
        })
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
