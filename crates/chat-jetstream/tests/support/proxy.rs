use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way of one node to its server. It can be cut and repaired. It stays until the runtime ends, because the rooms of
/// a case may outlive its stores.
pub(crate) struct Proxy {
    port: u16,
    cut: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let cut = watch::Sender::new(false);
        tokio::spawn(accept(listener, server, cut.clone()));
        Self { port, cut }
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Cuts all connections and accepts no others, or accepts them again.
    pub(crate) fn set_open(&self, is_open: bool) {
        self.cut.send_replace(!is_open);
    }
}

async fn accept(listener: TcpListener, server: u16, cut: watch::Sender<bool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut cut = cut.subscribe();
        tokio::spawn(async move {
            if *cut.borrow() {
                return;
            }
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
            tokio::select! {
                _ended = copy_bidirectional(&mut client, &mut server) => {}
                _cut = cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}
