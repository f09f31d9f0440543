//! The end of a session is nothing to answer with: that is where the story's handler wrote its JSON.

use chat_core::{Connection, Text, Ticket};

async fn handler<C: Connection>(ticket: Ticket<Text>, connection: C) -> String {
    match ticket.start(async { Ok::<_, String>(connection) }).await {
        Ok(()) => String::new(),
        Err(error) => format!("{{\"error\":\"{error}\"}}"),
    }
}

fn main() {}
