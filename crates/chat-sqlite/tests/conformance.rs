//! The conformance suite of `chat-conformance`, with a new store for each case.

use std::process::ExitCode;

use chat_conformance::{InProcess, Mechanism, Mounted, certify};
use chat_sqlite::{Options, SqliteStore};
use chat_tungstenite::NotFound;

fn main() -> ExitCode {
    let stores = tempfile::tempdir().expect("a directory");
    let path = stores.path().to_owned();
    let target = InProcess::new("sqlite", serve).set_up(move |builder| {
        let dir = tempfile::tempdir_in(&path).expect("a directory").keep();
        let store = SqliteStore::open(dir, Options::default()).expect("a store");
        builder.rooms(move |name, limits, sink| store.room(name, limits, sink))
    });
    let retention =
        "the options of a store decide its retention, not `log_messages`: tests/store/retention.rs";
    certify([Mechanism::new(target)
        .deviation("resume::a_history_ends_where_the_log_does", retention)
        .deviation("resume::a_hole_is_told", retention)])
}

async fn serve(server: Mounted) {
    let service = chat_tungstenite::mount(server.endpoint, NotFound);
    chat_tungstenite::serve(server.listener, service, &server.limits, server.stop).await;
}
