//! A host cannot make a ticket: `Chat::admit` and an accepted upgrade do.

fn forge() -> chat_core::Ticket {
    chat_core::Ticket {}
}

fn forge_for_upgrade() -> chat_core::UpgradeTicket {
    chat_core::UpgradeTicket {}
}

fn main() {}
