use super::{ann, at_once, body_of, event, same, seqs};
use crate::case::{Group, case};
use crate::stage::{Opened, guest};
use crate::{Failure, Verdict};

/// What becomes of a message's body: nothing.
pub(super) fn group() -> Group {
    let cases = vec![
        passes(
            "numbers_keep_their_spelling",
            "No number is read and written anew.",
            &[
                r#"{"n":1.50}"#,
                r#"{"n":1e3,"m":1E+03,"k":100e-2}"#,
                r#"{"n":-0,"m":-0.0,"k":0.10}"#,
                r#"{"n":12345678901234567890123456789012345678901234567890}"#,
                r#"{"n":0.1000000000000000055511151231257827021181583404541015625}"#,
                r#"{"n":9007199254740993,"m":1e308,"k":5e-324}"#,
            ],
        ),
        passes(
            "fields_keep_their_order_and_white_space",
            "No object is read and written anew.",
            &[
                r#"{"z":1,"a":2,"m":{"y":1,"b":2}}"#,
                "{ \"a\" : [ 1 , 2 ] ,\n\t\"b\"\r\n:\t{ } }",
                r#"{"":"","a":[],"b":{},"c":[[],[{}]],"d":null,"e":true,"f":false}"#,
                "{}",
                "{ }",
            ],
        ),
        passes(
            "characters_keep_their_spelling",
            "Escapes stay escapes, and characters characters.",
            &[
                r#"{"text":"\u0000\u0001\u001f\u007f"}"#,
                r#"{"text":"\"\\\/\b\f\n\r\t"}"#,
                r#"{"text":"\u00e9 é e\u0301"}"#,
                r#"{"text":"\ud83d\ude00 😀 \uD83D\uDE00"}"#,
                "{\"text\":\"\u{7f}\u{80}\u{85}\u{2028}\u{2029}\u{feff}\u{fffd}\u{ffff}\"}",
                r#"{"t\u0065xt":"a key with an escape"}"#,
            ],
        ),
        passes(
            "every_script_passes",
            "Text of any script, direction or composition is stored as it is.",
            &[
                r#"{"text":"안녕하세요, 세계"}"#,
                "{\"text\":\"\u{1112}\u{1161}\u{11ab} 한\"}",
                r#"{"text":"こんにちは 世界 𠮷野家"}"#,
                "{\"text\":\"שלום مرحبا \u{202e}evil\u{202c}\"}",
                r#"{"text":"नमस्ते ไทย Ελληνικά Ґанок"}"#,
                "{\"text\":\"👨‍👩‍👧‍👦 🏴\u{e0067}\u{e0062}\u{e007f} 🇰🇷\"}",
                "{\"text\":\"Z\u{351}\u{36b}\u{343}a\u{327}\u{30a}lgo\"}",
            ],
        ),
        passes(
            "text_that_looks_like_code_is_text",
            "Quotes, wildcards, templates and field names of the log itself mean nothing.",
            &[
                r#"{"text":"'; DROP TABLE messages; --"}"#,
                r#"{"text":"%s %n ${HOME} {{x}} $1 ?1 :a @b"}"#,
                r#"{"text":"</script><!--","body":{"seq":9},"seq":7,"type":"left","room":"hall"}"#,
                r#"{"key":"k","user":{"id":"root"},"at":0,"epoch":"x"}"#,
            ],
        ),
        case(
            "a_body_of_any_size_passes",
            "Bodies from the smallest to as many bytes as a frame has are stored whole.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let largest = stage.limits().wire.max_frame_bytes;
                for size in [11, 12, 255, 256, 4_095, 4_096, 4_097, largest - 1, largest] {
                    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(size - 11));
                    pass(&room, &body).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_body_of_any_depth_passes",
            "A body may be as deep as a command allows: 100 arrays and objects.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let (open, close) = ("[".repeat(100), "]".repeat(100));
                pass(&room, &format!(r#"{{"x":{open}1{close}}}"#)).await?;
                let (open, close) = (r#"{"x":"#.repeat(100), "}".repeat(100));
                pass(&room, &format!("{open}1{close}")).await
            },
        ),
        case(
            "large_bodies_do_not_mix",
            "Large messages of many writers at once come out each whole.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let writer = room.clone();
                at_once(8, move |number| {
                    let room = writer.clone();
                    async move {
                        let body = format!(r#"{{"text":"{}"}}"#, number.to_string().repeat(12_000));
                        for _ in 0..4 {
                            let seq = room.append(&ann(), None, &body).await?.seq;
                            let stored = room.read_after(seq - 1).await?;
                            same(&stored.first().map(body_of).transpose()?, &Some(body.clone()))?;
                        }
                        Ok(())
                    }
                })
                .await?;
                same(&seqs(&room.read_after(0).await?), &(1..=32).collect())
            },
        ),
        case(
            "any_user_and_key_pass",
            "The longest names, and keys with quotes and NULs, stand in the message as they were given.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for (name, key) in [
                    ("\u{1f600}".repeat(32), "k".repeat(64)),
                    ("안".repeat(32), "안".repeat(21)),
                    ("O'Brien \"x\" \\".to_owned(), "\0\"\\'\n".to_owned()),
                    ("<b>&amp;".to_owned(), " ".to_owned()),
                ] {
                    let seq = room.append(&guest(&name), Some(&key), "{}").await?.seq;
                    let stored = room.read_after(seq - 1).await?;
                    let event = stored.first().map(event).transpose()?.unwrap_or_default();
                    same(&event["user"]["name"].as_str(), &Some(name.as_str()))?;
                    same(&event["key"].as_str(), &Some(key.as_str()))?;
                }
                Ok(())
            },
        ),
    ];
    Group { name: "bodies", promise: "Bodies", cases }
}

/// A case of bodies that are told and read as they were sent.
fn passes(name: &'static str, statement: &'static str, bodies: &'static [&'static str]) -> crate::Case {
    case(name, statement, move |stage| async move {
        let room = stage.open("lobby")?;
        for body in bodies {
            pass(&room, body).await?;
        }
        Ok(())
    })
}

async fn pass(room: &Opened, body: &str) -> Verdict {
    let seq = room.append(&ann(), None, body).await?.seq;
    let read = room.read_after(seq - 1).await?;
    let read = read.first().ok_or_else(|| Failure::new("the message", "nothing"))?;
    same(&body_of(read)?.as_str(), &body)?;
    same(&room.told.all().last(), &Some(read))
}
