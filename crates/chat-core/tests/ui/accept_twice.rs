//! An upgrade cannot be accepted twice.

fn twice(upgrade: chat_core::Upgrade) {
    let _first = upgrade.accept();
    let _second = upgrade.accept();
}

fn main() {}
