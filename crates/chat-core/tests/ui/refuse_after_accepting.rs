//! An accepted upgrade cannot be refused, which would be a second response.

fn both(upgrade: chat_core::Upgrade) {
    let _accepted = upgrade.accept();
    let _refused = upgrade.refuse();
}

fn main() {}
