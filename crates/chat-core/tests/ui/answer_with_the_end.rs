//! The end of a session gives no value from which a handler could make a response.

use chat_core::{Connection, UpgradeTicket};

async fn handler<C: Connection>(ticket: UpgradeTicket, connection: C) -> String {
    match ticket.start(async { Ok::<_, String>(connection) }).await {
        Ok(()) => String::new(),
        Err(error) => format!("{{\"error\":\"{error}\"}}"),
    }
}

fn main() {}
