//! Keys that are loaded again, from files and from a real HTTP server.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chat_auth::{
    Auth, CacheOptions, InvalidUrl, KeyCache, KeyFile, KeySet, KeySource, KeyUrl, Keys, LoadError, NewToken,
    Rejection, SigningKey, TokenVerifier,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::advance;

/// An Ed25519 key, and its form in a key set.
struct Pair {
    signing: SigningKey,
    jwk: serde_json::Value,
}

impl Pair {
    fn new(id: &str) -> Self {
        use base64::Engine;
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
        let point = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
        let pem = base64::prelude::BASE64_STANDARD.encode(document.as_ref());
        let lines: Vec<_> =
            pem.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("text")).collect();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        let signing = SigningKey::from_pem(pem.as_bytes()).expect("a key").with_id(id);
        Self { signing, jwk: json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": point}) }
    }

    fn token(&self) -> String {
        NewToken::new("7", Duration::from_secs(60)).sign(&self.signing).expect("a token")
    }
}

fn set<const N: usize>(pairs: [&Pair; N]) -> String {
    json!({"keys": pairs.map(|pair| &pair.jwk).to_vec()}).to_string()
}

/// The behaviour of the server.
#[derive(Clone, Debug)]
enum Mode {
    Answer(String),
    /// The answer is sent after a notification.
    Held(Arc<Notify>, String),
    /// Nothing is answered.
    Silent,
    /// A body without an end.
    Endless,
    /// Part of a body.
    Cut,
}

/// An HTTP server on a loopback address.
struct Server {
    url: String,
    mode: Arc<Mutex<Mode>>,
    requests: Arc<AtomicUsize>,
    requested: Arc<Notify>,
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn ok(body: &str) -> Mode {
    Mode::Answer(answer(body))
}

impl Server {
    async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys?token=hidden", listener.local_addr().expect("an address"));
        let server = Self {
            url,
            mode: Arc::new(Mutex::new(mode)),
            requests: Arc::default(),
            requested: Arc::default(),
        };
        let (mode, requests) = (Arc::clone(&server.mode), Arc::clone(&server.requests));
        let requested = Arc::clone(&server.requested);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                requests.fetch_add(1, Ordering::SeqCst);
                let mode = mode.lock().clone();
                let requested = Arc::clone(&requested);
                tokio::spawn(async move {
                    // The client may be gone.
                    let _served = serve(stream, mode, &requested).await;
                });
            }
        });
        server
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock() = mode;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    async fn cache(&self, options: CacheOptions) -> KeyCache {
        KeyCache::open(KeyUrl::new(&self.url).expect("a URL"), options).await.expect("keys")
    }
}

async fn serve(mut stream: TcpStream, mode: Mode, requested: &Notify) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    requested.notify_one();
    assert!(head.starts_with(b"GET /keys?token=hidden HTTP/1.1\r\n"), "{head:?}");
    match mode {
        Mode::Answer(text) => stream.write_all(text.as_bytes()).await?,
        Mode::Held(release, text) => {
            release.notified().await;
            stream.write_all(text.as_bytes()).await?;
        }
        Mode::Cut => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\":[").await?,
        Mode::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b' '; 4096]).await?;
            }
        }
        Mode::Silent => drop(stream.read_u8().await),
    }
    Ok(())
}

/// Returns options with which each use may load the keys.
fn eager() -> CacheOptions {
    CacheOptions::default().with(|options| {
        options.min_interval = Duration::ZERO;
        options.timeout = Duration::from_secs(10);
    })
}

/// Returns options for loads that do not end.
fn hasty() -> CacheOptions {
    eager().with(|options| options.timeout = Duration::from_millis(300))
}

/// A source whose first keys are in memory, so that the first load needs no time.
struct Later(Mutex<Option<KeySet>>, KeyUrl);

#[async_trait]
impl KeySource for Later {
    fn name(&self) -> String {
        self.1.name()
    }

    async fn load(&self) -> Result<KeySet, LoadError> {
        let first = self.0.lock().take();
        match first {
            Some(keys) => Ok(keys),
            None => self.1.load().await,
        }
    }
}

/// Writes a key file that only its owner may change.
fn write(folder: &TempDir, content: &str) -> PathBuf {
    let path = folder.path().join("keys.json");
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("a mode");
    path
}

async fn verify(cache: &KeyCache, token: &str) -> Result<(), Rejection> {
    Keys::from(cache.clone()).verify(&TokenVerifier::new(), token).await.map(drop)
}

#[tokio::test]
async fn a_token_with_an_unknown_kid_loads_the_keys_again() {
    let (first, second) = (Pair::new("1"), Pair::new("2"));
    let server = Server::start(ok(&set([&first]))).await;
    let cache = server.cache(eager()).await;
    assert_eq!(verify(&cache, &first.token()).await, Ok(()));
    assert_eq!(server.requests(), 1);
    server.set(ok(&set([&first, &second])));
    assert_eq!(verify(&cache, &second.token()).await, Ok(()));
    assert_eq!(verify(&cache, &first.token()).await, Ok(()));
    assert_eq!((server.requests(), cache.stats().loads), (2, 2));
    server.set(ok(&set([&second])));
    assert_eq!(verify(&cache, &Pair::new("3").token()).await, Err(Rejection::UnknownKey));
    assert_eq!(verify(&cache, &first.token()).await, Err(Rejection::UnknownKey));
}

#[tokio::test]
async fn tokens_with_unknown_kids_load_the_keys_rarely() {
    let first = Pair::new("1");
    let server = Server::start(ok(&set([&first]))).await;
    let cache = server.cache(CacheOptions::default()).await;
    for id in 0..20 {
        let token = Pair::new(&format!("unknown-{id}")).token();
        assert_eq!(verify(&cache, &token).await, Err(Rejection::UnknownKey));
    }
    assert_eq!((server.requests(), cache.stats().loads), (1, 1));
}

#[tokio::test]
async fn calls_at_the_same_time_share_one_load_also_if_the_first_is_dropped() {
    let (first, second) = (Pair::new("1"), Pair::new("2"));
    let server = Server::start(ok(&set([&first]))).await;
    let cache = server.cache(eager()).await;
    server.requested.notified().await;
    let release = Arc::<Notify>::default();
    server.set(Mode::Held(Arc::clone(&release), answer(&set([&second]))));
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (cache, token) = (cache.clone(), second.token());
            tokio::spawn(async move { verify(&cache, &token).await })
        })
        .collect();
    server.requested.notified().await;
    waiting[0].abort();
    tokio::task::yield_now().await;
    release.notify_one();
    let mut verified = Vec::new();
    for call in waiting {
        verified.push(call.await.ok());
    }
    assert_eq!(verified, [vec![None], vec![Some(Ok(())); 19]].concat());
    assert_eq!((server.requests(), cache.stats().loads), (2, 2));
}

#[tokio::test]
async fn old_keys_are_returned_at_once_while_one_load_goes_on() {
    let (first, second) = (Pair::new("1"), Pair::new("2"));
    let server = Server::start(ok(&set([&first]))).await;
    let cache = server.cache(eager().with(|options| options.max_age = Duration::ZERO)).await;
    server.requested.notified().await;
    let release = Arc::<Notify>::default();
    server.set(Mode::Held(Arc::clone(&release), answer(&set([&second]))));
    for _ in 0..3 {
        assert_eq!(verify(&cache, &first.token()).await, Ok(()));
    }
    server.requested.notified().await;
    assert_eq!((server.requests(), cache.stats().loads, cache.stats().failures), (2, 1, 0));
    release.notify_one();
    assert_eq!(verify(&cache, &second.token()).await, Ok(()));
    assert_eq!((server.requests(), cache.stats().loads), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn stale_keys_are_refused_until_a_load_works() {
    let (log, _guard) = Log::start();
    let (first, second) = (Pair::new("1"), Pair::new("2"));
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, &set([&first]));
    let cache = KeyCache::open(KeyFile::jwks(&path), eager()).await.expect("keys");
    fs::remove_file(&path).expect("removed");
    advance(Duration::from_secs(24 * 60 * 60 - 1)).await;
    assert_eq!(verify(&cache, &first.token()).await, Ok(()));
    advance(Duration::from_secs(1)).await;
    assert_eq!(verify(&cache, &first.token()).await, Err(Rejection::StaleKeys));
    assert_eq!(cache.stats().stale, 1);
    assert!(log.text().contains("keys not loaded: all tokens are refused until the source works"));
    write(&folder, &set([&second]));
    assert_eq!(verify(&cache, &second.token()).await, Ok(()));
    assert_eq!(verify(&cache, &first.token()).await, Err(Rejection::UnknownKey));
}

#[tokio::test]
async fn the_last_good_keys_stay_while_the_source_fails() {
    let (log, _guard) = Log::start();
    let first = Pair::new("1");
    let server = Server::start(ok(&set([&first]))).await;
    let cache = server.cache(eager()).await;
    let keys = KeySet::from_jwks(set([&first]).as_bytes()).expect("a set");
    let source = Later(Mutex::new(Some(keys)), KeyUrl::new(&server.url).expect("a URL"));
    let impatient = KeyCache::open(source, hasty()).await.expect("keys");
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", server.url);
    let large = set([&first]).replacen('{', &format!("{{\"a\":\"{}\",", "a".repeat(256 * 1024)), 1);
    let modes = [
        (&cache, Mode::Answer("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned())),
        (&cache, Mode::Answer(redirect)),
        (&cache, Mode::Answer("not HTTP".to_owned())),
        (&impatient, Mode::Silent),
        (&impatient, Mode::Endless),
        (&cache, Mode::Cut),
        (&cache, ok("<html>")),
        (&cache, ok(r#"{"keys":[]}"#)),
        (&cache, ok(&large)),
    ];
    for (failures, (tried, mode)) in (1..).zip(modes) {
        server.set(mode.clone());
        assert!(tried.reload().await.is_ok(), "{mode:?}");
        assert_eq!(verify(tried, &first.token()).await, Ok(()), "{mode:?}");
        assert_eq!(cache.stats().failures + impatient.stats().failures, failures, "{mode:?}");
    }
    server.set(ok(&set([&first])));
    assert!(cache.reload().await.is_ok());
    assert_eq!((cache.stats().loads, cache.stats().failures, impatient.stats().failures), (2, 7, 2));
    assert_eq!(server.requests(), 11);

    let log = log.text();
    assert_eq!(log.lines().filter(|line| line.contains("the last good keys stay valid")).count(), 9, "{log}");
    for cause in
        ["status 500", "status 302", "no answer within 300ms", "not a JSON Web Key Set", "no key for RS256"]
    {
        assert!(log.contains(cause), "{cause}: {log}");
    }
    assert!(!log.contains("hidden") && !log.contains("<html>"), "{log}");
}

#[tokio::test]
async fn a_cache_without_first_keys_is_an_error() {
    let server = Server::start(Mode::Silent).await;
    let opened = KeyCache::open(KeyUrl::new(&server.url).expect("a URL"), hasty()).await;
    assert_eq!(opened.map(|_| ()).map_err(|error| error.cause()), Err("no answer within 300ms".to_owned()));
    let opened = KeyCache::open(KeyFile::jwks("/nowhere"), eager()).await;
    assert!(opened.is_err_and(|error| error.cause().contains("/nowhere cannot be read: No such file")));
}

#[tokio::test]
async fn changed_files_are_read_again() {
    // See `Log::start` in `identify.rs`.
    let _log = Log::start();
    let (first, second) = (Pair::new("1"), Pair::new("2"));
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, &set([&first]));
    let cache = KeyCache::open(KeyFile::jwks(&path), eager()).await.expect("keys");
    assert_eq!(verify(&cache, &first.token()).await, Ok(()));
    write(&folder, &set([&second]));
    assert_eq!(verify(&cache, &second.token()).await, Ok(()));
    assert_eq!(verify(&cache, &first.token()).await, Err(Rejection::UnknownKey));
    fs::remove_file(&path).expect("removed");
    assert!(cache.reload().await.is_ok());
    assert_eq!(verify(&cache, &second.token()).await, Ok(()));
    assert!(cache.stats().failures > 0);
}

#[test]
fn only_https_and_loopback_addresses_are_urls_of_keys() {
    for url in [
        "http://login.example/",
        "ftp://127.0.0.1/",
        "/keys",
        "",
        "http://127.0.0.1.example/",
        "http://a@[::1]/",
    ] {
        assert!(matches!(KeyUrl::new(url), Err(InvalidUrl::Url)), "{url}");
    }
    for url in ["http://127.0.0.1:1/a", "http://[::1]:1/", "http://localhost/"] {
        assert!(KeyUrl::new(url).is_ok(), "{url}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).expect("text")
    }
}

#[tokio::test]
async fn metrics_count_loads_of_keys_by_result() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("keys.json");
    fs::write(&path, set([&Pair::new("a")])).expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a file");
    let cache = KeyCache::open(KeyFile::jwks(&path), eager()).await.expect("keys");
    let auth = Auth::new().tokens(TokenVerifier::new(), cache.clone());
    fs::write(&path, "no keys").expect("a file");
    cache.reload().await.expect("the keys of the first load");
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || auth.publish_metrics());
    let text = recorder.handle().render();
    for result in ["loaded", "failed"] {
        let line = format!("chat_auth_key_loads_total{{result=\"{result}\"}} 1");
        assert!(text.contains(&line), "{text}");
    }
}
