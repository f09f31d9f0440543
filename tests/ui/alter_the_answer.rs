//! The answer to an accepted upgrade is what it is: no other status, no further header.

fn alter(mut answer: chat_core::SwitchingProtocols) {
    answer.status = 200;
    answer.headers().push(("x-more", String::new()));
}

fn main() {}
