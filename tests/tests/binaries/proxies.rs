//! The proxies of docs/proxies.md, with the text of that page as their configuration.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_adapter_tests::tls::{CertificateFiles, connector};
use chat_conformance::client::Frame;
use chat_tests::{Binary, Daemon, check_levels, eventually, within};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The options of docs/proxies.md.
const OPTIONS: [&str; 4] = ["--allow-host", "chat.example", "--trust-proxy", "127.0.0.1"];

const PAGE: &str = include_str!("../../../docs/proxies.md");

/// The address of a client, which is not that of the proxy.
const CLIENT: &str = "127.0.0.2";

/// Returns the block of the page in this language.
fn block(language: &str) -> Result<&'static str> {
    let (_, rest) = PAGE.split_once(&format!("```{language}\n")).context("no such block")?;
    rest.split_once("```").map(|(block, _)| block).context("the block does not end")
}

/// A running proxy. It is killed when it is dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
    /// The certificate that clients of the proxy trust.
    root: PathBuf,
    _files: (CertificateFiles, TempDir),
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Replaces a part of a configuration that must be there.
fn replace(text: &str, part: &str, by: &str) -> Result<String> {
    ensure!(text.contains(part), "the page has no {part:?}");
    Ok(text.replace(part, by))
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path")
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Proxy {
    /// Starts nginx. `edit` changes its configuration.
    async fn nginx(server: SocketAddr, edit: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let (files, folder, address) = (CertificateFiles::new(), TempDir::new()?, free_address()?);
        let site = edit(block("nginx")?)?;
        let site = replace(&site, "127.0.0.1:8080", &server.to_string())?;
        let site = replace(&site, "listen 443 ssl;", &format!("listen {address} ssl;"))?;
        let site = replace(&site, "listen [::]:443 ssl;", "")?;
        let site = replace(&site, "/etc/ssl/chat/chain.pem", path(&files.certificate())?)?;
        let site = replace(&site, "/etc/ssl/chat/key.pem", path(&files.key())?)?;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {};\n", folder.path().join(name).display()))
            .concat();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{site}}}\n",
            folder.path().display()
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(folder.path()).arg("-e").arg("stderr");
        let root = files.certificate();
        Self::start(command, address, root, (files, folder)).await
    }

    /// Starts Caddy, which makes its own certificate: a test cannot have a public one.
    async fn caddy(server: SocketAddr) -> Result<Self> {
        let (files, folder) = (CertificateFiles::new(), TempDir::new()?);
        let (address, http) = (free_address()?, free_address()?);
        let site = replace(block("caddy")?, "127.0.0.1:8080", &server.to_string())?;
        let text = format!(
            "{{\nadmin off\nlocal_certs\nskip_install_trust\ndefault_bind 127.0.0.1\nhttps_port {}\nhttp_port {}\n\
             storage file_system {}\n}}\n{site}",
            address.port(),
            http.port(),
            folder.path().display()
        );
        let file = folder.path().join("Caddyfile");
        fs::write(&file, text)?;
        let mut command = Command::new("caddy");
        command.arg("run").arg("--adapter").arg("caddyfile").arg("--config").arg(&file);
        command.env("HOME", folder.path()).stderr(Stdio::null());
        let root = folder.path().join("pki/authorities/local/root.crt");
        Self::start(command, address, root, (files, folder)).await
    }

    async fn haproxy(server: SocketAddr) -> Result<Self> {
        let (files, folder) = (CertificateFiles::new(), TempDir::new()?);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let both = folder.path().join("chat.pem");
        fs::write(&both, [fs::read(files.certificate())?, fs::read(files.key())?].concat())?;
        let text = replace(block("haproxy")?, "127.0.0.1:8080", &server.to_string())?;
        // The listener is the standard input.
        let text = replace(&text, "bind :443 ", "bind fd@0 ")?;
        let text = replace(&text, "/etc/haproxy/chat.pem", path(&both)?)?;
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, text)?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
        let root = files.certificate();
        Self::start(command, address, root, (files, folder)).await
    }

    async fn start(
        mut command: Command,
        address: SocketAddr,
        root: PathBuf,
        files: (CertificateFiles, TempDir),
    ) -> Result<Self> {
        let name = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("{name:?} is not installed: see tests/run"))?;
        let proxy = Self { child, address, root, _files: files };
        // Caddy listens after it has made its root, and before it has a certificate.
        eventually(|| async {
            let is_listening = TcpStream::connect(address).await.is_ok() && proxy.root.exists();
            Ok(is_listening && proxy.connect(&connector(&proxy.root)).await.is_ok())
        })
        .await
        .with_context(|| format!("{name:?} does not serve"))?;
        Ok(proxy)
    }

    /// Connects as a browser of `https://chat.example` does.
    async fn connect(&self, connector: &TlsConnector) -> Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(CLIENT.parse()?, 0))?;
        let stream = within(socket.connect(self.address)).await??;
        Ok(within(connector.connect("chat.example".try_into()?, stream)).await??)
    }

    /// Sends an upgrade request. Returns the connection and the status.
    async fn upgrade(
        &self,
        connector: &TlsConnector,
        host: &str,
        headers: &str,
    ) -> Result<(TlsStream<TcpStream>, u16)> {
        let mut stream = self.connect(connector).await?;
        let request = chat_tests::handshake(headers).replacen("Host: localhost", &format!("Host: {host}"), 1);
        stream.write_all(request.as_bytes()).await?;
        let mut start = [0; 12];
        within(stream.read_exact(&mut start)).await??;
        Ok((stream, std::str::from_utf8(&start[9..])?.parse()?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_with_the_documented_configuration_serves_the_chat() -> Result<()> {
    let daemon = server(&OPTIONS)?;
    let proxy = Proxy::nginx(daemon.address(), |site| Ok(site.to_owned())).await?;
    serves_the_chat(&proxy, daemon, &["chat.example", "chat.example:8443", "[::1]"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_with_the_documented_configuration_serves_the_chat() -> Result<()> {
    let daemon = server(&OPTIONS)?;
    let proxy = Proxy::caddy(daemon.address()).await?;
    serves_the_chat(&proxy, daemon, &["chat.example"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_with_the_documented_configuration_serves_the_chat() -> Result<()> {
    let daemon = server(&OPTIONS)?;
    let proxy = Proxy::haproxy(daemon.address()).await?;
    serves_the_chat(&proxy, daemon, &["chat.example", "chat.example:8443", "[::1]"]).await
}

fn server(options: &[&str]) -> Result<Daemon> {
    Daemon::start(Binary { name: "chatd-axum", upgrade: "hijack" }, options)
}

async fn serves_the_chat(proxy: &Proxy, daemon: Daemon, hosts: &[&str]) -> Result<()> {
    let connector = connector(&proxy.root);
    for host in hosts {
        let headers = format!("Origin: https://{host}\r\nX-Forwarded-For: 198.51.100.1\r\n");
        let (mut stream, status) = proxy.upgrade(&connector, host, &headers).await?;
        ensure!(status == 101, "{host}: {status}");
        // The browser may name the default port, and the other one not.
        let (_, status) = proxy.upgrade(&connector, host, &format!("Origin: https://{host}:443\r\n")).await?;
        ensure!(status == if host.ends_with(":8443") { 403 } else { 101 }, "{host}: {status}");
        // Events arrive one by one, not when a buffer of the proxy is full.
        let join = Frame::text(r#"{"type":"join","ref":"j","room":"lobby"}"#).encode();
        stream.write_all(&join).await?;
        read_until(&mut stream, r#""type":"joined""#).await?;
        stream.write_all(&Frame::text(r#"{"type":"ping","ref":"p"}"#).encode()).await?;
        read_until(&mut stream, r#""type":"pong""#).await?;
        // A full run waits for longer than the timeouts of the proxies, which the pings of the server must prevent.
        if let Some(seconds) = env::var("CHAT_PROXY_IDLE_SECONDS").ok().filter(|_| *host == hosts[0]) {
            idle(&mut stream, Duration::from_secs(seconds.parse()?)).await?;
        }
    }
    let origin = "Origin: https://evil.example\r\nX-Forwarded-For: 198.51.100.1\r\n";
    let (_, status) = proxy.upgrade(&connector, hosts[0], origin).await?;
    ensure!(status == 403, "{status}");
    let log = daemon.stop()?;
    check_levels(&log)?;
    let refused = log.iter().rfind(|line| line["message"] == "upgrade refused").context("no refusal")?;
    // The client of the proxy, and not the address that the client claims.
    ensure!(refused["peer"] == format!("{CLIENT}:0"), "{refused}");
    Ok(())
}

/// Reads until a text comes.
async fn read_until(stream: &mut TlsStream<TcpStream>, text: &str) -> Result<()> {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        ensure!(within(stream.read_buf(&mut read)).await?? > 0, "the end after {}", read.escape_ascii());
    }
    Ok(())
}

/// Sends nothing but the pongs to the pings of the server for this time. Then the connection still works.
async fn idle(stream: &mut TlsStream<TcpStream>, time: Duration) -> Result<()> {
    let idle = async {
        loop {
            let mut ping = [0; 2];
            stream.read_exact(&mut ping).await?;
            ensure!(ping == [0x89, 0], "{}", ping.escape_ascii());
            stream.write_all(&Frame::pong("").encode()).await?;
        }
    };
    if let Ok(ended) = timeout(time, idle).await {
        return ended;
    }
    stream.write_all(&Frame::text(r#"{"type":"ping","ref":"p"}"#).encode()).await?;
    read_until(stream, r#""type":"pong""#).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_option_that_a_proxy_needs() -> Result<()> {
    // The default of nginx, and the loopback address without options.
    let daemon = server(&["--max-per-address", "1"])?;
    let rewriting =
        Proxy::nginx(daemon.address(), |site| replace(site, "proxy_set_header Host $http_host;", "")).await?;
    let passing = Proxy::nginx(daemon.address(), |site| Ok(site.to_owned())).await?;
    let own = |proxy: &Proxy| connector(&proxy.root);
    let (_held, status) = rewriting.upgrade(&own(&rewriting), "chat.example", "").await?;
    ensure!(status == 101, "{status}");
    for (proxy, headers, status, fix) in [
        (&passing, "", 421, "set --allow-host chat.example "),
        (&rewriting, "Origin: https://chat.example\r\n", 403, "set --allow-origin https://chat.example "),
        (&rewriting, "", 429, "set --trust-proxy 127.0.0.1 "),
    ] {
        let (_, actual) = proxy.upgrade(&own(proxy), "chat.example", headers).await?;
        ensure!(actual == status, "{actual} in place of {status}");
        let is_fixed = |line: &serde_json::Value| {
            line["status"] == status && line["fix"].as_str().is_some_and(|text| text.contains(fix))
        };
        eventually(|| async { Ok(daemon.log_lines(0)?.iter().any(is_fixed)) })
            .await
            .with_context(|| format!("no line with {fix:?}"))?;
    }
    daemon.stop().map(drop)
}
