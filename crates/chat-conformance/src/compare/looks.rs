use std::collections::{BTreeMap, BTreeSet};

use super::line::Line;
use super::random::lossy;
use super::{Comparison, Difference};

/// Compares the shape of each kind of message that both servers sent.
pub(super) fn looks(ours: &BTreeMap<String, Vec<Line>>, theirs: &BTreeMap<String, Vec<Line>>) -> Comparison {
    let looks = |conversations: &BTreeMap<String, Vec<Line>>| {
        let mut looks: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
        let lines = conversations.values().flatten();
        for line in lines.filter(|line| line.text.starts_with('<') && !is_altered(line)) {
            // A race may also decide which changes there are.
            let what = line.event.as_ref().and_then(|event| event.what.as_deref());
            let kind = [Some(&*line.kind()), what].into_iter().flatten().collect::<Vec<_>>().join(" ");
            looks.entry(kind).or_default().insert(shape(&line.bytes));
        }
        looks
    };
    let (ours, theirs) = (looks(ours), looks(theirs));
    let mut comparison = Comparison::default();
    for (kind, ours) in ours {
        let Some(theirs) = theirs.get(&kind) else { continue };
        comparison.open += 1;
        if ours != *theirs && comparison.difference.is_none() {
            let lines = |looks: &BTreeSet<Vec<u8>>| looks.iter().map(|bytes| lossy(bytes)).collect();
            comparison.difference = Some(Difference {
                client: "any".to_owned(),
                before: vec![format!("the shape of `{kind}`")],
                expected: lines(&ours),
                actual: lines(theirs),
            });
        }
    }
    comparison
}

/// Returns true if a race decides about the form of the line: that of an entry which a later entry has altered, or the
/// number of messages in a page.
fn is_altered(line: &Line) -> bool {
    let bytes = lossy(&line.bytes);
    line.kind() == "history"
        || [r#""rev":"#, r#""what":"superseded""#].iter().any(|field| bytes.contains(field))
}

/// Returns the shape of a message: JSON without values and length, or a 101 without `Sec-WebSocket-Accept`.
fn shape(bytes: &[u8]) -> Vec<u8> {
    if bytes.starts_with(b"HTTP/") {
        let head = lossy(bytes);
        let parts: Vec<_> =
            head.split(" | ").filter(|part| !part.starts_with("sec-websocket-accept")).collect();
        return parts.join(" | ").into_bytes();
    }
    let Some(start) = bytes.iter().position(|byte| *byte == b'{') else { return bytes.to_vec() };
    let mut shape = vec![bytes[0]];
    let mut rest = &bytes[start..];
    while let [first, after @ ..] = rest {
        let length = match first {
            b'"' => after.iter().position(|byte| *byte == b'"').map_or(rest.len(), |end| end + 2),
            b'0'..=b'9' => rest.iter().take_while(|byte| byte.is_ascii_digit()).count(),
            _ => 1,
        };
        let (token, after) = rest.split_at(length);
        match first {
            b'"' if after.first() != Some(&b':') => shape.extend(b"\"~\""),
            b'0'..=b'9' => shape.push(b'0'),
            _ => shape.extend(token),
        }
        rest = after;
    }
    shape
}
