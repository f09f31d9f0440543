use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use chat_core::{HttpLimits, ProxyProtocol};
use chat_proto::handshake::{RequestHead, TrustedProxies, Version};
use chat_tests::fuzz::check_inputs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The nearest proxy, and a client behind it.
const PROXY: &str = "10.0.0.1:4000";
const CLIENT: &str = "203.0.113.9";

/// The bytes of the longest header of version 1 (section 2.1 of the specification).
const MAX_VERSION_1: usize = 107;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn trusted() -> Result<TrustedProxies> {
    Ok(TrustedProxies::new(["10.0.0.0/8".parse()?, "fd00::/8".parse()?]))
}

#[test]
fn a_proxy_header_names_the_client_and_takes_no_byte_after_itself() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let protocol = ProxyProtocol::new(trusted()?);
    let peer: SocketAddr = PROXY.parse()?;
    // The duplex ends after the input, so no time passes.
    let read = async |input: &[u8], size: usize, peer: SocketAddr| {
        let (mut proxy, mut server) = tokio::io::duplex(128 * 1024);
        let write = async move {
            for part in input.chunks(size) {
                // The server may have refused the header already.
                let _refused = proxy.write_all(part).await;
                tokio::task::yield_now().await;
            }
        };
        let limits = HttpLimits::default();
        let (client, ()) = tokio::join!(protocol.client(&mut server, peer, &limits), write);
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await?;
        anyhow::Ok(client.map(|client| (client, rest)))
    };
    check_inputs("proxy_protocol", 2_000, |input| {
        let size = usize::from(input.last().copied().unwrap_or_default() % 23) + 1 + input.len() / 64;
        let whole = runtime.block_on(read(input, input.len().max(1), peer))?;
        let parts = runtime.block_on(read(input, size, peer))?;
        ensure!(whole == parts, "{whole:?} in one part, {parts:?} in parts of {size}");
        let expected =
            header(input).map(|(client, length)| (client.unwrap_or(peer), input[length..].to_vec()));
        ensure!(whole == expected, "{whole:?}, expected {expected:?}");
        let other: SocketAddr = "192.0.2.7:4000".parse()?;
        let untouched = runtime.block_on(read(input, size, other))?;
        ensure!(untouched == Some((other, input.to_vec())), "{untouched:?} without a proxy");
        Ok(())
    })
}

/// Returns the client and the length of the header at the start, as the specification has it.
fn header(input: &[u8]) -> Option<(Option<SocketAddr>, usize)> {
    if input.starts_with(SIGNATURE) {
        let (&[command, family, high, low], rest) = input.get(12..)?.split_first_chunk()?;
        let rest = rest.get(..usize::from(u16::from_be_bytes([high, low])))?;
        let length = 16 + rest.len();
        let client = |address: IpAddr, ports: &[u8]| {
            let port = ports.first_chunk().map(|port| u16::from_be_bytes(*port))?;
            ports.get(..4).map(|_| SocketAddr::new(address, port))
        };
        return match (command, family) {
            _ if length > HttpLimits::default().max_head_bytes => None,
            (0x20, _) | (0x21, 0) => Some((None, length)),
            (0x21, 0x11 | 0x12) => {
                let address = IpAddr::from(*rest.first_chunk::<4>()?);
                Some((Some(client(address, rest.get(8..)?)?), length))
            }
            (0x21, 0x21 | 0x22) => {
                let address = IpAddr::from(*rest.first_chunk::<16>()?);
                Some((Some(client(address, rest.get(32..)?)?), length))
            }
            (0x21, 0x31 | 0x32) => rest.get(..216).map(|_| (None, length)),
            _ => None,
        };
    }
    let end = input.windows(2).position(|pair| pair == b"\r\n").filter(|end| end + 2 <= MAX_VERSION_1)?;
    let line = &input[..end];
    if line.starts_with(b"PROXY UNKNOWN") {
        return (!line.contains(&b'\r')).then_some((None, end + 2));
    }
    let words: Vec<_> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let client = match words[..] {
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, from, to] => {
            let (source, destination): (IpAddr, IpAddr) = (source.parse().ok()?, destination.parse().ok()?);
            let is_expected = |address: &IpAddr| address.is_ipv4() == (family == "TCP4");
            let (from, _): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
            Some([source, destination].iter().all(is_expected).then_some(SocketAddr::new(source, from))?)
        }
        _ => return None,
    };
    Some((client, end + 2))
}

#[test]
fn a_client_behind_a_proxy_cannot_choose_its_address() -> Result<()> {
    let (trusted, peer): (_, SocketAddr) = (trusted()?, PROXY.parse()?);
    let (peer, client): (_, IpAddr) = (peer.ip(), CLIENT.parse()?);
    let address_of = |headers: Vec<(&str, &[u8])>| {
        let head = RequestHead { method: "GET", version: Version::Http11, target: "/ws", headers };
        (trusted.client(peer, &head), trusted.client(client, &head))
    };
    check_inputs("forwarded", 5_000, |input| {
        let added = |suffix: &str| [input, suffix.as_bytes()].concat();
        let (list, standard) = (added(", 203.0.113.9"), added(", for=203.0.113.9"));
        let own = [("X-Forwarded-For", CLIENT.as_bytes()), ("Forwarded", b"for=203.0.113.9")];
        for (headers, is_exact) in [
            // The proxy adds to the line of the client, or adds a line.
            (vec![("X-Forwarded-For", &*list)], true),
            (vec![("X-Forwarded-For", input), own[0]], true),
            (vec![("Forwarded", input), own[1]], true),
            (vec![("X-Forwarded-For", input), own[0], ("Forwarded", input), own[1]], true),
            // A client that breaks the grammar of the line has the address of the proxy.
            (vec![("Forwarded", &*standard)], false),
            // The proxy passes the other header on.
            (vec![own[0], ("Forwarded", input)], false),
            (vec![("X-Forwarded-For", input), own[1]], false),
        ] {
            let (found, direct) = address_of(headers);
            ensure!(found == client || (found == peer && !is_exact), "the client has chosen {found}");
            ensure!(direct == client, "a client without a proxy has chosen {direct}");
        }
        // Both headers have the same meaning.
        let hop = |part: &[u8]| {
            let part = std::str::from_utf8(part).ok()?.trim_matches([' ', '\t']);
            let bare = part.strip_prefix('[').and_then(|part| part.strip_suffix(']'));
            let is_address = match bare {
                Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
                None => part.parse::<IpAddr>().is_ok() || part.parse::<SocketAddr>().is_ok(),
            };
            is_address.then(|| format!("for=\"{part}\""))
        };
        let hops = input
            .split(|byte| *byte == b',')
            .map(|part| hop(part).unwrap_or_else(|| "for=unknown".to_owned()));
        let same = hops.collect::<Vec<_>>().join(",");
        let (list, standard) =
            (address_of(vec![("X-Forwarded-For", input)]), address_of(vec![("Forwarded", same.as_bytes())]));
        ensure!(list == standard, "{list:?} in the list, {standard:?} in {same}");
        let both = address_of(vec![("X-Forwarded-For", input), ("Forwarded", same.as_bytes())]);
        ensure!(both == list, "{both:?} in both, {list:?} in the list");
        Ok(())
    })
}
