use super::{ann, body_of, concurrently, event, guest, same, seqs};
use crate::{Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// A number in a body keeps its spelling.
    async fn numbers_keep_their_spelling(stage: Stage) -> Verdict {
        let bodies = [
            r#"{"n":1.50}"#,
            r#"{"n":1e3,"m":1E+03,"k":100e-2}"#,
            r#"{"n":-0,"m":-0.0,"k":0.10}"#,
            r#"{"n":12345678901234567890123456789012345678901234567890}"#,
            r#"{"n":0.1000000000000000055511151231257827021181583404541015625}"#,
            r#"{"n":9007199254740993,"m":1e308,"k":5e-324}"#,
        ];
        stores_unchanged(&stage, &bodies).await
    }

    /// The fields of a body keep their order and the white space between them.
    async fn fields_keep_their_order_and_white_space(stage: Stage) -> Verdict {
        let bodies = [
            r#"{"z":1,"a":2,"m":{"y":1,"b":2}}"#,
            "{ \"a\" : [ 1 , 2 ] ,\n\t\"b\"\r\n:\t{ } }",
            r#"{"":"","a":[],"b":{},"c":[[],[{}]],"d":null,"e":true,"f":false}"#,
            "{}",
            "{ }",
        ];
        stores_unchanged(&stage, &bodies).await
    }

    /// Escapes stay escapes, and characters stay characters.
    async fn characters_keep_their_spelling(stage: Stage) -> Verdict {
        let bodies = [
            r#"{"text":"\u0000\u0001\u001f\u007f"}"#,
            r#"{"text":"\"\\\/\b\f\n\r\t"}"#,
            r#"{"text":"\u00e9 é e\u0301"}"#,
            r#"{"text":"\ud83d\ude00 😀 \uD83D\uDE00"}"#,
            "{\"text\":\"\u{7f}\u{80}\u{85}\u{2028}\u{2029}\u{feff}\u{fffd}\u{ffff}\"}",
            r#"{"t\u0065xt":"a key with an escape"}"#,
        ];
        stores_unchanged(&stage, &bodies).await
    }

    /// Text of any script, direction or composition is stored unchanged.
    async fn text_of_every_script_is_unchanged(stage: Stage) -> Verdict {
        let bodies = [
            r#"{"text":"안녕하세요, 세계"}"#,
            "{\"text\":\"\u{1112}\u{1161}\u{11ab} 한\"}",
            r#"{"text":"こんにちは 世界 𠮷野家"}"#,
            "{\"text\":\"שלום مرحبا \u{202e}evil\u{202c}\"}",
            r#"{"text":"नमस्ते ไทย Ελληνικά Ґанок"}"#,
            "{\"text\":\"👨‍👩‍👧‍👦 🏴\u{e0067}\u{e0062}\u{e007f} 🇰🇷\"}",
            "{\"text\":\"Z\u{351}\u{36b}\u{343}a\u{327}\u{30a}lgo\"}",
        ];
        stores_unchanged(&stage, &bodies).await
    }

    /// Quotes, wildcards, templates and field names of the log have no meaning in a body.
    async fn text_that_looks_like_code_is_unchanged(stage: Stage) -> Verdict {
        let bodies = [
            r#"{"text":"'; DROP TABLE messages; --"}"#,
            r#"{"text":"%s %n ${HOME} {{x}} $1 ?1 :a @b"}"#,
            r#"{"text":"</script><!--","body":{"seq":9},"seq":7,"type":"left","room":"hall"}"#,
            r#"{"key":"k","user":{"id":"root"},"at":0,"epoch":"x"}"#,
        ];
        stores_unchanged(&stage, &bodies).await
    }

    /// Bodies from the smallest one to the size of a frame are stored whole.
    async fn a_body_of_any_size_is_unchanged(stage: Stage, room: OpenRoom) -> Verdict {
        let largest = stage.limits().wire.max_frame_bytes;
        for size in [11, 12, 255, 256, 4_095, 4_096, 4_097, largest - 1, largest] {
            let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(size - 11));
            check_unchanged(&room, &body).await?;
        }
        Ok(())
    }

    /// A body of 100 nested arrays or objects, which a command allows, is stored whole.
    async fn a_body_of_any_depth_is_unchanged(stage: Stage, room: OpenRoom) -> Verdict {
        let (open, close) = ("[".repeat(100), "]".repeat(100));
        check_unchanged(&room, &format!(r#"{{"x":{open}1{close}}}"#)).await?;
        let (open, close) = (r#"{"x":"#.repeat(100), "}".repeat(100));
        check_unchanged(&room, &format!("{open}1{close}")).await
    }

    /// Large messages of concurrent writers are stored whole.
    async fn concurrent_large_bodies_do_not_mix(stage: Stage, room: OpenRoom) -> Verdict {
        concurrently(8, room.clone(), |room, number| async move {
            let body = format!(r#"{{"text":"{}"}}"#, number.to_string().repeat(12_000));
            for _ in 0..4 {
                let seq = room.append(&ann(), None, &body).await?.seq;
                let stored = room.read_after(seq - 1).await?;
                same(&stored.first().map(body_of).transpose()?, &Some(body.clone()))?;
            }
            Ok(())
        })
        .await?;
        same(&seqs(&room.read_after(0).await?), &(1..=32).collect())
    }

    /// The longest names, and keys with quotes and NULs, are in the message unchanged.
    async fn any_user_name_and_key_are_unchanged(stage: Stage, room: OpenRoom) -> Verdict {
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
    }
);

/// Checks that bodies are reported and read as they were sent.
async fn stores_unchanged(stage: &Stage, bodies: &[&str]) -> Verdict {
    let room = stage.open("lobby").await?;
    for body in bodies {
        check_unchanged(&room, body).await?;
    }
    Ok(())
}

async fn check_unchanged(room: &OpenRoom, body: &str) -> Verdict {
    let seq = room.append(&ann(), None, body).await?.seq;
    let read = room.read_after(seq - 1).await?;
    let read = read.first().ok_or_else(|| Failure::new("the message", "nothing"))?;
    same(&body_of(read)?.as_str(), &body)?;
    let reported = room.reported(seq..=seq).await?;
    same(&reported.last(), &Some(read))
}
