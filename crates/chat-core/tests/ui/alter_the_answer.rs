//! A host cannot change the status or the headers of the response to an accepted upgrade.

fn alter(mut answer: chat_core::SwitchingProtocols) {
    answer.status = 200;
    answer.headers().push(("x-more", String::new()));
}

fn main() {}
