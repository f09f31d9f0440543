//! The ticket of an upgrade cannot start two sessions.

use chat_core::{Connection, UpgradeTicket};

async fn twice<C: Connection>(ticket: UpgradeTicket, one: C, two: C) {
    ticket.start(async { Ok::<_, String>(one) }).await;
    ticket.start(async { Ok::<_, String>(two) }).await;
}

fn main() {}
