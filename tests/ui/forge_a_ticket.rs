//! Only an accepted handshake yields a ticket.

fn forge() -> chat_core::Ticket<chat_core::Text> {
    chat_core::Ticket {}
}

fn main() {}
