//! A host cannot make a 101: an accepted upgrade does.

fn make() -> chat_core::SwitchingProtocols {
    chat_core::SwitchingProtocols { headers: Vec::new() }
}

fn main() {}
