//! Key sets behind HTTPS, with a certificate of openssl.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chat_auth::{CacheOptions, InvalidUrl, KeyCache, KeyUrl};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const SET: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Makes a certificate for 127.0.0.1, which is its own root. Returns it and its key in the PEM format.
fn certificate(folder: &Path) -> (Vec<u8>, Vec<u8>) {
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
        -subj /CN=keys -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(folder).output();
    let output = output.expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| fs::read(folder.join(name)).expect("a file");
    (read("cert.pem"), read("key.pem"))
}

/// Starts a server with this certificate. Returns its URL.
async fn start(certificate: &[u8], key: &[u8]) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain =
        CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>().expect("a certificate");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key).expect("a key"))
        .expect("a configuration");
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await);
    let listener = listener.expect("a port");
    let url = format!("https://{}/keys", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate ends the handshake.
                let _served = serve(&acceptor, stream).await;
            });
        }
    });
    url
}

async fn serve(acceptor: &TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{SET}", SET.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

#[tokio::test]
async fn keys_are_loaded_only_from_a_server_with_a_trusted_certificate() {
    let (folder, other) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (certificate, key) = certificate(folder.path());
    let url = start(&certificate, &key).await;
    let open = async |source: KeyUrl| {
        let opened = KeyCache::open(source, CacheOptions::default()).await;
        opened.map(|cache| cache.stats().loads).map_err(|error| error.cause())
    };
    let trusting = KeyUrl::with_roots(&url, &certificate).expect("a root");
    assert_eq!(open(trusting).await, Ok(1));

    let (unknown, _) = self::certificate(other.path());
    for source in [KeyUrl::with_roots(&url, &unknown), KeyUrl::new(&url)] {
        let cause = open(source.expect("roots")).await.expect_err("the certificate is not trusted");
        assert!(cause.contains("invalid peer certificate"), "{cause}");
    }
    for roots in
        [&b""[..], b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        assert!(matches!(KeyUrl::with_roots(&url, roots), Err(InvalidUrl::Roots)));
    }
}
