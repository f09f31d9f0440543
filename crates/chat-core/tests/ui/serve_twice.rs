//! A ticket cannot serve two connections.

use chat_core::{Connection, Ticket};

async fn twice<C: Connection>(ticket: Ticket, one: C, two: C) {
    ticket.serve(one).await;
    ticket.serve(two).await;
}

fn main() {}
