use crate::answer;
use crate::refused::check_error;

#[test]
fn a_frame_that_is_not_one_json_object_is_bad_json() {
    let frames: [&[u8]; 26] = [
        b"",
        b" \n",
        b"1",
        b"null",
        b"true",
        b"[]",
        br#"["join"]"#,
        br#"[{"type":"ping"}]"#,
        br#""ping""#,
        b"\xef\xbb\xbf{\"type\":\"ping\"}",
        br#"{"type":"ping"}{"type":"ping"}"#,
        br#"{"type":"ping"} 1"#,
        br#"{"type":"ping"}]"#,
        br#"{"type":"ping",}"#,
        br#"{"type":"ping""#,
        br#"{"type":"ping","x":NaN}"#,
        br#"{"type":"ping","x":Infinity}"#,
        br#"{"type":"ping","x":01}"#,
        br#"{"type":"ping","x":+1}"#,
        br#"{"type":"ping","x":.5}"#,
        br#"{'type':'ping'}"#,
        br#"{type:"ping"}"#,
        b"{\"type\":\"ping\",\"x\":\"\n\"}",
        b"{\"type\":\"ping\",\"x\":\"\xff\"}",
        br#"{"type":"ping","x":"\x41"}"#,
        br#"{"type":"ping"}//"#,
    ];
    for frame in frames {
        check_error(&answer(frame), "bad_json", None);
    }
}

#[test]
fn a_lone_surrogate_is_bad_json_everywhere() {
    for field in [
        r#""x":"\ud800""#,
        r#""x":"\udc00\ud800""#,
        r#""x":["\ud83d"]"#,
        r#""\udfff":1"#,
        r#""room":"\ud800""#,
    ] {
        check_error(&answer(format!(r#"{{"type":"ping",{field}}}"#)), "bad_json", None);
    }
}

#[test]
fn hostile_depth_is_bad_json() {
    let open = "[".repeat(1_000_000);
    let deep = |open: &str, close: &str| {
        format!(r#"{{"type":"ping","x":{}1{}}}"#, open.repeat(200_000), close.repeat(200_000))
    };
    for text in [&open, &deep("[", "]"), &deep(r#"{"a":"#, "}"), &format!(r#"{{"type":"ping","x":{open}"#)] {
        check_error(&answer(text), "bad_json", None);
    }
}

#[test]
fn every_field_may_be_as_deep_as_any_other() {
    for field in ["x", "name", "body", "after"] {
        for (open, close) in [("[", "]"), (r#"{"a":["#, "]}")] {
            let frame = |depth: usize| {
                let depth = depth / open.matches(['[', '{']).count();
                let (open, close) = (open.repeat(depth), close.repeat(depth));
                answer(format!(r#"{{"type":"ping","ref":"7","{field}":{open}{close}}}"#))
            };
            assert_eq!(frame(126)["type"], "pong", "{field}");
            check_error(&frame(128), "bad_json", None);
        }
        let one_more = format!(r#"{{"type":"ping","{field}":{}{}}}"#, "[".repeat(127), "]".repeat(127));
        check_error(&answer(one_more), "bad_json", None);
    }
}

#[test]
fn the_first_error_in_a_text_decides() {
    for field in ["x", "body", "after"] {
        let twice_then_broken = answer(format!(r#"{{"type":"ping","{field}":{{"a":1,"a":2,]}}}}"#));
        check_error(&twice_then_broken, "bad_command", None);
        let broken_then_twice = answer(format!(r#"{{"type":"ping","{field}":{{"a":1e400,"a":2}}}}"#));
        check_error(&broken_then_twice, "bad_json", None);
    }
}

#[test]
fn a_duplicate_key_among_many_is_a_bad_command() {
    let keys: Vec<String> = (0..40).map(|number| format!(r#""k{number}":{number}"#)).collect();
    let frame = |more: &str| format!(r#"{{"type":"ping",{}{more}}}"#, keys.join(","));
    assert_eq!(answer(frame(""))["type"], "pong");
    for again in ["k0", "k5", "k6", "k20", "k39", "type"] {
        check_error(&answer(frame(&format!(r#","{again}":1"#))), "bad_command", None);
    }
}

#[test]
fn a_duplicate_key_is_a_bad_command_and_is_answered_by_ref() {
    for fields in [
        r#""type":"ping","type":"ping""#,
        r#""type":"leave","room":"lobby","room":"lobby""#,
        r#""type":"leave","room":"lobby","ro\u006fm":"lobby""#,
        r#""type":"send","room":"lobby","body":{"text":"a","text":"b"}"#,
        r#""type":"send","room":"lobby","body":{"x":[{"y":1,"y":1}]}"#,
        r#""type":"ping","unknown":{"a":{},"a":{}}"#,
        r#""type":"join","room":"lobby","after":{"epoch":"e","seq":1,"seq":2}"#,
    ] {
        let event = answer(format!(r#"{{{fields},"ref":"7"}}"#));
        check_error(&event, "bad_command", None);
        assert_eq!(event["ref"], "7", "{fields}");
    }
}

#[test]
fn a_number_out_of_range_is_refused() {
    for number in ["1e400", "-1e400", &"9".repeat(100_000), &format!("0.{}e999999", "1".repeat(10_000))] {
        let event = answer(format!(r#"{{"type":"history","room":"lobby","limit":{number},"ref":"1"}}"#));
        assert!(matches!(event["code"].as_str(), Some("bad_json" | "bad_command")), "{event}");
        assert_eq!(event["ref"], "1");
        assert!(event.to_string().len() < 200);
    }
}
