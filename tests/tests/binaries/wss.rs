//! The client with TLS: a server that restarts with a renewed certificate, and certificates that fail a check.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use chat_adapter_tests::tls::{Authority, CertificateFiles};
use chat_client::{
    Client, ClientEvent, Closed, ConnectError, Events, JoinFrom, Joined, RoomName, Roots, Text, TlsError,
};
use chat_tests::{Binary, Daemon, program, within};
use tempfile::TempDir;
use tokio_rustls::LazyConfigAcceptor;

const ADDRESS: &str = "IP:127.0.0.1";

/// Starts a server on a socket that outlives it.
fn start(socket: &TcpListener, data: &Path, files: &CertificateFiles) -> Result<Daemon> {
    let binary = Binary::one_per_adapter().next().context("a binary")?;
    let (certificate, key) = (files.certificate(), files.key());
    let arguments =
        ["--tls-cert", certificate.to_str().context("a path")?, "--tls-key", key.to_str().context("a path")?];
    Daemon::start_on(socket.try_clone()?.into(), data, binary, &arguments)
}

/// Waits for an event for which `is_wanted` returns true.
async fn until(events: &mut Events, is_wanted: impl Fn(&ClientEvent) -> bool) -> Result<ClientEvent> {
    within(async {
        loop {
            match events.next().await {
                Some(event) if is_wanted(&event) => return Ok(event),
                Some(ClientEvent::Closed(closed)) => bail!("the client has ended: {closed:?}"),
                Some(_) => {}
                None => bail!("there are no more events"),
            }
        }
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_resumes_with_a_renewed_certificate_and_ends_with_a_foreign_one() -> Result<()> {
    let (authority, foreign, home) = (Authority::new(), Authority::new(), TempDir::new()?);
    let (first, renewed) = (authority.issue(ADDRESS, 2), authority.issue(ADDRESS, 2));
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("wss://{}/ws", socket.local_addr()?);
    let old = start(&socket, home.path(), &first)?;
    let builder = Client::builder(&url).name("Ann").roots(Roots::from_file(authority.root())?);
    let (client, mut events) = builder.connect().await?;
    let room: RoomName = "lobby".parse()?;
    client.join(&room, JoinFrom::Now).await?;
    let exchange = async |events: &mut Events, text: &str| {
        // More than one record of TLS.
        let text = text.repeat(4_000);
        client.send(&room, &Text::new(&text)).await?;
        let is_own = |event: &ClientEvent| matches!(event, ClientEvent::Message(message) if message.text().as_deref() == Some(&text));
        until(events, is_own).await
    };
    exchange(&mut events, "a").await?;

    old.stop()?;
    let new = start(&socket, home.path(), &renewed)?;
    until(&mut events, |event| matches!(event, ClientEvent::Resumed(Joined { recovered: true, .. }))).await?;
    exchange(&mut events, "b").await?;

    new.stop()?;
    let _foreign = start(&socket, home.path(), &foreign.issue(ADDRESS, 2))?;
    let ended = until(&mut events, |event| matches!(event, ClientEvent::Closed(_))).await?;
    let expected = Closed::Refused(ConnectError::Tls(TlsError::UnknownIssuer));
    ensure!(matches!(&ended, ClientEvent::Closed(closed) if *closed == expected), "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_client_names_the_check_that_the_certificate_failed() -> Result<()> {
    let (authority, home) = (Authority::new(), TempDir::new()?);
    let data = |name: &str| home.path().join(name);
    let sockets = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let _valid = start(&sockets.0, &data("valid"), &authority.issue(ADDRESS, 2))?;
    let _expired = start(&sockets.1, &data("expired"), &authority.issue(ADDRESS, -1))?;
    let plain = Daemon::start(Binary::one_per_adapter().next().context("a binary")?, &[])?;
    let (valid, expired) = (sockets.0.local_addr()?, sockets.1.local_addr()?);
    let wrong_host =
        TlsError::WrongHost { host: "localhost".to_owned(), names: vec!["127.0.0.1".to_owned()] };
    let (own, other) = (Roots::from_file(authority.root())?, Roots::from_file(Authority::new().root())?);
    for (host, address, roots, expected) in [
        ("127.0.0.1", valid, &other, TlsError::UnknownIssuer),
        ("localhost", valid, &own, wrong_host),
        ("127.0.0.1", expired, &own, TlsError::Expired),
        ("127.0.0.1", plain.address(), &own, TlsError::NoTls),
    ] {
        let url = format!("wss://{host}:{}/ws", address.port());
        let error = Client::builder(&url).roots(roots.clone()).connect().await.err().context(url)?;
        ensure!(!error.is_temporary() && error == ConnectError::Tls(expected.clone()), "{error:?}: {error}");
    }
    // By default, the roots of the system count, to which this one does not belong.
    let error = Client::builder(&format!("wss://{valid}/ws")).connect().await.err().context("no error")?;
    ensure!(matches!(error, ConnectError::Tls(TlsError::UnknownIssuer | TlsError::NoRoots)), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_client_names_the_host_to_the_server() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("wss://localhost:{}/ws", listener.local_addr()?.port());
    let server = async {
        let (stream, _) = listener.accept().await?;
        let start = LazyConfigAcceptor::new(Default::default(), stream).await?;
        let hello = start.client_hello();
        ensure!(hello.server_name() == Some("localhost"), "{:?}", hello.server_name());
        ensure!(hello.alpn().into_iter().flatten().eq([b"http/1.1"]), "other protocols");
        Ok(())
    };
    let (named, connected) = tokio::join!(
        server,
        Client::builder(&url).roots(Roots::from_file(Authority::new().root())?).connect()
    );
    named?;
    // The server has ended the handshake, which another attempt may complete.
    ensure!(connected.is_err_and(|error| error.is_temporary()));
    Ok(())
}

#[test]
fn load_uses_tls_with_the_roots_of_a_file() -> Result<()> {
    let (authority, home) = (Authority::new(), TempDir::new()?);
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let _server = start(&socket, home.path(), &authority.issue(ADDRESS, 2))?;
    let load = |address: SocketAddr, root: &Path| -> Result<_> {
        let arguments = ["resume", "--connections", "3", "--duration", "1", "--every", "0.5", "--url"];
        let mut program = program("chat-load")?;
        let output =
            program.args(arguments).arg(format!("wss://{address}/ws")).arg("--ca").arg(root).output()?;
        let text = String::from_utf8([output.stdout, output.stderr].concat())?;
        Ok((output.status.code(), text))
    };
    let address = socket.local_addr()?;
    let (code, text) = load(address, &authority.root())?;
    ensure!(code == Some(0), "{text}");
    let (code, text) = load(address, Authority::new().root().as_path())?;
    ensure!(
        code == Some(1) && text.contains("no trusted root has issued the certificate"),
        "{code:?}: {text}"
    );
    let (code, text) = load(address, Path::new("/none.pem"))?;
    ensure!(code == Some(2) && text.contains("--ca /none.pem: cannot read /none.pem"), "{code:?}: {text}");
    Ok(())
}
