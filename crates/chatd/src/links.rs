//! Environment variables that Kubernetes and Docker set for other services.

/// Returns true for a variable that describes a service, not an option. Kubernetes sets such variables for each
/// service of its namespace (`CHATD_WARP_SERVICE_HOST`), Docker for each link (`CHATD_WARP_PORT`). `lookup` returns
/// the value of another variable.
pub(crate) fn is_service_link(name: &str, value: &str, lookup: impl Fn(&str) -> Option<String>) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_named_port = name.split_once("_SERVICE_PORT_").is_some_and(|(_, port)| !port.is_empty());
    if name.ends_with("_SERVICE_HOST")
        || (is_number(value) && (name.ends_with("_SERVICE_PORT") || is_named_port))
    {
        return true;
    }
    if name.split_once("_PORT").is_some_and(|(_, rest)| is_port(rest, value)) {
        return true;
    }
    // The name of the linked container, and its own environment.
    let is_container = |value: &str| value.starts_with('/') && value[1..].contains('/');
    let container =
        |prefix: &str| lookup(&format!("{prefix}_NAME")).is_some_and(|value| is_container(&value));
    (name.ends_with("_NAME") && is_container(value))
        || name.match_indices("_ENV_").any(|(at, _)| container(&name[..at]))
}

/// Returns true for the variables of one port: `_PORT`, `_PORT_80_TCP`, and its parts.
fn is_port(rest: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    if rest.is_empty() {
        return is_url;
    }
    let mut parts = rest.split('_').skip(1);
    let (number, protocol, part) = (parts.next(), parts.next(), parts.next());
    let is_number =
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    let is_protocol = matches!(protocol, Some("TCP" | "UDP" | "SCTP"));
    let is_part = part.map_or(is_url, |part| matches!(part, "PROTO" | "PORT" | "ADDR"));
    is_number && is_protocol && is_part && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_services_and_links_are_recognized() {
        let lookup = |name: &str| (name == "CHATD_WARP_NAME").then(|| "/web/chatd-warp".to_owned());
        for (name, value, expected) in [
            ("CHATD_SERVICE_HOST", "10.0.0.1", true),
            ("CHATD_WARP_SERVICE_HOST", "10.0.0.1", true),
            ("CHATD_WARP_SERVICE_PORT", "8080", true),
            ("CHATD_WARP_SERVICE_PORT_HTTP", "8080", true),
            ("CHATD_WARP_PORT", "tcp://10.0.0.1:8080", true),
            ("CHATD_PORT", "udp://10.0.0.1:8080", true),
            ("CHATD_WARP_PORT_8080_TCP", "tcp://10.0.0.1:8080", true),
            ("CHATD_WARP_PORT_8080_TCP_PROTO", "tcp", true),
            ("CHATD_WARP_PORT_8080_TCP_PORT", "8080", true),
            ("CHATD_WARP_PORT_8080_TCP_ADDR", "10.0.0.1", true),
            ("CHATD_MY_LISTEN_PORT_53_UDP_ADDR", "10.0.0.1", true),
            ("CHATD_WARP_NAME", "/web/chatd-warp", true),
            ("CHATD_WARP_ENV_PATH", "/bin", true),
            ("CHATD_AXUM_ENV_PATH", "/bin", false),
            ("CHATD_PORT", "8080", false),
            ("CHATD_PORTS", "tcp://10.0.0.1:8080", false),
            ("CHATD_SERVICE_PORT", "", false),
            ("CHATD_WARP_PORT_8080", "8080", false),
            ("CHATD_NAME", "Ann", false),
            ("CHATD_LISTN", "127.0.0.1:0", false),
        ] {
            assert_eq!(is_service_link(name, value, lookup), expected, "{name}={value}");
        }
    }
}
