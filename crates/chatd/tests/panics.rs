//! A server that panics while nobody reads its standard error, as a process.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use chat_core::UpgradeMode;
use chat_tungstenite::UpgradeLayer;
use chatd::Service;

/// The variable that makes this program the server.
const SERVER: &str = "PANICKING_SERVER";

/// More panics than a pipe has room for with one line each.
const PANICS: usize = 2_000;

/// The time limit of an answer, and of the end of the process.
const LIMIT: Duration = Duration::from_secs(20);

/// A server that is killed at the end, also of a test that fails.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn main() -> ExitCode {
    if env::var_os(SERVER).is_some() {
        return chatd::run("panics", &[UpgradeMode::Hijack], serve);
    }
    let Server(server) = &mut start();
    let address = address(server);
    for _ in 0..PANICS {
        assert_eq!(get(&address, "/readyz"), "", "a panic ends the connection");
    }
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"), "the server answers");
    let signalled = Command::new("kill").args(["-TERM", &server.id().to_string()]).status();
    assert!(signalled.expect("kill").success());
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        match server.try_wait().expect("a process") {
            Some(status) => break status,
            None if Instant::now() > deadline => panic!("the server does not end"),
            // There is no event for the end of a process.
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let mut log = String::new();
    server.stderr.take().expect("a pipe").read_to_string(&mut log).expect("text");
    assert!(status.success(), "{status}");
    let line =
        log.lines().find(|line| line.contains("panic; report this as a bug")).expect("a line about a panic");
    assert!(line.contains("tests/panics.rs") && line.contains("a host that panics"), "{line}");
    ExitCode::SUCCESS
}

async fn serve(service: Service) -> std::io::Result<()> {
    let (chat, stop) = (service.endpoint.chat().clone(), service.stopped());
    let endpoint = service.endpoint.with_readiness(|| panic!("a host that panics"));
    let app = UpgradeLayer::new().hosts(service.hosts).layer(chat_tungstenite::routes(endpoint));
    chat_tungstenite::serve(service.listener, app, &chat, stop).await
}

fn start() -> Server {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--listen", "127.0.0.1:0", "--data", ":memory:"]).env(SERVER, "1").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Server(command.spawn().expect("a process"))
}

fn address(server: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next());
    address.expect("an address").to_owned()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a server that accepts");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("a server that reads");
    let mut answer = String::new();
    // A connection that a panic ends may be reset.
    match stream.read_to_string(&mut answer) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{path}: {error}"),
        _ => answer,
    }
}
