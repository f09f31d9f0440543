use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One address for all nodes, as a load balancer has it. A connection goes to the first node that accepts it. It runs
/// as long as the runtime.
pub(crate) struct Balancer {
    address: SocketAddr,
    nodes: Arc<watch::Sender<Vec<SocketAddr>>>,
}

impl Balancer {
    pub(crate) async fn start(nodes: &[SocketAddr]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let nodes = Arc::new(watch::Sender::new(nodes.to_owned()));
        let current = Arc::clone(&nodes);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let nodes = current.borrow().clone();
                tokio::spawn(forward(client, nodes));
            }
        });
        Ok(Self { address, nodes })
    }

    /// Returns the URL of the chat.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// Sets the nodes of further connections, in the order in which they are tried.
    pub(crate) fn set(&self, nodes: &[SocketAddr]) {
        self.nodes.send_replace(nodes.to_owned());
    }
}

async fn forward(mut client: TcpStream, nodes: Vec<SocketAddr>) {
    for node in nodes {
        if let Ok(mut server) = TcpStream::connect(node).await {
            let _ended = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}
