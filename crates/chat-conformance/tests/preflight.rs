//! A test of an adapter whose server answers nothing, or something else than the chat: it ends with one report before
//! any case runs. Each server runs in a process of its own, as the test of that adapter would.

use std::env;
use std::process::{Command, ExitCode};

use chat_conformance::{InProcess, Mechanism, Mounted, certify};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The variable that makes this program the test of an adapter.
const SERVER: &str = "PREFLIGHT_SERVER";

fn main() -> ExitCode {
    match env::var(SERVER).as_deref() {
        Ok("refuses") => test_of_adapter("refuses", drop),
        Ok("never_answers") => test_of_adapter("never_answers", |listener| {
            tokio::spawn(accept(listener, None));
        }),
        Ok("answers_404") => test_of_adapter("answers_404", |listener| {
            tokio::spawn(accept(listener, Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")));
        }),
        _ => check_all(),
    }
}

fn check_all() -> ExitCode {
    // The connection is refused or reset.
    check("refuses", "step 6", &[]);
    check("never_answers", "step 6", &["> GET /ws HTTP/1.1", "nothing for 6s"]);
    check(
        "answers_404",
        "step 2",
        &["> GET /ws HTTP/1.1", "< HTTP/1.1 404 Not Found", "is the chat at /ws?"],
    );
    ExitCode::SUCCESS
}

/// Checks the report of the test of this adapter.
fn check(server: &str, step: &str, parts: &[&str]) {
    let program = env::current_exe().expect("this program");
    let output = Command::new(program).env(SERVER, server).output().expect("a process");
    let report = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{server}: {report}");
    assert!(output.stdout.is_empty(), "{server} runs cases: {}", String::from_utf8_lossy(&output.stdout));
    for part in parts.iter().chain([&step, &"no case runs", &server]) {
        assert!(report.to_lowercase().contains(&part.to_lowercase()), "{server}: no {part:?} in\n{report}");
    }
    assert_eq!(report.matches("transcript").count(), 1, "{server}: one report\n{report}");
}

fn test_of_adapter(name: &str, serve: fn(TcpListener)) -> ExitCode {
    certify([Mechanism::new(InProcess::new(name, move |server: Mounted| async move {
        serve(server.listener);
        server.stop.await;
    }))])
}

/// Accepts connections, and gives each request this answer.
async fn accept(listener: TcpListener, answer: Option<&'static str>) {
    let mut connections = Vec::new();
    while let Ok((mut connection, _)) = listener.accept().await {
        if let Some(answer) = answer {
            let _read = connection.read(&mut [0; 4_096]).await;
            let _written = connection.write_all(answer.as_bytes()).await;
        }
        connections.push(connection);
    }
}
