//! The header `Forwarded` (RFC 7239).

use core::net::IpAddr;

use super::RequestHead;
use super::proxies::address;

/// Returns the hops of `Forwarded`, the nearest first. A hop that is no address, such as `unknown` or `_proxy`, is
/// `None`, and so is a line that breaks the grammar.
pub(super) fn hops_of_forwarded(head: &RequestHead<'_>) -> impl Iterator<Item = Option<IpAddr>> {
    let lines: Vec<_> = head.values("forwarded").collect();
    lines.into_iter().rev().flat_map(|line| {
        let hops = str::from_utf8(line).ok().and_then(hops).unwrap_or_else(|| vec![None]);
        hops.into_iter().rev()
    })
}

/// Parses one line. Returns the hop of each element, or `None` if the line breaks the grammar.
fn hops(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let (mut hops, mut rest) = (Vec::new(), line);
    loop {
        let (hop, after) = element(rest)?;
        hops.push(hop);
        rest = match after.strip_prefix(',') {
            Some(after) => after,
            None if after.is_empty() => return Some(hops),
            None => return None,
        };
    }
}

/// Parses the pairs of one element. Returns the address of `for`, and the text after the element.
fn element(mut rest: &str) -> Option<(Option<IpAddr>, &str)> {
    let mut node: Option<Option<IpAddr>> = None;
    loop {
        let (name, after) = token(rest.trim_start_matches([' ', '\t']))?;
        let (value, after) = value(after.strip_prefix('=')?)?;
        if name.eq_ignore_ascii_case("for") && node.replace(address(&value)).is_some() {
            return None;
        }
        let after = after.trim_start_matches([' ', '\t']);
        match after.strip_prefix(';') {
            Some(after) => rest = after,
            None => return Some((node.flatten(), after)),
        }
    }
}

/// Parses a token (RFC 9110 section 5.6.2). Returns the text after it.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Parses a token or a quoted string (RFC 9110 section 5.6.4). Returns the text after it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Some proxies do not quote a port: for=192.0.2.1:80. A colon is part of no other syntax.
        let end = text.find(|c: char| ",;\" \t\\".contains(c)).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let (mut value, mut chars) = (String::new(), quoted.char_indices());
    loop {
        match chars.next()? {
            (end, '"') => return Some((value, &quoted[end + 1..])),
            (_, '\\') => value.push(chars.next()?.1),
            (_, c) => value.push(c),
        }
    }
}
