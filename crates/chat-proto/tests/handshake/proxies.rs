use std::net::IpAddr;

use chat_proto::handshake::{InvalidNetwork, Network, TrustedProxies};
use proptest::prelude::*;
use proptest::sample::select;

use crate::request::Request;

const PROXY: &str = "10.0.0.1";
const OTHER_PROXY: &str = "fd00::2";
const FOR: &str = "X-Forwarded-For";
const STANDARD: &str = "Forwarded";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn proxies() -> TrustedProxies {
    let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
    TrustedProxies::new(networks)
}

/// Returns the client of a request from the proxy with these header lines.
fn client(lines: &[(&str, &str)]) -> IpAddr {
    let request = lines.iter().fold(Request::good(), |request, (name, value)| request.with(name, value));
    proxies().client(address(PROXY), &request.head())
}

#[test]
fn the_nearest_hop_that_is_no_trusted_proxy_is_the_client() {
    let rows: [(&[(&str, &str)], &str); 30] = [
        (&[], PROXY),
        (&[(FOR, "203.0.113.9")], "203.0.113.9"),
        (&[(FOR, "198.51.100.1, 203.0.113.9")], "203.0.113.9"),
        (&[(FOR, "203.0.113.9,10.1.1.1,fd00::2")], "203.0.113.9"),
        (&[(FOR, "203.0.113.9:4711")], "203.0.113.9"),
        (&[(FOR, "2001:db8::9")], "2001:db8::9"),
        (&[(FOR, "[2001:db8::9]")], "2001:db8::9"),
        (&[(FOR, "[2001:db8::9]:4711")], "2001:db8::9"),
        (&[(FOR, "::ffff:203.0.113.9")], "203.0.113.9"),
        (&[(FOR, "198.51.100.1"), (FOR, "203.0.113.9")], "203.0.113.9"),
        (&[(FOR, "203.0.113.9"), (FOR, "10.0.0.7")], "203.0.113.9"),
        (&[(FOR, "10.0.0.8, 10.0.0.7")], "10.0.0.8"),
        (&[(FOR, "203.0.113.9, unknown")], PROXY),
        (&[(FOR, "203.0.113.9, unknown, 10.0.0.7")], "10.0.0.7"),
        (&[(FOR, "203.0.113.9,")], PROXY),
        (&[(FOR, "")], PROXY),
        (&[(FOR, "203.0.113.9 198.51.100.1")], PROXY),
        (&[(STANDARD, "for=203.0.113.9")], "203.0.113.9"),
        (&[(STANDARD, "For=\"[2001:db8::9]:80\";proto=https; by=10.0.0.1")], "2001:db8::9"),
        (&[(STANDARD, "for=198.51.100.1, for=\"203.0.113.9:80\"")], "203.0.113.9"),
        (&[(STANDARD, "for=203.0.113.9:80, for=10.0.0.7")], "203.0.113.9"),
        (&[(STANDARD, "for=203.0.113.9"), (STANDARD, "for=\"10.0.0.7\"")], "203.0.113.9"),
        (&[(STANDARD, "for=203.0.113.9, for=_hidden, for=10.0.0.7")], "10.0.0.7"),
        (&[(STANDARD, "for=203.0.113.9, proto=https")], PROXY),
        (&[(STANDARD, "for=203.0.113.9;for=198.51.100.1")], PROXY),
        (&[(STANDARD, "for=\"203.0.113.9")], PROXY),
        (&[(STANDARD, "for=203.0.113.9;")], PROXY),
        (&[(STANDARD, "for = 203.0.113.9")], PROXY),
        (&[(STANDARD, "for=203.0.113.9"), (FOR, "203.0.113.9")], "203.0.113.9"),
        (&[(STANDARD, "for=198.51.100.1"), (FOR, "203.0.113.9")], PROXY),
    ];
    for (lines, expected) in rows {
        assert_eq!(client(lines), address(expected), "{lines:?}");
    }
}

#[test]
fn a_peer_that_is_not_trusted_is_the_client() {
    let request = Request::good().with(FOR, "203.0.113.9").with(STANDARD, "for=203.0.113.9");
    for peer in ["192.0.2.1", "::1", "11.0.0.1", "::ffff:192.0.2.1"] {
        let expected = address(peer).to_canonical();
        assert_eq!(proxies().client(address(peer), &request.head()), expected, "{peer}");
    }
    assert_eq!(TrustedProxies::default().client(address(PROXY), &request.head()), address(PROXY));
}

#[test]
fn a_mapped_address_of_a_proxy_is_trusted() {
    let request = Request::good().with(FOR, "203.0.113.9");
    assert_eq!(proxies().client(address("::ffff:10.0.0.1"), &request.head()), address("203.0.113.9"));
}

#[test]
fn a_network_has_an_address_and_a_number_of_bits() {
    for (network, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.1/32", "::ffff:192.0.2.1", "192.0.2.0"),
        ("0.0.0.0/0", "255.255.255.255", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("::1", "::1", "::2"),
        ("::/0", "203.0.113.9", ""),
    ] {
        let network: Network = network.parse().expect("a network");
        assert!(network.contains(address(inside)), "{inside} in {network:?}");
        assert!(outside.is_empty() || !network.contains(address(outside)), "{outside} in {network:?}");
    }
    for text in [
        "",
        "/",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.1/8",
        "10/8",
        "::/129",
        "2001:db8::1/32",
        "chat.example",
        "10.0.0.0/8/8",
        "10.0.0.0/8 ",
    ] {
        assert_eq!(text.parse::<Network>(), Err(InvalidNetwork), "{text}");
    }
}

/// Generates header values of a client that wants another address.
fn forged() -> impl Strategy<Value = String> {
    let part = select(vec![
        "for=",
        "For=",
        "\"",
        "\\",
        ",",
        ";",
        " ",
        "\t",
        "=",
        "[",
        "]",
        ":",
        "198.51.100.1",
        "2001:db8::bad",
        "10.0.0.7",
        "unknown",
        "_x",
        "proto=https",
        "x=\"",
        "by=",
        "é",
        "a",
    ]);
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// Generates the header lines that a client sends.
fn forged_lines() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    proptest::collection::vec((select(vec![FOR, STANDARD]), forged()), 0..4)
}

/// Adds the hop of a proxy to the last line of this name, or as a line of its own.
fn add_hop(lines: &mut Vec<(&'static str, String)>, name: &'static str, hop: &str, has_own_line: bool) {
    match lines.iter_mut().rev().find(|(other, _)| *other == name) {
        Some((_, value)) if !has_own_line => *value = format!("{value}, {hop}"),
        _ => lines.push((name, hop.to_owned())),
    }
}

/// Returns a hop as proxies write it.
fn hop(name: &str, address: &str) -> String {
    match (name == STANDARD, address.contains(':')) {
        (false, _) => address.to_owned(),
        (true, false) => format!("for={address};proto=https"),
        (true, true) => format!("for=\"[{address}]:80\";proto=https;by=\"_lb\""),
    }
}

proptest! {
    #[test]
    fn a_client_cannot_choose_its_address(
        mut lines in forged_lines(),
        name in select(vec![FOR, STANDARD]),
        real in select(vec!["203.0.113.9", "2001:db8::9"]),
        has_two_proxies in any::<bool>(),
        has_own_line in any::<bool>(),
    ) {
        add_hop(&mut lines, name, &hop(name, real), has_own_line);
        if has_two_proxies {
            add_hop(&mut lines, name, &hop(name, OTHER_PROXY), has_own_line);
        }
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let found = client(&lines);
        let possible = [real, PROXY, OTHER_PROXY].map(address);
        prop_assert!(possible.contains(&found), "{found} of {lines:?}");
    }

    #[test]
    fn a_forged_list_does_not_hide_the_client(forged in forged(), has_own_line in any::<bool>()) {
        let mut lines = vec![(FOR, forged)];
        add_hop(&mut lines, FOR, "203.0.113.9", has_own_line);
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        prop_assert_eq!(client(&lines), address("203.0.113.9"));
    }

    #[test]
    fn no_header_panics(lines in proptest::collection::vec((select(vec![FOR, STANDARD]), any::<Vec<u8>>()), 0..4)) {
        let request = lines.iter().fold(Request::good(), |request, (name, value)| request.with(name, value));
        let _any = proxies().client(address(PROXY), &request.head());
    }
}
