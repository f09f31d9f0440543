use super::*;
use crate::client::Frame;
use crate::transcript::Direction;

const JOINED: &str = r#"{"type":"joined","ref":"1","room":"lobby","epoch":"k3f9","seq":0}"#;
const SENT: &str = r#"{"type":"sent","ref":"2","room":"lobby","seq":1,"at":1700000000000}"#;
const OWN: &str = r#"{"type":"message","room":"lobby","seq":1,"user":{"id":"ann"},"at":1700000000000}"#;
const BOB: &str = r#"{"type":"presence","room":"lobby","user":{"id":"bob"},"state":"joined"}"#;

/// The transcript of ann with a server that answers with `head` and then sends these frames.
fn transcript_of(head: &str, frames: &[Frame]) -> Transcript {
    let transcript = Transcript::default();
    transcript.record("ann", Direction::Received, head, head.as_bytes());
    let welcome = Frame::text(r#"{"type":"welcome","connection":"7","user":{"id":"ann"}}"#);
    for frame in [&[welcome], frames].concat() {
        let frame = frame.unmasked();
        transcript.record("ann", Direction::Received, frame.to_string(), &frame.encode());
    }
    transcript
}

fn events(events: &[&str]) -> Transcript {
    let frames: Vec<_> = events.iter().map(Frame::text).collect();
    transcript_of("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", &frames)
}

fn compared(one: &Transcript, other: &Transcript) -> Comparison {
    compare(&crate::cases()[0], one, other)
}

#[test]
fn unspecified_details_are_no_difference() {
    let one = events(&[JOINED, SENT, OWN, BOB]);
    assert_eq!(compared(&one, &one), Comparison { exact: 6, ..Comparison::default() });
    let joined = JOINED.replace("k3f9", "another");
    assert_eq!(compared(&one, &events(&[&joined, SENT, OWN, BOB])).open, 0, "another epoch is no difference");
    for (other, exact) in [([JOINED, OWN, SENT, BOB], 4), ([BOB, JOINED, SENT, OWN], 2)] {
        let open = 6 - exact;
        assert_eq!(
            compared(&one, &events(&other)),
            Comparison { exact, open, difference: None },
            "{other:?}"
        );
    }
    let alone = [events(&[JOINED, SENT, OWN]), events(&[JOINED, OWN, SENT])];
    assert_eq!(compared(&alone[0], &alone[1]).open, 2, "a `sent` that is late is not byte for byte");
    let actix = "HTTP/1.1 101 Whatever\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nupgrade: websocket\r\n\r\n";
    let frames: Vec<_> = [JOINED, SENT, OWN, BOB].map(Frame::text).to_vec();
    assert_eq!(compared(&one, &transcript_of(actix, &frames)).open, 0);
}

#[test]
fn unspecified_details_hide_no_difference() {
    let one = events(&[JOINED, SENT, OWN, BOB]);
    let late = SENT.replace(r#""seq":1"#, r#""seq":2"#);
    let spaced = JOINED.replace(',', ", ");
    for other in [
        vec![JOINED, SENT, OWN, OWN, BOB],
        vec![SENT, OWN, JOINED, BOB],
        vec![JOINED, OWN, BOB],
        vec![JOINED, &late, OWN, BOB],
        vec![&spaced, SENT, OWN, BOB],
    ] {
        assert!(compared(&one, &events(&other)).difference.is_some(), "{other:?}");
    }
    let gone = BOB.replace(r#""state":"joined""#, r#""state":"left""#);
    assert!(compared(&one, &events(&[JOINED, SENT, OWN, &gone])).difference.is_some(), "another state");
}

#[test]
fn another_byte_of_a_header_is_a_difference() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let one = transcript_of(head, &[Frame::text(BOB), Frame::close(1000, "")]);
    for frames in [
        [Frame::binary(BOB), Frame::close(1000, "")],
        [Frame::text(BOB).unfinished(), Frame::close(1000, "")],
        [Frame::text(BOB), Frame::close(1001, "")],
        [Frame::text(BOB), Frame::close(1000, "bye")],
    ] {
        assert!(compared(&one, &transcript_of(head, &frames)).difference.is_some(), "{frames:?}");
    }
    let extended = head.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n");
    for head in [head.replace("101", "200"), head.replace("websocket", "WebSocket"), extended] {
        let other = transcript_of(&head, &[Frame::text(BOB), Frame::close(1000, "")]);
        assert!(compared(&one, &other).difference.is_some(), "{head}");
    }
}

#[test]
fn a_race_is_compared_by_the_shape_of_each_kind() {
    let race = crate::cases().into_iter().find(|case| case.conditions.race.is_some()).unwrap();
    let (one, other) = (events(&[JOINED, BOB, SENT]), SENT.replace(r#""seq":1"#, r#""seq":22"#));
    assert_eq!(compare(&race, &one, &events(&[&other, JOINED])).difference, None);
    let without = SENT.replace(r#","at":1700000000000"#, "");
    assert!(compare(&race, &one, &events(&[&without, JOINED])).difference.is_some(), "a field is missing");
}

#[test]
fn a_cut_transcript_is_a_difference() {
    let (one, other) = (events(&[BOB]), events(&[BOB]));
    (0..=100_000).for_each(|_| other.record("stage", Direction::Sent, "x", &[]));
    one.record("stage", Direction::Sent, "x", &[]);
    assert!(compared(&one, &other).difference.is_some());
}
