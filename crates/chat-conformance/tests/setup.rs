//! Tests of the report for a server that does not run or does not serve `chat.v1`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use chat_conformance::report::{self, Results, Row};
use chat_conformance::{Address, Exec, InProcess, Mounted, Outcome, Target, cases, preflight};

#[test]
fn a_command_that_ends_is_reported_with_its_status_and_stderr() {
    let exec = Exec::new("sh -c 'echo no such disk >&2; exit 3' {addr}", "/ws").expect("a command");
    let problem = no_server(&exec);
    assert!(problem.contains("did not start") && problem.contains("exit status: 3"), "{problem}");
    assert!(problem.contains("no such disk"), "{problem}");
}

#[test]
fn a_serve_that_panics_is_reported_with_its_message() {
    let problem = no_server(&InProcess::new("mine", |_: Mounted| async { panic!("no such disk") }));
    assert!(problem.contains("`serve` ended with a panic: no such disk"), "{problem}");
}

#[test]
fn a_serve_that_returns_is_reported() {
    let problem = no_server(&InProcess::new("mine", |_: Mounted| async {}));
    assert!(problem.contains("await `stop`"), "{problem}");
}

#[test]
fn an_http_server_without_a_chat_gets_a_hint_about_the_path() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _read = stream.read(&mut [0; 4_096]);
            let _written = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let address = Address::new(&format!("ws://{address}/chat")).expect("an address");
    let (case, report) = preflight(&address).expect("a failure");
    let explained = report.explain(&case).expect("a failure");
    assert!(
        explained.contains("404 Not Found") && explained.contains("is the chat at /chat?"),
        "{explained}"
    );
    assert!(!explained.contains("look at"), "{explained}");
}

#[test]
fn a_server_that_the_suite_cannot_stop_is_not_asked_to_drain() {
    let address = Address::new("ws://127.0.0.1:8080/ws").expect("an address");
    for case in cases().iter().filter(|case| case.group == "drain") {
        assert_eq!(address.lacks(case.conditions.needs), Some("a server that the suite can stop (--exec)"));
    }
}

#[test]
fn similar_failures_are_explained_once() {
    let target = InProcess::new("mine", |_: Mounted| async {});
    let (_, report) = preflight(&target).expect("a failure");
    let rows = cases().into_iter().take(5).map(|case| Row { case, reports: vec![report.clone()] }).collect();
    let results = Results { targets: vec!["mine".to_owned()], rows };
    let failures = report::failures(&results);
    assert_eq!(failures.matches("----").count(), 1, "{failures}");
    assert!(failures.contains("and 4 more"), "{failures}");
    assert!(report::summary(&results).contains("5 cases: the server did not run"));
}

#[test]
fn a_target_has_the_name_of_its_program() {
    let name = |command| Exec::new(command, "/ws").expect("a command").name().to_owned();
    assert_eq!(
        name("target/debug/chatd-warp --listen {addr} --mechanism context"),
        "chatd-warp --mechanism context"
    );
    assert_eq!(name("server {addr}"), "server");
    assert_eq!(name("server --listen={addr}"), "server");
}

fn no_server(target: &dyn Target) -> String {
    match preflight(target).expect("a failure").1.outcome {
        Outcome::NoServer(problem) => problem,
        other => panic!("{other:?}"),
    }
}
