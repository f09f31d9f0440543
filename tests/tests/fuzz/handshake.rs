use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use chat_conformance::client::accept;
use chat_proto::handshake::{
    Accept, HostPolicy, OriginPolicy, Refusal, RequestHead, TrustedProxies, Version, decide, host_name,
};
use chat_proto::{Limits, User};
use chat_tests::fuzz::check_inputs;

/// The protocol, whose table lists the refusals.
const PROTOCOL: &str = include_str!("../../../PROTOCOL.md");

#[test]
fn a_decision_about_a_handshake_does_not_depend_on_its_form() -> Result<()> {
    check_inputs("handshake", 20_000, |input| {
        let text = String::from_utf8_lossy(input);
        let Some(head) = parse(&text) else { return Ok(()) };
        let decision = decided(&head);
        match &decision {
            Ok(accepted) => check_accepted(&head, accepted)?,
            Err(refusal) => check_refusal(*refusal)?,
        }
        let again = |what: &str, change: &dyn Fn(&mut RequestHead<'_>)| {
            let mut changed = head.clone();
            change(&mut changed);
            // A head that became too large is refused for that.
            let other = decided(&changed);
            ensure!(
                other == decision || other == Err(Refusal::HeaderTooLarge),
                "{what}: {decision:?}, {other:?}"
            );
            Ok(())
        };
        let upper: Vec<_> = head.headers.iter().map(|(name, value)| (name.to_uppercase(), *value)).collect();
        let unchanged = |head: &mut RequestHead<'_>| {
            let other = decided(&RequestHead {
                headers: upper.iter().map(|(name, value)| (&**name, *value)).collect(),
                ..head.clone()
            });
            ensure!(other == decision, "upper case: {decision:?}, {other:?}");
            Ok(())
        };
        unchanged(&mut head.clone())?;
        again("another header line", &|head| head.headers.push(("X-Other", b"x")))?;
        again("a stable sort", &|head| head.headers.sort_by_key(|(name, _)| name.to_ascii_lowercase()))?;
        again("a list in several lines", &|head| {
            head.headers = head.headers.iter().flat_map(|line| lines(*line)).collect();
        })
    })
}

/// Parses a request head. Returns `None` if an HTTP parser would refuse it.
fn parse(text: &str) -> Option<RequestHead<'_>> {
    let (head, _) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let version = match words.next()? {
        "HTTP/1.1" => Version::Http11,
        "HTTP/1.0" => Version::Http10,
        _ => Version::Later,
    };
    let headers = lines.map(|line| line.split_once(':').map(|(name, value)| (name, value.as_bytes())));
    Some(RequestHead { method, version, target, headers: headers.collect::<Option<_>>()? })
}

fn decided(head: &RequestHead<'_>) -> Result<Accept, Refusal> {
    // These have no rules of their own that an accepted request shows, but must not panic.
    let _client = TrustedProxies::default().client(Ipv4Addr::LOCALHOST.into(), head);
    let hosts = HostPolicy::LocalOr(vec!["chat.test".to_owned()]);
    hosts.check(head).and_then(|()| decide(head, &OriginPolicy::SameOrigin, &Limits::default()))
}

/// Returns each member of a list in a line of its own, for a header whose lines are one list.
fn lines<'a>((name, value): (&'a str, &'a [u8])) -> Vec<(&'a str, &'a [u8])> {
    let is_list = ["connection", "upgrade", "sec-websocket-protocol"].contains(&&*name.to_ascii_lowercase());
    if is_list {
        value.split(|byte| *byte == b',').map(|part| (name, part)).collect()
    } else {
        vec![(name, value)]
    }
}

fn check_accepted(head: &RequestHead<'_>, accepted: &Accept) -> Result<()> {
    let value = |name: &str| {
        let mut values = head.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        values.next().and_then(|(_, value)| std::str::from_utf8(value).ok()).map(str::trim)
    };
    ensure!(head.method == "GET" && head.version == Version::Http11 && head.target.is_ascii());
    let host = value("host").and_then(host_name).context("accepted without a host")?;
    let bare = host.trim_end_matches('.').to_ascii_lowercase();
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    ensure!(is_address || bare == "localhost" || bare == "chat.test", "accepted for the host {host}");
    check_strictly(head)?;
    let key = value("sec-websocket-key").context("accepted without a key")?;
    ensure!(accepted.accept_key == accept(key), "the key {key}");
    if let Some(guest) = &accepted.guest {
        ensure!(User::guest(guest.name()).as_ref() == Ok(guest), "{guest:?} is not accepted again");
    }
    Ok(())
}

/// Checks that a head is an upgrade request without any freedom (RFC 6455 section 4.2.1).
fn check_strictly(head: &RequestHead<'_>) -> Result<()> {
    let values = |name: &str| {
        let named = head.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim_ascii()).collect::<Vec<_>>()
    };
    let has_token = |name: &str, token: &str| {
        let lines = values(name);
        let mut tokens = lines.iter().flat_map(|line| line.split(|byte| *byte == b','));
        tokens.any(|other| other.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    ensure!(has_token("connection", "upgrade"), "without Connection: upgrade");
    ensure!(has_token("upgrade", "websocket"), "without Upgrade: websocket");
    ensure!(values("sec-websocket-version") == [b"13"], "another version");
    ensure!(values("host").len() == 1 && values("sec-websocket-key").len() == 1, "several hosts or keys");
    let key = base64::prelude::BASE64_STANDARD.decode(values("sec-websocket-key")[0])?;
    ensure!(key.len() == 16, "a key of {} bytes", key.len());
    ensure!(values("transfer-encoding").is_empty(), "with a body");
    ensure!(values("content-length").iter().all(|length| *length == b"0"), "with a body");
    let (host, origins) = (values("host")[0].to_ascii_lowercase(), values("origin"));
    if let Some(origin) = origins.first() {
        let origin = String::from_utf8(origin.to_ascii_lowercase())?;
        let (scheme, authority) = origin.split_once("://").context("an origin without a host")?;
        let default = match scheme {
            "http" => 80,
            "https" => 443,
            _ => bail!("from {origin}"),
        };
        let (own, other) = (place(std::str::from_utf8(&host)?, default), place(authority, default));
        ensure!(origins.len() == 1 && own.is_some() && own == other, "from {origin} to {own:?}");
    }
    Ok(())
}

/// Returns the host and the port of an authority in lower case, or `None` if it is invalid. Of the names of one host, it
/// returns one.
fn place(authority: &str, default: u16) -> Option<(String, u16)> {
    let host = host_name(authority)?;
    let port = authority[host.len()..].trim_start_matches(':');
    let port = if port.is_empty() { default } else { port.parse().ok()? };
    let host = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) if [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&address) => {
            "localhost".to_owned()
        }
        Ok(address) => address.to_string(),
        Err(_) => host.trim_end_matches('.').to_owned(),
    };
    Some((host, port))
}

fn check_refusal(refusal: Refusal) -> Result<()> {
    let row = format!("| {} | `{}` |", refusal.status(), refusal.code());
    ensure!(PROTOCOL.contains(&row), "{refusal:?} is not listed");
    let body: serde_json::Value = serde_json::from_str(&refusal.body())?;
    ensure!(body["error"]["code"] == refusal.code(), "{body}");
    Ok(())
}
