//! The suite of `chat-conformance` on rooms in a store, a new one for each case.

use std::process::ExitCode;

use chat_conformance::{InProcess, Mechanism, Mounted, certify};
use chat_sqlite::{Options, Store};
use chat_tungstenite::NotFound;

fn main() -> ExitCode {
    let stores = tempfile::tempdir().expect("a directory");
    let path = stores.path().to_owned();
    let target = InProcess::new("sqlite", serve).set_up(move |builder| {
        let dir = tempfile::tempdir_in(&path).expect("a directory").keep();
        let store = Store::open(dir, Options::default()).expect("a store");
        builder.rooms(move |name, limits, outlet| store.room(name, limits, outlet))
    });
    let keeps = "a store keeps what its own options say, whatever `log_messages` is: tests/retention.rs";
    certify([Mechanism::new(target)
        .deviation("resume::a_history_ends_at_the_oldest_message", keeps)
        .deviation("resume::a_gap_is_announced", keeps)])
}

async fn serve(server: Mounted) {
    let service = chat_tungstenite::mount(server.endpoint, NotFound);
    chat_tungstenite::serve(server.listener, service, &server.limits, server.stop).await;
}
