//! A ticket cannot be kept for later by copying it.

fn copy(ticket: &chat_core::Ticket<chat_core::Text>) -> chat_core::Ticket<chat_core::Text> {
    ticket.clone()
}

fn main() {}
