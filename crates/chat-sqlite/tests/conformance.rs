//! The conformance suite of `chat-conformance`, with a new store for each case.

use std::process::ExitCode;

use chat_conformance::{InProcess, Mechanism, Mounted, certify};
use chat_sqlite::{Options, SqliteStore};
use chat_tungstenite::UpgradeLayer;

fn main() -> ExitCode {
    let stores = tempfile::tempdir().expect("a directory");
    let path = stores.path().to_owned();
    let target = InProcess::new("sqlite", serve).set_up(move |builder| {
        let dir = tempfile::tempdir_in(&path).expect("a directory").keep();
        let store = SqliteStore::open(dir, Options::default()).expect("a store");
        builder.store(store)
    });
    let retention =
        "the options of a store decide its retention, not `log_messages`: tests/store/retention.rs";
    certify([Mechanism::new(target)
        .deviation("resume::a_history_ends_at_the_oldest_message", retention)
        .deviation("resume::a_gap_is_announced", retention)
        .deviation("folding::a_removed_message_is_in_no_later_entry", retention)])
}

async fn serve(server: Mounted) {
    let chat = server.endpoint.chat().clone();
    let service = UpgradeLayer::new().layer(chat_tungstenite::routes(server.endpoint));
    // A server that cannot start serves no case.
    let _ended = chat_tungstenite::serve(server.listener, service, &chat, server.stop).await;
}
