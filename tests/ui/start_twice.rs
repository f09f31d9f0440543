//! A ticket starts one session.

use chat_core::{Connection, Text, Ticket};

async fn twice<C: Connection>(ticket: Ticket<Text>, one: C, two: C) {
    ticket.start(async { Ok::<_, String>(one) }).await;
    ticket.start(async { Ok::<_, String>(two) }).await;
}

fn main() {}
