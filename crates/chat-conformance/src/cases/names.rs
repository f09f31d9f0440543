use super::{Group, case, fail};
use crate::client::Request;
use crate::{Stage, Verdict};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_guest_has_the_name_of_the_query",
            "With authentication off a guest's name, percent-decoded, is that of the query, and its id too.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                let name = stage.named("조에");
                let request =
                    stage.handshake("ann").to(&format!("{}?x=1&name={}", stage.path(), encoded(&name)));
                let mut ann = stage.connect("ann").await?;
                ann.write(&request.encode()).await?;
                stage.expect_101(&mut ann, &request).await?;
                let welcome = ann.expect_welcome().await?;
                let user = &welcome["user"];
                ann.check(user["name"] == name && user["id"] == name, format!("the user {name}"), &welcome)
            },
        ),
        case(
            "a_guest_without_a_name_gets_a_number",
            "A guest without a name is `guest-<n>`, each with a number of its own.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                let mut names = Vec::new();
                for _ in 0..3 {
                    let request = stage.handshake("guest").to(stage.path());
                    let mut guest = stage.connect("guest").await?;
                    guest.write(&request.encode()).await?;
                    stage.expect_101(&mut guest, &request).await?;
                    let welcome = guest.expect_welcome().await?;
                    let name = welcome["user"]["name"].as_str().unwrap_or_default().to_owned();
                    let number = name.strip_prefix("guest-").and_then(|number| number.parse::<u64>().ok());
                    guest.check(number.is_some(), "a user `guest-<n>`", &welcome)?;
                    fail(!names.contains(&name), "another number for each guest", &name)?;
                    names.push(name);
                }
                Ok(())
            },
        ),
        case(
            "a_name_is_normalised",
            "A name is what NFKC makes of it: full-width letters are letters.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                let request = named(&stage, "Ａｎｎ");
                let mut ann = stage.connect("ann").await?;
                ann.write(&request.encode()).await?;
                stage.expect_101(&mut ann, &request).await?;
                let welcome = ann.expect_welcome().await?;
                ann.check(welcome["user"]["name"] == "Ann", "the user Ann", &welcome)
            },
        ),
        case(
            "a_name_of_32_characters_is_the_longest",
            "A name has 1 to 32 characters: 32 are served, 33 and none are refused.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                let request = named(&stage, "é".repeat(32));
                stage.accepted("ann", &request).await?;
                refused(&stage, "é".repeat(33).as_bytes()).await?;
                refused(&stage, b"").await
            },
        ),
        case(
            "a_name_of_128_bytes_is_the_longest",
            "A name has at most 128 bytes: 32 characters of four bytes each are served.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                let request = named(&stage, "𐍈".repeat(32));
                stage.accepted("ann", &request).await?;
                refused(&stage, "𐍈".repeat(33).as_bytes()).await
            },
        ),
        case(
            "a_name_with_control_characters_is_refused",
            "A name has no control characters: NUL, line feed, escape, delete, C1.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                for bad in ["a\0b", "a\nb", "a\u{1b}[31mb", "a\u{7f}b", "a\u{85}b", "a\u{2028}b"] {
                    refused(&stage, bad.as_bytes()).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_name_that_turns_the_text_around_is_refused",
            "A name has no bidirectional overrides, embeddings or isolates.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                for bad in ["a\u{202e}b", "a\u{202a}b", "a\u{2066}b", "a\u{200f}b"] {
                    refused(&stage, bad.as_bytes()).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_name_with_what_cannot_be_seen_is_refused",
            "A name has no zero-width and no tag characters, and is not made of fillers.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                for bad in ["a\u{200b}b", "a\u{feff}b", "a\u{e0041}b", "\u{3164}", "\u{2060}a"] {
                    refused(&stage, bad.as_bytes()).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_name_does_not_begin_or_end_with_a_space",
            "Spaces within a name are fine; at its ends they would make two names look like one.",
            "PROTOCOL.md, section 6",
            |stage| async move {
                let request = named(&stage, "Ann Lee");
                stage.accepted("ann", &request).await?;
                for bad in [" ann", "ann ", " ", "\u{a0}ann"] {
                    refused(&stage, bad.as_bytes()).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_name_that_is_not_utf_8_is_refused",
            "Percent-encoded bytes that are not UTF-8 are no name.",
            "PROTOCOL.md, sections 1 and 6",
            |stage| async move {
                for bad in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80"] {
                    refused(&stage, bad).await?;
                }
                Ok(())
            },
        ),
    ];
    Group {
        name: "names",
        look: "crates/chat-proto/src/name.rs, and query_name in crates/chat-proto/src/handshake.rs",
        cases,
    }
}

async fn refused(stage: &Stage, name: &[u8]) -> Verdict {
    let request = named(stage, name);
    stage.refused(&request, 400, "bad_name").await.map(drop)
}

/// A handshake for a guest of this very name.
fn named(stage: &Stage, name: impl AsRef<[u8]>) -> Request {
    stage.handshake("ann").to(&format!("{}?name={}", stage.path(), encoded(name)))
}

fn encoded(name: impl AsRef<[u8]>) -> String {
    name.as_ref().iter().map(|byte| format!("%{byte:02x}")).collect()
}
