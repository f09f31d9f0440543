//! Connections with TLS, and clients that do not get that far.

use std::fs;
use std::future::pending;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use chat_adapter_tests::tls::{CertificateFiles, connect, connector, other_key};
use chat_adapter_tests::{in_time, quick_limits};
use chat_axum::{ServeOptions, Tls, TlsError, UpgradeLayer};
use chat_core::{Chat, Endpoint, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn start(tls: Tls, limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let chat = Chat::builder().limits(limits).build();
    let routes = chat_axum::routes(Endpoint::new(chat.clone()));
    let app = Router::new().route("/hello", get("hello")).merge(routes).layer(UpgradeLayer::new());
    let options = ServeOptions::default().tls(tls);
    tokio::spawn(async move { chat_axum::serve_with(listener, options, app, &chat, pending()).await });
    address
}

#[tokio::test]
async fn new_connections_get_a_certificate_that_was_reloaded_and_a_broken_one_changes_nothing() {
    let files = CertificateFiles::new();
    let tls = Tls::open(files.certificate(), files.key()).expect("a certificate");
    let server = start(tls.clone(), Limits::default()).await;
    let old = connector(&files.certificate());
    let mut held = connect(server, &old).await.expect("a handshake");
    assert_eq!(held.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));

    files.renew();
    tls.reload().expect("a new certificate");
    assert!(connect(server, &old).await.is_err(), "the old certificate is gone");
    let new = connector(&files.certificate());
    in_time(connect(server, &new)).await.expect("a handshake");
    // The connection of before lives on.
    held.write_all(b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .await
        .expect("open");
    let mut response = String::new();
    in_time(held.read_to_string(&mut response)).await.expect("a response");
    assert!(response.ends_with("hello"), "{response}");

    let (chain, key) = (files.certificate(), fs::read(files.key()).expect("a key"));
    fs::write(files.key(), other_key()).expect("a file");
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })));
    fs::write(files.key(), "no key").expect("a file");
    assert!(matches!(tls.reload(), Err(TlsError::NoKey(_))));
    fs::write(files.key(), key).expect("a file");
    fs::write(&chain, "no certificate").expect("a file");
    assert!(matches!(tls.reload(), Err(TlsError::NoCertificate(_))));
    fs::remove_file(&chain).expect("a file");
    assert!(matches!(tls.reload(), Err(TlsError::Read { .. })));
    in_time(connect(server, &new)).await.expect("the certificate of before");
}

#[tokio::test]
async fn a_client_without_tls_gets_an_answer() {
    let files = CertificateFiles::new();
    let tls = Tls::open(files.certificate(), files.key()).expect("a certificate");
    let server = start(tls, Limits::default()).await;
    let mut client = TcpStream::connect(server).await.expect("a server");
    client.write_all(b"GET /ws HTTP/1.1\r\nHost: chat.test\r\n\r\n").await.expect("an open connection");
    let mut response = String::new();
    in_time(client.read_to_string(&mut response)).await.expect("a response without a reset");
    assert!(response.starts_with("HTTP/1.1 400 ") && response.contains("\"tls_required\""), "{response}");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_in_time_is_closed() {
    let files = CertificateFiles::new();
    let tls = Tls::open(files.certificate(), files.key()).expect("a certificate");
    let limits = quick_limits().with(|limits| limits.http.head_timeout = Duration::from_millis(50));
    let server = start(tls, limits).await;
    // The first bytes of a handshake, and no byte at all.
    for bytes in [&b"\x16\x03\x01"[..], b""] {
        let mut client = TcpStream::connect(server).await.expect("a server");
        client.write_all(bytes).await.expect("an open connection");
        let ended = in_time(client.read(&mut [0; 64])).await;
        assert!(
            matches!(&ended, Ok(0)) || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
        );
    }
}
