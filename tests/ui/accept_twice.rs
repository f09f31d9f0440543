//! An upgrade is accepted once.

fn twice(upgrade: chat_core::Upgrade<chat_core::Text>) {
    let _first = upgrade.accept();
    let _second = upgrade.accept();
}

fn main() {}
