//! A ticket cannot be copied.

fn copy(ticket: &chat_core::Ticket) -> chat_core::Ticket {
    ticket.clone()
}

fn copy_of_upgrade(ticket: &chat_core::UpgradeTicket) -> chat_core::UpgradeTicket {
    ticket.clone()
}

fn main() {}
