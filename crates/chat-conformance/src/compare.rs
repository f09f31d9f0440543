//! What must be the same whichever mechanism served a case.
//!
//! Two transcripts are compared connection by connection, and what the server sent byte for byte. This is all that
//! is left open, since the protocol leaves it open:
//!
//! | left open | because |
//! |---|---|
//! | the values of `at`, `epoch`, `connection`, `reconnect_in_ms`, `retry_after_ms` | they are random, a time, or made of one |
//! | order, casing and reason phrase of an HTTP head; `Date`; how the length of a body is told; the casing of `Connection`, and all of it in a refusal | the HTTP library writes them; status, all other lines and the body are compared |
//! | pings of the server and the pongs to them | they come when the timer says so |
//! | FIN or RST | it depends on what the client had sent by then; cases that are about it ask for a FIN |
//! | `sent` ahead of or behind the own message | section 4 says so |
//! | where among the events a pong stands | a control frame may come anywhere (RFC 6455 section 5.4) |
//! | where among a connection's replies it hears what others do in a room, whom of several it hears of first, and how much of that it has heard when the case ends | others are not waited for |
//! | `members` of `joined` | how soon it shows that somebody has gone without a word is nobody's promise |
//! | how often the same was written in a row | the server decides when it has had enough |
//! | all but how each kind of thing looks, in cases that are declared a race | their reasons are with the cases |
//!
//! Casing, pings, FIN and repeated writes are always left open; the order of things only where two conversations are
//! not the same as they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;

use serde_json::Value;

use crate::transcript::{Direction, Entry};
use crate::{Case, Transcript, hex_lines};

/// Fields whose values are random, a time, or made of one.
const RANDOM: [&str; 5] = ["at", "epoch", "connection", "reconnect_in_ms", "retry_after_ms"];

/// Header lines that the HTTP library writes as it likes.
const FRAMING: [&str; 3] = ["date", "content-length", "transfer-encoding"];

/// Lines ahead of a difference that are shown.
const CONTEXT: usize = 4;

/// How two transcripts compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Entries that are the same, in the same places.
    pub exact: usize,
    /// Entries that are the same, in places that are left open.
    pub open: usize,
    /// The first entry that is not the same.
    pub difference: Option<Difference>,
}

/// Where two transcripts part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The connection.
    pub client: String,
    /// What both have ahead of it.
    pub before: Vec<String>,
    /// What the reference has there, and a little more.
    pub expected: Vec<String>,
    /// What the other has there, and a little more.
    pub came: Vec<String>,
}

/// Compares what one mechanism did in a case with what the reference did.
pub fn compare(case: &Case, reference: &Transcript, other: &Transcript) -> Comparison {
    let (ours, theirs) = (conversations(reference), conversations(other));
    let mut comparison = Comparison::default();
    if case.race.is_some() {
        return looks(&ours, &theirs);
    }
    let clients: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for client in clients {
        let none = Vec::new();
        let ours = ours.get(client).unwrap_or(&none);
        let theirs = theirs.get(client).unwrap_or(&none);
        if ours == theirs {
            comparison.exact += ours.len();
            continue;
        }
        let (ours, theirs) = (Lanes::of(ours), Lanes::of(theirs));
        match ours.differs(&theirs) {
            None => {
                comparison.exact += ours.own.len();
                comparison.open += ours.others.values().map(Vec::len).sum::<usize>();
            }
            Some(difference) => {
                let difference = Difference { client: client.clone(), ..difference };
                return Comparison { difference: Some(difference), ..comparison };
            }
        }
    }
    comparison
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, before, expected, came } = self;
        writeln!(f, "  client {client}")?;
        for (sign, lines) in [(' ', before), ('-', expected), ('+', came)] {
            for line in lines.iter().flat_map(|line| line.lines()) {
                writeln!(f, "  {sign} {line}")?;
            }
        }
        Ok(())
    }
}

/// One thing sent, received or seen, without what is left open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    text: String,
    bytes: Vec<u8>,
    event: Option<Event>,
}

/// What of an event its place depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    kind: String,
    room: String,
    seq: Option<u64>,
    user: Option<String>,
}

impl Event {
    fn of(payload: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(payload).ok()?;
        let text = |field: &str| value[field].as_str().map(ToOwned::to_owned);
        Some(Self {
            kind: text("type")?,
            room: text("room").unwrap_or_default(),
            seq: value["seq"].as_u64(),
            user: value["user"]["id"].as_str().map(ToOwned::to_owned),
        })
    }

    /// Whether it tells what somebody does in a room.
    fn is_told(&self) -> bool {
        matches!(&*self.kind, "message" | "presence" | "typing")
    }
}

impl Line {
    fn plain(text: String) -> Self {
        Self { text, bytes: Vec::new(), event: None }
    }

    fn received(entry: &Entry) -> Self {
        if entry.bytes.starts_with(b"HTTP/") {
            return Self::answer(&entry.bytes);
        }
        let header = match entry.bytes.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        let (header, payload) = entry.bytes.split_at(header.min(entry.bytes.len()));
        let timeless = timeless(payload);
        // The client has read the frame, so the length in its header is that of the payload, in its shortest form:
        // with a random value in the payload it says nothing more.
        let header = if timeless == payload { header } else { &header[..1] };
        Self {
            text: format!("< {}", lossy(&timeless_text(&entry.what))),
            bytes: [header, &timeless].concat(),
            event: Event::of(payload),
        }
    }

    /// An HTTP answer as it is whichever library writes it.
    fn answer(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let (head, body) = bytes.split_at(end);
        let head = lossy(head);
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap_or_default();
        // The version and the status; what follows is the reason phrase.
        let status: String = status.chars().take("HTTP/1.1 101".len()).collect();
        let switches = status.ends_with("101");
        let mut headers: Vec<_> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                let (name, value) = (name.to_ascii_lowercase(), value.trim());
                // A list of tokens in any casing.
                let value = if name == "connection" { value.to_ascii_lowercase() } else { value.to_owned() };
                (name, value)
            })
            .filter(|(name, _)| !FRAMING.contains(&&**name) && (switches || name != "connection"))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        headers.sort();
        let head = format!("{status} | {} | ", headers.join(" | "));
        let text = format!("< {head}{}", lossy(body));
        Self { text, bytes: [head.as_bytes(), body].concat(), event: None }
    }

    /// An event's type, or how the description begins: `close 1000`, `HTTP/1.1 101`.
    fn kind(&self) -> String {
        match &self.event {
            Some(event) => event.kind.clone(),
            None => self.text.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" "),
        }
    }

    fn shown(&self, around: usize) -> String {
        let mut text: String = self.text.chars().take(400).collect();
        let from = around.saturating_sub(32) / 16 * 16;
        let upto = self.bytes.len().min(from + 96);
        if let Some(bytes) = self.bytes.get(from..upto) {
            for (number, line) in hex_lines(bytes, bytes.len()).iter().enumerate() {
                // Writing to a string does not fail.
                let _written = write!(text, "\n      {:06x}  {line}", from + number * 16);
            }
        }
        text
    }
}

/// What each connection sent, received and saw.
fn conversations(transcript: &Transcript) -> BTreeMap<String, Vec<Line>> {
    let mut conversations: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    let mut pings: BTreeSet<(String, String)> = BTreeSet::new();
    for entry in transcript.entries() {
        let lines = conversations.entry(entry.client.clone()).or_default();
        let line = match entry.direction {
            Direction::Received if entry.bytes.first() == Some(&0x89) => {
                pings.insert((entry.client.clone(), entry.what.replacen("ping", "pong", 1)));
                continue;
            }
            Direction::Received => Line::received(&entry),
            Direction::Sent if pings.contains(&(entry.client.clone(), entry.what.clone())) => continue,
            Direction::Sent => {
                let line = Line::plain(format!("> {}", lossy(&timeless_text(&entry.what))));
                if lines.last() == Some(&line) {
                    continue;
                }
                line
            }
            Direction::Noted if matches!(&*entry.what, "sees the end of the stream" | "sees a reset") => {
                Line::plain("- sees the end of the connection".to_owned())
            }
            Direction::Noted => Line::plain(format!("- {}", entry.what)),
        };
        lines.push(line);
    }
    if transcript.is_cut() {
        conversations.entry("transcript".to_owned()).or_default().push(Line::plain("- is cut".to_owned()));
    }
    conversations
}

/// Compares how each kind of thing looks that both servers sent.
fn looks(ours: &BTreeMap<String, Vec<Line>>, theirs: &BTreeMap<String, Vec<Line>>) -> Comparison {
    let looks = |conversations: &BTreeMap<String, Vec<Line>>| {
        let mut looks: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for line in conversations.values().flatten().filter(|line| line.text.starts_with('<')) {
            looks.entry(line.kind()).or_default().insert(shape(&line.bytes));
        }
        looks
    };
    let (ours, theirs) = (looks(ours), looks(theirs));
    let mut comparison = Comparison::default();
    for (kind, ours) in ours {
        let Some(theirs) = theirs.get(&kind) else { continue };
        comparison.open += 1;
        if ours != *theirs {
            let lines = |looks: &BTreeSet<Vec<u8>>| looks.iter().map(|bytes| lossy(bytes)).collect();
            comparison.difference = Some(Difference {
                client: "any".to_owned(),
                before: vec![format!("how `{kind}` looks")],
                expected: lines(&ours),
                came: lines(theirs),
            });
        }
    }
    comparison
}

/// JSON without the values of its fields and the length in the frame's header, a 101 without its answer to a key.
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

/// A conversation, and apart from it what others do.
#[derive(Debug, Default)]
struct Lanes {
    own: Vec<Line>,
    /// The messages of each room, what else each user does in it, and pongs.
    others: BTreeMap<(String, Option<String>), Vec<Line>>,
}

impl Lanes {
    fn of(lines: &[Line]) -> Self {
        let welcomed =
            lines.iter().filter_map(|line| line.event.as_ref()).find(|event| event.kind == "welcome");
        let me = welcomed.and_then(|event| event.user.clone());
        let mut lanes = Self::default();
        for line in lines {
            match &line.event {
                Some(event) if event.is_told() && event.user != me => {
                    let who = event.user.clone().filter(|_| event.kind != "message");
                    lanes.others.entry((event.room.clone(), who)).or_default().push(line.clone());
                }
                None if line.bytes.first() == Some(&0x8a) => {
                    lanes.others.entry(("pongs".to_owned(), None)).or_default().push(line.clone());
                }
                Some(event) if event.kind == "joined" => {
                    let text = lossy(&without(&["members"], line.text.as_bytes()));
                    let bytes = without(&["members"], &line.bytes);
                    lanes.own.push(Line { text, bytes, event: line.event.clone() });
                }
                _ => lanes.own.push(line.clone()),
            }
        }
        lanes.pair_sent();
        lanes
    }

    /// Puts each `sent` right behind its message.
    fn pair_sent(&mut self) {
        let is = |line: &Line, kind: &str, of: &Event| {
            line.event
                .as_ref()
                .is_some_and(|event| event.kind == kind && event.room == of.room && event.seq == of.seq)
        };
        for index in 0..self.own.len() {
            let Some(event) = self.own[index].event.clone().filter(|event| event.kind == "sent") else {
                continue;
            };
            if let Some(later) = self.own[index..].iter().position(|line| is(line, "message", &event)) {
                let message = self.own.remove(index + later);
                self.own.insert(index, message);
            } else if let Some(earlier) =
                self.own[..index].iter().rposition(|line| is(line, "message", &event))
            {
                let sent = self.own.remove(index);
                self.own.insert(earlier + 1, sent);
            }
        }
    }

    fn differs(&self, other: &Self) -> Option<Difference> {
        if self.own != other.own {
            return Some(difference(&self.own, &other.own));
        }
        let nothing = Vec::new();
        let lanes: BTreeSet<_> = self.others.keys().chain(other.others.keys()).collect();
        lanes.into_iter().find_map(|lane| {
            let ours = self.others.get(lane).unwrap_or(&nothing);
            let theirs = other.others.get(lane).unwrap_or(&nothing);
            // What was still on its way when the case ended.
            let both = ours.len().min(theirs.len());
            (ours[..both] != theirs[..both]).then(|| difference(ours, theirs))
        })
    }
}

fn difference(ours: &[Line], theirs: &[Line]) -> Difference {
    let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let bytes = |lines: &[Line]| lines.get(at).map(|line| line.bytes.clone()).unwrap_or_default();
    let around = bytes(ours).iter().zip(&bytes(theirs)).take_while(|(a, b)| a == b).count();
    let shown = |lines: &[Line]| match lines.get(at..(at + 3).min(lines.len())) {
        Some([first, rest @ ..]) => {
            [vec![first.shown(around)], rest.iter().map(|line| line.text.clone()).collect()].concat()
        }
        _ => vec!["(nothing more)".to_owned()],
    };
    Difference {
        client: String::new(),
        before: ours[at.saturating_sub(CONTEXT)..at].iter().map(|line| line.text.clone()).collect(),
        expected: shown(ours),
        came: shown(theirs),
    }
}

fn timeless_text(text: &str) -> Vec<u8> {
    timeless(text.as_bytes())
}

/// JSON without what is random in it; all other bytes are as they were.
fn timeless(json: &[u8]) -> Vec<u8> {
    without(&RANDOM, json)
}

/// JSON with `~` in place of the value of each of these fields, numbers or short texts.
fn without(fields: &[&str], json: &[u8]) -> Vec<u8> {
    let mut bytes = json.to_vec();
    for field in fields {
        // A quote within a string is escaped: this is nowhere but where a field begins.
        let name = format!("\"{field}\":");
        let mut from = 0;
        while let Some(found) = bytes[from..].windows(name.len()).position(|window| window == name.as_bytes())
        {
            from += found + name.len();
            let is_text = bytes.get(from) == Some(&b'"');
            from += usize::from(is_text);
            let ends = |byte: &u8| if is_text { *byte == b'"' } else { !byte.is_ascii_digit() };
            let length = bytes[from..].iter().position(ends).unwrap_or(bytes.len() - from);
            bytes.splice(from..from + length, *b"~");
        }
    }
    bytes
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Frame;

    const JOINED: &str = r#"{"type":"joined","ref":"1","room":"lobby","epoch":"k3f9","seq":0}"#;
    const SENT: &str = r#"{"type":"sent","ref":"2","room":"lobby","seq":1,"at":1700000000000}"#;
    const OWN: &str = r#"{"type":"message","room":"lobby","seq":1,"user":{"id":"ann"},"at":1700000000000}"#;
    const BOB: &str = r#"{"type":"presence","room":"lobby","user":{"id":"bob"},"state":"joined"}"#;

    /// What ann hears of a server that answers with `head` and then sends these frames.
    fn heard(head: &str, frames: &[Frame]) -> Transcript {
        let transcript = Transcript::default();
        transcript.record("ann", Direction::Received, head, head.as_bytes());
        let welcome = Frame::text(r#"{"type":"welcome","connection":"7","user":{"id":"ann"}}"#);
        for frame in [&[welcome], frames].concat() {
            let frame = frame.unmasked();
            transcript.record("ann", Direction::Received, frame.to_string(), &frame.encode());
        }
        transcript
    }

    fn told(events: &[&str]) -> Transcript {
        let frames: Vec<_> = events.iter().map(Frame::text).collect();
        heard("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", &frames)
    }

    fn compared(one: &Transcript, other: &Transcript) -> Comparison {
        compare(&crate::cases()[0], one, other)
    }

    #[test]
    fn what_the_protocol_leaves_open_is_no_difference() {
        let one = told(&[JOINED, SENT, OWN, BOB]);
        assert_eq!(compared(&one, &one), Comparison { exact: 6, ..Comparison::default() });
        let joined = JOINED.replace("k3f9", "another");
        assert_eq!(
            compared(&one, &told(&[&joined, SENT, OWN, BOB])).open,
            0,
            "another epoch is no difference"
        );
        for other in [[JOINED, OWN, SENT, BOB], [BOB, JOINED, SENT, OWN]] {
            let comparison = compared(&one, &told(&other));
            assert_eq!((comparison.difference, comparison.open), (None, 1), "{other:?}");
        }
        let actix =
            "HTTP/1.1 101 Whatever\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nupgrade: websocket\r\n\r\n";
        let frames: Vec<_> = [JOINED, SENT, OWN, BOB].map(Frame::text).to_vec();
        assert_eq!(compared(&one, &heard(actix, &frames)).open, 0);
    }

    #[test]
    fn what_is_left_open_hides_no_difference() {
        let one = told(&[JOINED, SENT, OWN, BOB]);
        let late = SENT.replace(r#""seq":1"#, r#""seq":2"#);
        let spaced = JOINED.replace(',', ", ");
        for other in [
            vec![JOINED, SENT, OWN, OWN, BOB],
            vec![SENT, OWN, JOINED, BOB],
            vec![JOINED, OWN, BOB],
            vec![JOINED, &late, OWN, BOB],
            vec![&spaced, SENT, OWN, BOB],
        ] {
            assert!(compared(&one, &told(&other)).difference.is_some(), "{other:?}");
        }
        let gone = BOB.replace(r#""state":"joined""#, r#""state":"left""#);
        assert!(compared(&one, &told(&[JOINED, SENT, OWN, &gone])).difference.is_some(), "another state");
    }

    #[test]
    fn a_byte_of_a_header_is_a_difference() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
        let one = heard(head, &[Frame::text(BOB), Frame::close(1000, "")]);
        for frames in [
            [Frame::binary(BOB), Frame::close(1000, "")],
            [Frame::text(BOB).unfinished(), Frame::close(1000, "")],
            [Frame::text(BOB), Frame::close(1001, "")],
            [Frame::text(BOB), Frame::close(1000, "bye")],
        ] {
            assert!(compared(&one, &heard(head, &frames)).difference.is_some(), "{frames:?}");
        }
        let extended = head.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n");
        for head in [head.replace("101", "200"), head.replace("websocket", "WebSocket"), extended] {
            let other = heard(&head, &[Frame::text(BOB), Frame::close(1000, "")]);
            assert!(compared(&one, &other).difference.is_some(), "{head}");
        }
    }

    #[test]
    fn a_race_is_compared_by_how_each_kind_of_thing_looks() {
        let race = crate::cases().into_iter().find(|case| case.race.is_some()).unwrap();
        let (one, other) = (told(&[JOINED, BOB, SENT]), SENT.replace(r#""seq":1"#, r#""seq":22"#));
        assert_eq!(compare(&race, &one, &told(&[&other, JOINED])).difference, None);
        let without = SENT.replace(r#","at":1700000000000"#, "");
        assert!(compare(&race, &one, &told(&[&without, JOINED])).difference.is_some(), "a field is missing");
    }

    #[test]
    fn a_transcript_that_is_cut_is_a_difference() {
        let (one, other) = (told(&[BOB]), told(&[BOB]));
        (0..=100_000).for_each(|_| other.record("stage", Direction::Sent, "x", &[]));
        (0..1).for_each(|_| one.record("stage", Direction::Sent, "x", &[]));
        assert!(compared(&one, &other).difference.is_some());
    }
}
