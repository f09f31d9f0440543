//! What was accepted cannot be refused any more: the story's second response.

fn both(upgrade: chat_core::Upgrade<chat_core::Text>) {
    let _accepted = upgrade.accept();
    let _refused = upgrade.refuse();
}

fn main() {}
