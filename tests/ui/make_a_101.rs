//! Only an accepted upgrade yields its 101.

fn make() -> chat_core::SwitchingProtocols {
    chat_core::SwitchingProtocols { headers: Vec::new() }
}

fn main() {}
