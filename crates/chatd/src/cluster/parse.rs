//! The values of the options.

use chat_core::NodeId;

/// Bytes of the name of a node.
const MAX_NODE_BYTES: usize = 12;

/// The streams of a chat, at most.
const MAX_STREAMS: usize = 64;

/// Parses the address of a server of NATS.
pub(super) fn address(text: &str) -> Result<String, &'static str> {
    if !cfg!(feature = "cluster") {
        return Err("this binary has no cluster: build it with --features cluster");
    }
    let text = text.trim();
    let rest = match text.split_once("://") {
        Some(("nats" | "tls", rest)) => rest,
        Some(_) => "",
        None => text,
    };
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.starts_with('[') || name.ends_with(']') => (name, port),
        _ => (host, "4222"),
    };
    let is_name = !name.is_empty() && !name.contains(['/', '?', '#', ' ']);
    if is_name && port.parse::<u16>().is_ok_and(|port| port > 0) {
        Ok(text.to_owned())
    } else {
        Err("an address is like nats://n1.example:4222 or tls://n1.example:4222")
    }
}

/// Parses the name of a stream.
pub(super) fn name(text: &str) -> Result<String, &'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !(1..=64).contains(&text.len()) || !text.chars().all(is_allowed) {
        return Err("a name is 1 to 64 ASCII letters, digits, - and _");
    }
    // The store refuses these too, but a mistake in the options must not need a connection to be found.
    match text.rsplit_once('-').map(|(_, end)| end) {
        Some("users" | "guests") => {
            Err("a name does not end in -users or -guests, as the streams of users do")
        }
        Some(end) if !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("a name does not end in - and a number, as further streams of a chat do")
        }
        _ => Ok(text.to_owned()),
    }
}

/// Parses a number of streams.
pub(super) fn streams(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|number| (1..=MAX_STREAMS).contains(number));
    number.ok_or("a chat has its rooms in 1 to 64 streams")
}

/// Parses a number of copies. A stream can be used while more than half of them can, so an even number is no better
/// than the next lower one.
pub(super) fn replicas(text: &str) -> Result<usize, &'static str> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("a stream has 1, 3 or 5 copies"),
    }
}

/// Returns the name of a node from that of its host. Names of one cluster often differ only at the end.
pub(super) fn node_of(host: &str) -> Option<NodeId> {
    let host = host.split('.').next().unwrap_or_default();
    let valid: String = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    valid[valid.len().saturating_sub(MAX_NODE_BYTES)..].trim_start_matches('-').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_end_of_the_name_of_its_host() {
        for (host, node) in [
            ("chat-1", Some("chat-1")),
            ("ip-10-0-0-15.eu.example", Some("ip-10-0-0-15")),
            ("chat-7d9f8b6c5d-x2x4z", Some("8b6c5d-x2x4z")),
            ("front_end", Some("front-end")),
            ("채팅-7", Some("7")),
            ("채팅", None),
            ("", None),
        ] {
            assert_eq!(node_of(host).as_ref().map(NodeId::as_str), node, "{host}");
        }
    }

    #[test]
    fn a_name_is_not_that_of_another_stream_of_a_chat() {
        for text in ["chat", "chat-users-", "users", "2", "chat-2b", "chat_2", "chat-"] {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
        for text in ["chat-users", "a-b-guests", "chat-2", "chat-64", "", "a.b"] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[cfg(not(feature = "cluster"))]
    #[test]
    fn a_binary_without_the_feature_names_it() {
        assert!(address("nats://n1").is_err_and(|text| text.contains("--features cluster")));
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn an_address_names_a_server() {
        for text in ["nats://n1:4222", "tls://n1.example", "n1:4222", "nats://[::1]:4222", "10.0.0.1"] {
            assert_eq!(address(text).as_deref(), Ok(text));
        }
        for text in ["", "http://n1", "nats://", "nats://n1:0", "nats://n1:x", "nats://n1/x", "nats://a b"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
